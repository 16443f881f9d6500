"""`make demo`: enrol a sample person, play two generated walk-pasts to the real programs, print the attendance.

Each step is the command that a user would type, in a process of its own. The demo knows what it played, compares that
with what was recorded, and exits 1 when they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attendance.errors import AttendanceError, UsageError
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, Portrait, load, locate
from demo.walkpast import Appearance, WalkPast, one_after_another, write_video

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "demo.yaml"
PEOPLE = (GRACE_HOPPER, EILEEN_COLLINS)
MORNING = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
EVENING = datetime(2026, 1, 5, 17, 30, tzinfo=UTC)
SLACK = timedelta(seconds=0.5)


class DemoError(AttendanceError):
    """A program failed, or what was recorded is not what was played."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one walk-past must lead to: the person, when they were in view, and the name to record, None for unknown."""

    portrait: Portrait
    from_utc: datetime
    to_utc: datetime
    recorded_as: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when everything played was recorded as it was played."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--store", type=Path, help="empty or new folder that is kept; default: a temporary one")
    arguments = parser.parse_args(argv)
    begun = time.monotonic()
    try:
        if arguments.store is None:
            with tempfile.TemporaryDirectory(prefix="attendance-demo-") as folder:
                play(Path(folder))
        else:
            play(_fresh(arguments.store))
            print(f"Kept in {arguments.store}: store, people, videos, events.")
    except AttendanceError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Demo passed: what was recorded is what was played. {time.monotonic() - begun:.0f} s.")
    return 0


def play(folder: Path) -> None:
    """The demo itself, with everything it makes under ``folder``.

    Raises:
        DemoError: when a program fails or the record is not what was played.
    """
    people, store = folder / "people", folder / "store"
    people.mkdir()
    _say("1. Enrol Grace Hopper from her portrait (public domain, shipped with matplotlib).")
    enrol(people, store, (GRACE_HOPPER,))
    _say("2. Both women walk past the entrance camera: a generated video, made from these same portraits with other")
    _say("   sizes, light, mirror, blur, noise and small turns. It shows the path at work; it proves no accuracy.")
    watch(folder, store, seed=4, start=MORNING, known={GRACE_HOPPER.identity_id})
    _say("3. Enrol Eileen Collins too (public domain, shipped with scikit-image).")
    enrol(people, store, PEOPLE)
    _say("4. Both walk past again in the evening: another generated video.")
    watch(folder, store, seed=3, start=EVENING, known={p.identity_id for p in PEOPLE})
    _say("5. The attendance on record:")
    _run("-m", "attendance", "report", *_common(store), show_output=True)


def enrol(people: Path, store: Path, portraits: Sequence[Portrait]) -> None:
    """Put the portraits into the people folder and build the database of it."""
    for portrait in portraits:
        photo = locate(portrait)
        (people / portrait.identity_id).mkdir(exist_ok=True)
        shutil.copyfile(photo, people / portrait.identity_id / photo.name)
    rows = "".join(f"{p.identity_id},{p.name}\n" for p in portraits)
    (people / "people.csv").write_text("identity_id,name\n" + rows, encoding="utf-8")
    result = _run_json("build_database.py", str(people), *_common(store))
    if (result["people"], result["templates"]) != (len(portraits), len(portraits)) or result["refused"]:
        raise DemoError(f"expected {len(portraits)} people with one photo each enrolled, got {json.dumps(result)}")
    _say(f"   {result['people']} enrolled, model {result['model']}.")


def watch(folder: Path, store: Path, *, seed: int, start: datetime, known: set[str]) -> None:
    """Generate a video of both, play it to the kiosk, and compare the events with the truth."""
    video, events = folder / f"walkpast-{seed}.mp4", folder / f"events-{seed}.jsonl"
    boxes = [(p.identity_id, load(p), p.face_box) for p in PEOPLE]
    truth = write_video(video, WalkPast(one_after_another(boxes, seed=seed), seed=seed, tail_s=1.5))
    flags = ("--source", str(video), "--headless", "--events", str(events), "--start", _iso(start))
    _run("realtime_attendance.py", *flags, *_common(store))
    seen = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    for expected in expectations(truth, start=start, known=known):
        _say(f"   {describe(expected, seen)}")
    check(expectations(truth, start=start, known=known), seen)


def expectations(truth: Sequence[Appearance], *, start: datetime, known: set[str]) -> list[Expected]:
    """What the events must say of a video that began at ``start`` (aware UTC) while ``known`` were enrolled."""
    portraits = {p.identity_id: p for p in PEOPLE}
    return [
        Expected(
            portraits[a.identity_id],
            start + timedelta(seconds=a.from_s) - SLACK,
            start + timedelta(seconds=a.to_s) + SLACK,
            a.identity_id if a.identity_id in known else None,
        )
        for a in truth
    ]


def check(expected: Sequence[Expected], events: Sequence[dict[str, Any]]) -> None:
    """Raise DemoError unless each person was recorded once under the right id, or never where they are unknown."""
    for one in expected:
        during = _during(one, events)
        punched = [e["identity_id"] for e in during if e["kind"] == "punch"]
        wanted = [] if one.recorded_as is None else [one.recorded_as]
        if punched != wanted:
            raise DemoError(
                f"{one.portrait.name} passed from {_iso(one.from_utc)} to {_iso(one.to_utc)}: expected punches "
                f"{wanted}, got {punched}; run again with --store DIR to keep the events"
            )
        mistaken = sorted({e["identity_id"] for e in during if e["kind"] == "repeat"} - set(wanted))
        if mistaken:
            raise DemoError(f"{one.portrait.name} passed and was taken for {', '.join(mistaken)}")
        if not wanted and not any(e["kind"] == "unknown" for e in during):
            raise DemoError(f"{one.portrait.name} is not enrolled and passed: expected an unknown event, got none")
    punches = sum(e["kind"] == "punch" for e in events)
    wanted_punches = sum(one.recorded_as is not None for one in expected)
    if punches != wanted_punches:
        raise DemoError(f"expected {wanted_punches} punches in the whole video, got {punches}")


def describe(expected: Expected, events: Sequence[dict[str, Any]]) -> str:
    """One line: who was played and what became of it."""
    outcomes = [
        f"{event['kind']} {event['identity_id'] or ''}".strip() + f" at {event['observed_at'][11:19]}"
        for event in _during(expected, events)
    ]
    similarity = [e["similarity"] for e in _during(expected, events) if e["similarity"] is not None]
    best = f" (similarity {max(similarity):.2f})" if similarity else ""
    return f"{expected.portrait.name:<15} -> {', '.join(outcomes) or 'nothing'}{best}"


def _during(expected: Expected, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in events if expected.from_utc <= datetime.fromisoformat(e["observed_at"]) <= expected.to_utc]


def _common(store: Path) -> tuple[str, ...]:
    return ("--store", str(store), "--config", str(CONFIG))


def _run_json(*command: str) -> dict[str, Any]:
    text = _run(*command, "--json", "-", "--quiet")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DemoError(f"expected JSON from {command[0]}, got {text[:200]!r}") from error
    if not isinstance(found, dict):
        raise DemoError(f"expected a JSON object from {command[0]}, got {text[:200]!r}")
    return found


def _run(*command: str, show_output: bool = False) -> str:
    """Run one of the programs from the checkout, as a user would, and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ATTENDANCE_")}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise DemoError(f"`python {shlex.join(command)}` ended with exit code {done.returncode}: {last}")
    if show_output:
        for line in done.stdout.rstrip().splitlines():
            _say(f"   {line}".rstrip())
    return done.stdout


def _fresh(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--store {folder}: expected an empty or new folder, so that old punches are not mixed in")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
