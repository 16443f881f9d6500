"""Our cascade beside facenet-pytorch's MTCNN: the same results, and how much sooner.

Same results: boxes and points of photos spread over the data set. Time: frames of the street clip, both sides in turn.
What the reference finds is kept under build/detection in steps, so that a run that was stopped goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import torch

from benchmarks import detection_parity, detection_speed
from benchmarks.pieces import WORK, Measured, Options, Part, needs_photos, run
from benchmarks.report import Table, share
from benchmarks.tracking_videos import STREET

THREADS = 2
FACES_PX = (20, 40)
PHOTOS = 600
RATIO_AT_LEAST = 2.8
MATCHED_AT_LEAST, POINTS_AT_LEAST, EXTRA_AT_MOST = 0.99, 0.989, 0.01


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    return run(PART, argv)


def parity(min_face_px: int) -> Callable[[Options], Measured]:
    """Record the reference where it is not recorded yet, run ours, count."""

    def measure(options: Options) -> Measured:
        torch.set_num_threads(THREADS)
        photos = detection_parity.photos(options.lfw.images, PHOTOS)
        cache = WORK / "detection" / "reference"
        detection_parity.record(photos, (min_face_px,), cache)
        counts = detection_parity.compare(photos, min_face_px, cache, threads=THREADS)
        return {"min_face_px": min_face_px, **counts.as_dict()}

    return measure


def speed(size: str) -> Callable[[Options], Measured]:
    """Both sides in turn on frames of a video at this size."""

    def measure(options: Options) -> Measured:
        torch.set_num_threads(THREADS)
        return {"rows": detection_speed.measure(STREET, size, rounds=options.rounds, threads=THREADS)}

    return measure


def _needs(options: Options) -> str | None:
    missing = needs_photos(options)
    return missing if missing is not None or STREET.is_file() else f"no video {STREET.name} in {STREET.parent}"


def _conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    same = [found[f"parity-{px}"] for px in FACES_PX]
    rows = [row for size in detection_speed.SIZES for row in found[f"speed-{size}"]["rows"]]
    data = {
        "parity": same,
        "speed": rows,
        "promises": {
            "ratio": all(row["ratio"] >= RATIO_AT_LEAST for row in rows),
            "boxes": all(row["matched_share"] >= MATCHED_AT_LEAST for row in same),
            "points": all(row["points_share"] >= POINTS_AT_LEAST for row in same),
            "extra": all(row["extra_share"] <= EXTRA_AT_MOST for row in same),
        },
    }
    return data, tables(data)


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    same = [
        (
            f"{row['min_face_px']} px",
            str(row["photos"]),
            str(row["reference_boxes"]),
            *(share(row[key]) for key in ("matched_share", "points_share", "extra_share")),
        )
        for row in data["parity"]
    ]
    times = [
        (
            row["frame"],
            f"{row['min_face_px']} px",
            f"{row['reference_ms']:.1f}",
            f"{row['ours_ms']:.1f}",
            f"{row['ratio']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})",
        )
        for row in data["speed"]
    ]
    return (
        Table(
            "Time",
            ("frame", "faces from", "reference", "ours", "reference / ours"),
            times,
            "ms a frame, medians of rounds in turn, the ratio is that of the rounds'. The reference's suppression "
            f"is compiled here, as torchvision's is. Promised: {RATIO_AT_LEAST} everywhere.",
        ),
        Table(
            "Same results",
            ("faces from", "photos", "reference boxes", "matched", "of these, points in place", "extra boxes"),
            same,
            f"A box is matched at {detection_parity.MATCH_IOU} of the union; points are in place when all five lie "
            f"within {detection_parity.POINT_SHARE:.0%} of its width. Promised: {share(MATCHED_AT_LEAST)}, "
            f"{share(POINTS_AT_LEAST)} and at most {share(EXTRA_AT_MOST)}.",
        ),
    )


PART = Part(
    name="detection",
    title="Detection beside facenet-pytorch's MTCNN",
    pieces={
        **{f"speed-{size}": speed(size) for size in detection_speed.SIZES},
        **{f"parity-{px}": parity(px) for px in FACES_PX},
    },
    conclude=_conclude,
    threads=THREADS,
    needs=_needs,
)


if __name__ == "__main__":
    sys.exit(main())
