"""10,000 frames through the program: does its memory grow, and do the things that it remembers?

A video of people who walk past, made by code and repeated, is watched by ``realtime_attendance.py`` in this process,
which writes events and punches as ever. Meanwhile the resident memory is noted, and the objects of the project's own
classes are counted. The slope is fitted by least squares over the second half: in the first, libraries still fill what
they keep.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from attendance.app import App
from attendance.config import load
from benchmarks.kiosk_run import NotedApp, enrol, watch
from benchmarks.pieces import WORK, Measured, Options, Part, needs_photos, run
from benchmarks.rates import resident_mb, slope
from benchmarks.report import Table
from benchmarks.tracking_videos import FPS, Maker

FRAMES, EARLY, WARM = 10_000, 1_000, 5_000
PEOPLE = 5
SEED = 31
SAMPLE_S, COUNT_EVERY = 0.25, 10
FOLDER, VIDEO, PHOTOS = WORK / "soak", "passes.mp4", "photos.json"
GROWTH_MB_AT_MOST = 0.5
"""What a thousand frames may add, MB: less than one picture of 640x360."""

OBJECTS_AT_MOST = 200
"""How many more objects of one class there may be at the end than when it was warm."""

Sample = tuple[float, float, dict[str, int] | None]
"""Frames so far, MB resident, objects by class where they were counted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where memory grows."""
    return run(PART, argv)


def video(options: Options) -> Measured:
    """Make the video, in a process of its own, so that its pictures are not in the memory that is judged."""
    with App(load(None, environment={})) as app:
        made = Maker(options.lfw, "report", app.detector, seed=SEED).in_turn(PEOPLE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write(FOLDER / VIDEO, made.frames)
    people = {name: [str(photo.resolve()) for photo in photos] for name, photos in made.people.items()}
    (FOLDER / PHOTOS).write_text(json.dumps(people), encoding="utf-8")
    return {"frames": FRAMES, "before_repeating": len(made.frames)}


def soak(options: Options) -> Measured:
    """Watch the video to its end."""
    photos = json.loads((FOLDER / PHOTOS).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = enrol({who: [Path(path) for path in paths] for who, paths in photos.items()}, folder)
        samples: list[Sample] = []
        done = threading.Event()
        apps: list[NotedApp] = []
        sampler = threading.Thread(target=_sample, args=(apps, samples, done), daemon=True)
        sampler.start()
        said = watch(store, str(FOLDER / VIDEO), on_app=apps.append, flags=["--events", str(folder / "events.jsonl")])
        done.set()
        sampler.join()
    return {**judged(samples), "punches": len(apps[0].written), "summary_frames": said["frames"]}


def _write(path: Path, frames: Sequence[np.ndarray]) -> None:
    """The frames again and again, as a video."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    pictures = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    for index in range(FRAMES):
        writer.write(pictures[index % len(pictures)])
    writer.release()


def _sample(apps: list[NotedApp], samples: list[Sample], done: threading.Event) -> None:
    """Frames so far and resident memory in MB until the end; now and then objects by class.

    What is noted is small: it lies in the same memory.
    """
    while not done.wait(SAMPLE_S):
        frames = apps[0].frames_taken() if apps else 0.0
        if frames > 0:
            samples.append((frames, resident_mb(), own_objects() if len(samples) % COUNT_EVERY == 0 else None))


def own_objects() -> dict[str, int]:
    """How many objects of each of the project's classes there are."""
    counts = Counter(type(each) for each in gc.get_objects())
    return {
        sys.intern(f"{kind.__module__}.{kind.__qualname__}"): count
        for kind, count in counts.items()
        if str(kind.__module__).startswith("attendance.")
    }


def judged(samples: Sequence[Sample]) -> Measured:
    """Slope of the memory after the warm part, MB a thousand frames, and how much each class grew at most."""
    warm = [each for each in samples if each[0] >= WARM]
    counted = [objects for _, _, objects in warm if objects is not None]
    half = max(len(counted) // 2, 1)
    early, late = counted[:half], counted[-half:]
    classes = {name for objects in (*early, *late) for name in objects}
    # What is alive at a moment comes and goes: the least of each half is what stays.
    grown = {name: min(o.get(name, 0) for o in late) - min(o.get(name, 0) for o in early) for name in classes}
    most = max(grown, key=lambda name: grown[name])
    early_mb = next(mb for frames, mb, _ in samples if frames >= EARLY)
    return {
        "mb_per_1000_frames": 1e3 * slope([s[0] for s in warm], [s[1] for s in warm]),
        "mb_early": early_mb,
        "mb_first": warm[0][1],
        "mb_last": warm[-1][1],
        "most_grown": most,
        "most_grown_by": grown[most],
        "curve": [[frames, round(mb, 2)] for frames, mb, _ in samples],
    }


def _conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    data = {**found["soak"]}
    data["promises"] = {
        "all_frames": data["summary_frames"] >= FRAMES,
        "memory": data["mb_per_1000_frames"] <= GROWTH_MB_AT_MOST,
        "objects": data["most_grown_by"] <= OBJECTS_AT_MOST,
    }
    return data, tables(data)


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    rows = [
        ("frames", f"{data['summary_frames']:,}"),
        ("punches written", str(data["punches"])),
        (f"memory after {EARLY:,} frames, MB", f"{data['mb_early']:.0f}"),
        (f"memory after {WARM:,} frames, MB", f"{data['mb_first']:.0f}"),
        ("memory at the end, MB", f"{data['mb_last']:.0f}"),
        ("slope, MB a thousand frames", f"{data['mb_per_1000_frames']:+.3f}"),
        ("class of the project with most more objects", f"{data['most_grown']}: {data['most_grown_by']:+d}"),
    ]
    note = (
        f"The slope is fitted from {WARM:,} frames on. Promised: at most {GROWTH_MB_AT_MOST:g} MB a thousand frames "
        f"and at most {OBJECTS_AT_MOST} more objects of any class."
    )
    return (Table("10,000 frames", ("what", "measured"), rows, note),)


PART = Part(
    name="soak",
    title="10,000 frames through the program",
    pieces={"video": video, "soak": soak},
    conclude=_conclude,
    threads=2,
    needs=needs_photos,
)


if __name__ == "__main__":
    sys.exit(main())
