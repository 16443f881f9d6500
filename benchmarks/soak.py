"""10,000 frames through the program: does its memory grow, and do the things that it remembers?

A video of people who walk past, made by code and repeated, is watched by ``realtime_attendance.py`` in this process,
which writes events and punches as ever. Meanwhile the resident memory is noted, and the objects of the project's own
classes are counted. The slope is fitted by least squares after a fifth of the frames.
"""

from __future__ import annotations

import gc
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
from benchmarks.pieces import Measured, Options, Part, needs_photos, run
from benchmarks.rates import resident_mb, slope
from benchmarks.report import Table
from benchmarks.tracking_videos import FPS, Maker

FRAMES, WARM = 10_000, 2_000
PEOPLE = 5
SEED = 31
SAMPLE_S = 0.25
GROWTH_MB_AT_MOST = 0.5
"""What a thousand frames may add, MB: less than one picture of 640x360."""

OBJECTS_AT_MOST = 200
"""How many more objects of one class there may be at the end than when it was warm."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where memory grows."""
    return run(PART, argv)


def soak(options: Options) -> Measured:
    """Watch the video to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with App(load(None, environment={})) as app:
            video = Maker(options.lfw, "report", app.detector, seed=SEED).in_turn(PEOPLE)
        source = folder / "passes.mp4"
        count = _write(source, video.frames)
        store = enrol(video.people, folder)
        del video
        samples: list[tuple[float, float, dict[str, int]]] = []
        done = threading.Event()
        apps: list[NotedApp] = []
        sampler = threading.Thread(target=_sample, args=(apps, samples, done), daemon=True)
        sampler.start()
        said = watch(store, str(source), on_app=apps.append, flags=["--events", str(folder / "events.jsonl")])
        done.set()
        sampler.join()
    found = judged(samples)
    return {**found, "frames": count, "punches": len(apps[0].written), "summary_frames": said["frames"]}


def _write(path: Path, frames: Sequence[np.ndarray]) -> int:
    """The frames again and again, as a video; how many."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    pictures = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    for index in range(FRAMES):
        writer.write(pictures[index % len(pictures)])
    writer.release()
    return FRAMES


def _sample(apps: list[NotedApp], samples: list[tuple[float, float, dict[str, int]]], done: threading.Event) -> None:
    """Frames so far, resident memory in MB, and objects by class, until the end."""
    while not done.wait(SAMPLE_S):
        frames = apps[0].frames_taken() if apps else 0.0
        if frames > 0:
            samples.append((frames, resident_mb(), own_objects()))


def own_objects() -> dict[str, int]:
    """How many objects of each of the project's classes there are."""
    classes = (type(each) for each in gc.get_objects())
    return dict(
        Counter(f"{c.__module__}.{c.__qualname__}" for c in classes if str(c.__module__).startswith("attendance."))
    )


def judged(samples: Sequence[tuple[float, float, Mapping[str, int]]]) -> Measured:
    """Slope of the memory after the warm part, MB a thousand frames, and how much each class grew at most."""
    warm = [each for each in samples if each[0] >= WARM]
    third = max(len(warm) // 3, 1)
    early, late = ([objects for _, _, objects in part] for part in (warm[:third], warm[-third:]))
    classes = {name for objects in (*early, *late) for name in objects}
    # What is alive at a moment comes and goes: the least of each third is what stays.
    grown = {name: min(o.get(name, 0) for o in late) - min(o.get(name, 0) for o in early) for name in classes}
    most = max(grown, key=lambda name: grown[name])
    return {
        "mb_per_1000_frames": 1e3 * slope([s[0] for s in warm], [s[1] for s in warm]),
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
        ("memory when warm, MB", f"{data['mb_first']:.0f}"),
        ("memory at the end, MB", f"{data['mb_last']:.0f}"),
        ("slope, MB a thousand frames", f"{data['mb_per_1000_frames']:+.3f}"),
        ("class of the project with most more objects", f"{data['most_grown']}: {data['most_grown_by']:+d}"),
    ]
    note = (
        f"Warm: after {WARM:,} frames. Promised: at most {GROWTH_MB_AT_MOST:g} MB a thousand frames, and at most "
        f"{OBJECTS_AT_MOST} more objects of any class."
    )
    return (Table("10,000 frames", ("what", "measured"), rows, note),)


PART = Part(
    name="soak",
    title="10,000 frames through the program",
    pieces={"soak": soak},
    conclude=_conclude,
    threads=2,
    needs=needs_photos,
)


if __name__ == "__main__":
    sys.exit(main())
