"""Carries out a Dockerfile's steps where no container engine runs, in a plain root file system, as root on Linux.

    python -m tools.dockerfile_steps BASE WORK --build-arg TORCH_ARGS= [--run ARGUMENTS OF THE ENTRYPOINT]

BASE stands in for every outside image that a FROM names. Each stage gets a copy of it under WORK; RUN, COPY, ENV, ARG,
USER and WORKDIR are carried out there, the rest is noted. With --run, the last stage's entrypoint then runs as its
user, on a read-only root with /tmp and the volumes writable. It proves the steps and what they install; it says nothing
of an engine's own work: layers, caches, networks, capabilities.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What an image has where nothing else is said.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class StepError(Exception):
    """A step failed or is of a kind that is not known here; the message names it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word in capitals, and all that follows it on one line."""

    word: str
    rest: str

    def words(self) -> list[str]:
        """The arguments of the JSON form, or the words of the plain one."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass(slots=True)
class Stage:
    """What a stage is so far: its root file system, and what its later steps and its container run with."""

    name: str
    root: Path
    is_made: bool = False
    user: str = "0:0"
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def expand(self, text: str) -> str:
        """The text with the stage's ARG and ENV put in."""
        known = {**self.arguments, **self.environment}
        return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), text)


def parse(text: str) -> list[Step]:
    """The steps of a Dockerfile, comments and line ends taken out. Here-documents and RUN options are not known."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Step(word.upper(), rest.strip()) for word, _, rest in split]


@dataclass(frozen=True, slots=True)
class Machine:
    """How a command gets into a root file system: mounts shared with this machine, and variables passed through."""

    mounts: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, stage: Stage, command: Sequence[str], *, user: str, writable: Sequence[tuple[Path, str]] = ()) -> int:
        """The exit code of a command inside. With ``writable``, (folder here, folder there), the rest is read-only."""
        script = "\n".join(["set -e", *self._mount_lines(stage.root, writable), 'exec chroot "$@"'])
        variables = [f"{name}={value}" for name, value in {**self.environment, **stage.environment}.items()]
        inner = ["/usr/bin/env", "-i", f"--chdir={stage.folder}", *variables, *command]
        outer = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh"]
        return subprocess.run([*outer, f"--userspec={user}", str(stage.root), *inner], check=False).returncode

    def _mount_lines(self, root: Path, writable: Sequence[tuple[Path, str]]) -> Iterator[str]:
        inside = shlex.quote(str(root))
        yield f"mount --bind {inside} {inside}"
        for mount in ("/etc/resolv.conf:/etc/resolv.conf", "/dev:/dev", *self.mounts):
            here, _, there = mount.partition(":")
            target = root / there.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if Path(here).is_dir():
                target.mkdir(exist_ok=True)
            else:
                target.touch()
            yield f"mount --rbind {shlex.quote(here)} {shlex.quote(str(target))}"
        yield f"mount -t proc proc {inside}/proc"
        if writable:
            yield f"mount -o remount,bind,ro {inside}"
            yield f"mount -t tmpfs -o mode=1777 tmpfs {inside}/tmp"
        for folder, there in writable:
            yield f"mount --bind {shlex.quote(str(folder))} {shlex.quote(str(root / there.lstrip('/')))}"


class Builder:
    """Carries out steps one after another; ``stages`` holds what came of them, by name and by number."""

    def __init__(self, base: Path, work: Path, *, arguments: Mapping[str, str], machine: Machine) -> None:
        self.base, self.work, self.given, self.machine = base, work, arguments, machine
        self.stages: dict[str, Stage] = {}
        self._stage: Stage | None = None

    def carry_out(self, steps: Sequence[Step]) -> Stage:
        """All steps; returns the last stage. StepError at the first that fails."""
        for step in steps:
            if step.word == "FROM":
                self._begin(step.words())
            elif self._stage is not None:
                self._inside(self._stage, step)
            elif step.word != "ARG":
                raise StepError(f"{step.word} stands before FROM")
        if self._stage is None:
            raise StepError("expected a FROM, found none")
        return self._stage

    def _begin(self, words: list[str]) -> None:
        name = words[2] if len(words) == 3 else str(len(self.stages))
        source = self.stages[words[0]].root if words[0] in self.stages else self.base
        root = self.work / name
        is_made = root.exists()
        if not is_made:
            self.work.mkdir(parents=True, exist_ok=True)
            _run(["cp", "-a", "--no-target-directory", str(source), str(root)])
        self._stage = self.stages[name] = Stage(name, root, is_made=is_made)

    def _inside(self, stage: Stage, step: Step) -> None:
        if step.word in ("RUN", "COPY"):
            if not stage.is_made:
                (self._run_in if step.word == "RUN" else self._copy)(stage, step)
        elif step.word == "ARG":
            name, _, default = shlex.split(step.rest)[0].partition("=")
            stage.arguments[name] = self.given.get(name, default)
        elif step.word == "ENV":
            for pair in shlex.split(step.rest):
                name, _, value = pair.partition("=")
                stage.environment[name] = stage.expand(value)
        elif step.word == "WORKDIR":
            stage.folder = stage.expand(step.rest)
            (stage.root / stage.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        else:
            _note(stage, step)

    def _run_in(self, stage: Stage, step: Step) -> None:
        print(f"{stage.name}: RUN {step.rest}", flush=True)
        command = step.words() if step.rest.startswith("[") else ["/bin/sh", "-c", step.rest]
        passing = {**stage.arguments, **stage.environment}
        started = Stage(stage.name, stage.root, folder=stage.folder, environment=passing)
        code = self.machine.run(started, command, user=stage.user)
        if code != 0:
            raise StepError(f"ended with {code}: RUN {step.rest}")

    def _copy(self, stage: Stage, step: Step) -> None:
        print(f"{stage.name}: COPY {step.rest}", flush=True)
        words = step.words()
        options = [word for word in words if word.startswith("--")]
        *sources, target = [word for word in words if not word.startswith("--")]
        origin = ROOT
        for option in options:
            if not option.startswith("--from="):
                raise StepError(f"COPY {option} is not known here")
            origin = self.stages[option.removeprefix("--from=")].root
        into = stage.root / str(Path("/", stage.folder, target)).lstrip("/")
        is_folder = target.endswith("/") or len(sources) > 1
        (into if is_folder else into.parent).mkdir(parents=True, exist_ok=True)
        for source in sources:
            path = origin / source.lstrip("/")
            there = into / path.name if is_folder else into
            if path.is_dir() and origin is ROOT:
                shutil.copytree(path, there, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                _run(["cp", "-a", "--no-target-directory", str(path), str(there)])
        if origin is ROOT:
            _run(["chown", "-R", "0:0", str(into)])


def _note(stage: Stage, step: Step) -> None:
    """What only a container uses; an instruction that is not known is an error, not passed over."""
    if step.word == "USER":
        stage.user = step.rest
    elif step.word == "VOLUME":
        stage.volumes += step.words()
    elif step.word == "ENTRYPOINT":
        stage.entrypoint = step.words()
    elif step.word == "CMD":
        stage.command = step.words()
    elif step.word not in ("LABEL", "EXPOSE", "HEALTHCHECK"):
        raise StepError(f"{step.word} is not known here")


def _run(command: Sequence[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise StepError(f"failed: {shlex.join(command)}")


def start(stage: Stage, machine: Machine, arguments: Sequence[str], *, entrypoint: str | None = None) -> int:
    """Run the container's command as its user on a read-only root; its exit code. Volumes lie beside the stages."""
    writable = []
    for volume in stage.volumes:
        folder = stage.root.parent / "volumes" / volume.strip("/").replace("/", "-")
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            _run(["cp", "-a", "--no-target-directory", str(stage.root / volume.lstrip("/")), str(folder)])
        writable.append((folder, volume))
    program = stage.entrypoint if entrypoint is None else [entrypoint]
    return machine.run(stage, [*program, *(arguments or stage.command)], user=stage.user, writable=writable)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def main(argv: Sequence[str] | None = None) -> int:
    """Build, and run where asked; 1 where a step failed, else the exit code of what ran."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.dockerfile_steps",
        description="Carry out the Dockerfile's steps in a plain root file system, as root on Linux.",
        epilog="example: python -m tools.dockerfile_steps bookworm work --build-arg TORCH_ARGS= --run --version",
    )
    parser.add_argument("base", type=Path, help="root file system that stands in for the image of FROM")
    parser.add_argument("work", type=Path, help="folder for the stages and volumes; a stage there is not made again")
    parser.add_argument("--file", type=Path, default=ROOT / "Dockerfile", help="the Dockerfile (this checkout's)")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as docker build's")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set inside, every time")
    parser.add_argument("--mount", action="append", default=[], metavar="HERE:THERE", help="shown inside, every time")
    parser.add_argument("--entrypoint", help="a program in place of the stage's own")
    parser.add_argument(
        "--run",
        nargs=argparse.REMAINDER,
        help="run the last stage afterwards; all that follows is in place of its command",
    )
    options = parser.parse_args(argv)
    machine = Machine(mounts=options.mount, environment=_pairs(options.env))
    builder = Builder(
        options.base.resolve(), options.work.resolve(), arguments=_pairs(options.build_arg), machine=machine
    )
    try:
        last = builder.carry_out(parse(options.file.read_text(encoding="utf-8")))
        return start(last, machine, options.run, entrypoint=options.entrypoint) if options.run is not None else 0
    except (StepError, OSError) as error:
        print(f"dockerfile_steps: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
