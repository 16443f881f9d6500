"""Following faces between detections: how much sooner than the reference on every frame, and what is lost by it.

For each video the cascade first looks at every frame. Then rounds alternate: facenet-pytorch's MTCNN on frames spread
over the video, our cascade on the same frames, and the path's detection and tracking over all frames. A face-frame of
detection on every frame is kept when the tracked run has a box there that shares half of the union. People are recorded
when the whole path, with a gallery of their other photos, knows a track.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from attendance.app import App
from attendance.config import Settings, load
from attendance.detect.mtcnn import MtcnnDetector
from attendance.faces import FaceRule, choose_face
from attendance.images import read_photo
from attendance.pipeline import LivePath
from attendance.search.exact import ExactGallery
from attendance.track import Tracker, iou_matrix
from attendance.types import Float32, GalleryEntry, Outcome
from attendance.watch import Watch
from benchmarks import detection_speed
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.reference_mtcnn import ReferenceMtcnn
from benchmarks.report import Table, share, write_result
from benchmarks.tracking_videos import MAX_PIXELS, Maker, Video, street

COMMAND = "python -m benchmarks tracking"
SEED = 7
SAME_IOU = 0.5
REFERENCE_FRAMES = 10
KEPT_AT_LEAST = 0.95
RATIO_AT_LEAST = {"one": 12.0, "eight": 10.0, "crowd": 10.0}
EIGHT_FRAMES_A_SECOND = 20.0

Boxes = list[Float32]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every video, write the result; 1 where less is kept than promised."""
    arguments = _parser().parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    settings = load(None, environment={}, overrides={"track.detect_every": arguments.every})
    torch.set_num_threads(settings.model.threads)
    with App(settings) as app:
        rows = []
        for kind, video in _videos(app, lfw, arguments):
            rows.append({"kind": kind, **_measure(app, video, arguments.rounds)})
            print(rows[-1], flush=True)
    promises = judge(rows)
    data = {"detect_every": settings.track.detect_every, "rounds": arguments.rounds, "videos": rows}
    data["promises"] = promises
    if arguments.half == "report" and arguments.only is None:
        write_result(
            "tracking",
            "Following faces, beside detecting them on every frame",
            tables=_tables(data),
            data=data,
            command=COMMAND,
            threads=settings.model.threads,
        )
    print(promises)
    return 0 if all(promises.values()) else 1


def judge(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Every promise about every generated video, by name."""
    promises = {}
    for row in rows:
        if row["kind"] not in RATIO_AT_LEAST:
            continue
        name = row["name"]
        promises[f"{name}: {RATIO_AT_LEAST[row['kind']]:g} times as fast"] = row["ratio"] >= RATIO_AT_LEAST[row["kind"]]
        promises[f"{name}: {KEPT_AT_LEAST:.0%} kept"] = row["kept"] >= KEPT_AT_LEAST
        promises[f"{name}: everybody recorded"] = not row["missed_people"]
        if row["kind"] == "eight":
            fast = 1000.0 / row["tracked_ms"] >= EIGHT_FRAMES_A_SECOND
            promises[f"{name}: {EIGHT_FRAMES_A_SECOND:g} frames a second"] = fast
    return promises


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Tracking beside detection on every frame.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos; tune writes no result")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (5)")
    parser.add_argument("--every", type=int, default=load(None, environment={}).track.detect_every, metavar="N")
    parser.add_argument(
        "--only", nargs="+", choices=("one", "eight", "crowd", "street"), help="some of the videos; writes no result"
    )
    return parser


def _videos(app: App, lfw: Lfw, arguments: argparse.Namespace) -> Iterator[tuple[str, Video]]:
    maker = Maker(lfw, arguments.half, app.detector, seed=SEED)
    made: dict[str, Callable[[], list[Video | None]]] = {
        "one": lambda: [maker.in_turn(4)],
        "eight": lambda: [maker.side_by_side()],
        "crowd": lambda: [maker.crowd(12), maker.crowd(12, name="a second crowd of 12")],
        "street": lambda: [street((640, 360)), street((1920, 1080))],
    }
    for name, make in made.items():
        if arguments.only is None or name in arguments.only:
            yield from ((name, video) for video in make() if video is not None)


def _measure(app: App, video: Video, rounds: int) -> dict[str, Any]:
    settings, detector = app.settings, app.detector
    assert isinstance(detector, MtcnnDetector)
    reference = ReferenceMtcnn(min_face_px=settings.detect.min_face_px, suppress=detection_speed.compiled_suppression)
    spread = [video.frames[i] for i in np.linspace(0, len(video.frames) - 1, REFERENCE_FRAMES).astype(int)]
    every, _ = _followed(settings, detector, video, detect_every=1)
    kept, tracks = _followed(settings, detector, video, detect_every=settings.track.detect_every)
    sides: tuple[Callable[[], object], ...] = (
        lambda: [reference.detect(image) for image in spread],
        lambda: [detector.detect([image]) for image in spread],
        lambda: _followed(settings, detector, video, detect_every=settings.track.detect_every),
    )
    counts = (len(spread), len(spread), len(video.frames))
    times = [[_ms(side) / n for side, n in zip(sides, counts, strict=True)] for _ in range(rounds + 1)][1:]
    found = sum(len(boxes) for boxes in every)
    return {
        "name": video.name,
        "frames": len(video.frames),
        "faces_a_frame": found / len(video.frames),
        "face_frames": found,
        "kept": kept_faces(every, kept) / max(found, 1),
        "more": sum(len(boxes) for boxes in kept) - found,
        "tracks": tracks,
        "reference_ms": median(t[0] for t in times),
        "ours_every_frame_ms": median(t[1] for t in times),
        "tracked_ms": median(t[2] for t in times),
        "ratio": median(t[0] / t[2] for t in times),
        "lowest": min(t[0] / t[2] for t in times),
        "highest": max(t[0] / t[2] for t in times),
        "ratios": [t[0] / t[2] for t in times],
        **_people(app, video),
    }


def _followed(settings: Settings, detector: MtcnnDetector, video: Video, *, detect_every: int) -> tuple[Boxes, int]:
    """The boxes of every frame, and how many tracks there were."""
    track = settings.track
    tracker = Tracker(min_iou=track.min_iou, max_gap_s=track.max_gap_s)
    watch = Watch(detector, tracker, detect_every=detect_every, whole_every_s=track.whole_every_s)
    found: Boxes = []
    ids: set[int] = set()
    for frame in video.timed():
        seen = watch.see(frame.image, frame.observed_at)
        found.append(np.array([face.box for face in seen.faces], np.float32).reshape(-1, 4))
        ids.update(seen.ids)
    return found, len(ids)


def kept_faces(every: Boxes, tracked: Boxes) -> int:
    """How many boxes of ``every``, frame by frame, have one of ``tracked`` of their own at their place."""
    kept = 0
    for expected, boxes in zip(every, tracked, strict=True):
        overlap = iou_matrix(expected, boxes)
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        kept += int((overlap[rows, columns] >= SAME_IOU).sum())
    return kept


def _people(app: App, video: Video) -> dict[str, Any]:
    """How many people detection on every frame records, and which of them following misses, by number."""
    if not video.people:
        return {"people": None, "recorded_every_frame": None, "recorded": None, "missed_people": []}
    gallery = enrolled_gallery(app, video)
    every = _recorded(app, gallery, video, detect_every=1)
    followed = _recorded(app, gallery, video, detect_every=app.settings.track.detect_every)
    numbers = {name: index for index, name in enumerate(sorted(video.people))}
    return {
        "people": len(video.people),
        "recorded_every_frame": len(every),
        "recorded": len(followed),
        "missed_people": sorted(numbers[name] for name in every - followed),
    }


def enrolled_gallery(app: App, video: Video) -> ExactGallery:
    """A gallery of the other photos of those who pass."""
    gallery = ExactGallery(app.card.id, app.card.dimension)
    for name, photos in video.people.items():
        for path in photos:
            image = read_photo(path, max_pixels=MAX_PIXELS).image
            face = choose_face(app.reader.detect([image])[0], (image.shape[0], image.shape[1]), FaceRule.CENTRE).face
            if face is not None:
                vector = app.reader.embed([image], [[face]])[0][0]
                gallery.upsert([GalleryEntry(f"{name}/{path.name}", name, vector)])
    return gallery


def _recorded(app: App, gallery: ExactGallery, video: Video, *, detect_every: int) -> set[str]:
    track = app.settings.track
    path = LivePath(
        app.reader,
        gallery,
        rule=app.rule(gallery),
        tracker=Tracker(min_iou=track.min_iou, max_gap_s=track.max_gap_s),
        quality_level=app.rulebook.quality_limits().live,
        min_frames=track.min_frames,
        max_frames=track.max_frames,
        detect_every=detect_every,
        whole_every_s=track.whole_every_s,
    )
    changes = [change for frame in video.timed() for change in path.process(frame).changes]
    known = set()
    for change in (*changes, *path.finish()):
        decision = change.decision
        if decision is not None and decision.outcome is Outcome.KNOWN and decision.best is not None:
            known.add(decision.best.identity_id)
    return known


def _ms(side: Callable[[], object]) -> float:
    start = time.perf_counter()
    side()
    return (time.perf_counter() - start) * 1000


def _tables(data: dict[str, Any]) -> list[Table]:
    speed = [
        (
            row["name"],
            f"{row['faces_a_frame']:.2f}",
            f"{row['reference_ms']:.1f}",
            f"{row['ours_every_frame_ms']:.1f}",
            f"{row['tracked_ms']:.2f}",
            f"{row['ratio']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})",
        )
        for row in data["videos"]
    ]
    lost = [
        (
            row["name"],
            str(row["face_frames"]),
            share(row["kept"]),
            f"{row['more']:+d}",
            "-" if row["people"] is None else f"{row['recorded']} of {row['recorded_every_frame']}",
            str(len(row["missed_people"])),
        )
        for row in data["videos"]
    ]
    note = (
        f"ms a frame, medians of {data['rounds']} rounds in turn; the ratio is the median of the rounds'. The "
        f"reference and our cascade alone look at {REFERENCE_FRAMES} frames spread over the video, following runs over "
        f"all of them, with a detection at least every {data['detect_every']} frames."
    )
    return [
        Table(
            "Time",
            ("video", "faces a frame", "reference", "our cascade, every frame", "following", "reference / following"),
            speed,
            note,
        ),
        Table(
            "What is lost",
            ("video", "face-frames", "kept", "faces more or less", "people recorded, of every frame's", "missed"),
            lost,
            "Kept: the share of the boxes that detection on every frame finds which following has too.",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
