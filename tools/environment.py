"""Makes the environment that the programs run in: torch first and alone, then one lock without dependencies.

Run by the Python that the environment is to have, before anything is installed, so it needs the standard library only:

    python3.11 tools/environment.py .venv requirements/all.lock [--torch-args "OPTIONS FOR PIP"]

Run again, it brings an existing environment up to the lock. With `--like .venv` it is made anew, from what that has.
"""

import argparse
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection, Sequence
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"

# pip compiles every file of every package on one core, which takes longer than all the rest; Python compiles the
# few that are used when they are first imported.
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "-qq")
INSTALL = (*PIP, "install", "--no-compile")
LOCKED = ("--no-deps", "--no-build-isolation", "-r")

# The packages that fail when something of the machine is missing, imported once: a broken environment shows here.
TRIAL = "import chromadb, numba, numpy, onnxruntime, scipy, skimage, torch"

# Parts of torch's GPU builds, of which torch itself pins the versions.
GPU_PARTS = re.compile(r"triton$|nvidia-|cuda-")


class SetupError(Exception):
    """The environment cannot be made; the message says what was expected, what came and what to do."""


def pins(requirements: str) -> dict[str, str]:
    """The exact versions that the text of a lock or of constraints.txt names: {name in lower case: version}."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", requirements, flags=re.MULTILINE)
    return {canonical(name): version for name, version in found}


def canonical(name: str) -> str:
    """A package's name as all its spellings are written."""
    return re.sub(r"[-_.]+", "-", name).lower()


def interpreter(folder: Path) -> Path:
    """The Python of the environment in `folder`."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(
    folder: Path, lock: Path, *, torch_args: Sequence[str] = (), like: Path | None = None
) -> str | None:
    """Makes or updates the environment in `folder` and returns a note for the operator, or None.

    With `like`, an environment made by the same Python, packages that it has in the same version are linked from it.
    Raises SetupError where a step fails.
    """
    for file in (CONSTRAINTS, lock):
        if not file.is_file():
            raise SetupError(f"expected the file {file}, found none; take a complete checkout")
    locked, constrained = pins(lock.read_text(encoding="utf-8")), pins(CONSTRAINTS.read_text(encoding="utf-8"))
    python = interpreter(folder)
    if like is not None or not _has_this_version(python):
        _say(f"making {folder} with Python {sys.version.split()[0]}")
        venv.create(folder, clear=True, with_pip=like is None)
    if like is not None:
        _say(f"{link_packages(like, folder, {**locked, **constrained})} packages are those of {like}")
    # The pip that came with Python may be years old and takes twice as long; setuptools builds the one source package.
    _run([python, *INSTALL, "-c", str(CONSTRAINTS), "pip", "setuptools"])
    _say(f"installing torch {constrained['torch']} (minutes, where it is a GPU build that must be fetched)")
    _say(f"installing the {len(locked)} packages of {lock.name}")
    torch = [python, *INSTALL, "-c", str(CONSTRAINTS), f"torch=={constrained['torch']}", *torch_args]
    with tempfile.TemporaryDirectory() as parts:
        # pip unpacks on one core; what torch brings along is left to the step after, so that no two write one package.
        halves = halves_of(lock.read_text(encoding="utf-8"), without=constrained)
        files = [Path(parts, f"{number}.lock") for number in range(len(halves))]
        for file, text in zip(files, halves, strict=True):
            file.write_text(text, encoding="utf-8")
        _run(torch, *([python, *INSTALL, *LOCKED, str(file)] for file in files))
    _run([python, *INSTALL, *LOCKED, str(lock)])
    note = _use_headless_opencv(python, locked["opencv-python"]) if "opencv-python" in locked else None
    _say("importing them for the first time")
    _run([python, "-c", f"{TRIAL}, cv2"])
    return note


def halves_of(lock: str, *, without: Collection[str]) -> tuple[str, str]:
    """The lock's text as two locks of every second package each, without the packages named."""
    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    options = [line for line in lines if line.startswith("-")]
    packages = [line for line in lines if not line.startswith("-") and not pins(line).keys() & set(without)]
    first, second = ("\n".join([*options, *packages[start::2], ""]) for start in (0, 1))
    return first, second


def link_packages(source: Path, target: Path, wanted: dict[str, str]) -> int:
    """Gives the empty environment `target` the packages that `source` has in the versions wanted; how many.

    torch's GPU parts go with it in any version. Files are linked where the disk can, else copied; pip replaces a linked
    file by another and leaves the original alone. Console scripts are left out: they name the other's Python.
    """
    linked = 0
    there, here = (
        Path(_output(interpreter(each), "import site; print(site.getsitepackages()[0])")) for each in (source, target)
    )
    for package in importlib.metadata.distributions(path=[str(there)]):
        name = canonical(package.metadata["Name"])
        if wanted.get(name) == package.version.partition("+")[0] or GPU_PARTS.match(name):
            linked += 1
            for path in package.files or ():
                if ".." not in path.parts:
                    _link(there / path, here / path)
    return linked


def _link(source: Path, target: Path) -> None:
    """Links a file and, beside a module, what Python made of it when it was first imported."""
    if not source.is_file() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    if source.suffix == ".py":
        _link(Path(cache_from_source(str(source))), Path(cache_from_source(str(target))))


def _use_headless_opencv(python: Path, version: str) -> str | None:
    """Puts the headless wheel in place of the other one where the machine lacks the libraries of a screen."""
    attempt = subprocess.run([python, "-c", "import cv2"], capture_output=True, text=True, check=False)
    missing = missing_library(attempt.stderr)
    if attempt.returncode == 0 or missing is None:
        return None
    _run([python, *PIP, "uninstall", "--yes", "opencv-python", "opencv-python-headless"])
    _run([python, *INSTALL, "--no-deps", f"opencv-python-headless=={version}"])
    return (
        f"the window is off: OpenCV's window needs {missing}, which this machine lacks, so opencv-python-headless "
        f"{version} was installed; for a window install the library (Debian: apt install libgl1 libglib2.0-0) and "
        f"delete {python.parent.parent}"
    )


def missing_library(stderr: str) -> str | None:
    """The shared library that an import failed for, such as libGL.so.1, or None where it failed for something else."""
    match = re.search(r"ImportError: (lib[\w.+-]+): cannot open shared object file", stderr)
    return match.group(1) if match else None


def _has_this_version(python: Path) -> bool:
    return python.exists() and _output(python, "import sys, pip; print(sys.version_info[:2])") == str(
        sys.version_info[:2]
    )


def _output(python: Path, program: str) -> str:
    """What a short program prints in an environment; nothing where it fails."""
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=False).stdout.strip()


def _run(*commands: Sequence[object]) -> None:
    """Runs commands beside each other, all of which must succeed."""
    # ONNX Runtime would note the machine for its maker when it is first imported.
    silent = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    running = [(command, subprocess.Popen(list(map(str, command)), env=silent)) for command in commands]
    ended = [(command, process.wait()) for command, process in running]
    for command, code in ended:
        if code != 0:
            raise SetupError(
                f"expected `{shlex.join(map(str, command))}` to succeed, it ended with {code}; "
                "its own message stands above (no network? no room on the disk?), then run the set-up again"
            )


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(prog="environment", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the environment, such as .venv")
    parser.add_argument("lock", type=Path, help="requirements/all.lock or requirements/product.lock")
    parser.add_argument("--torch-args", default="", metavar="OPTIONS", help="more options for pip when it gets torch")
    parser.add_argument("--like", type=Path, metavar="FOLDER", help="an environment to link packages from")
    args = parser.parse_args(argv)
    try:
        note = make_environment(args.folder, args.lock, torch_args=shlex.split(args.torch_args), like=args.like)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if note is not None:
        _say(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
