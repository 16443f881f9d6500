"""Time of both detectors on the same frames, in turn, so that a busy machine slows both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.detect import boxes as box_math
from attendance.detect.mtcnn import MtcnnDetector
from benchmarks.reference_mtcnn import Float32, ReferenceMtcnn

SIZES = {"640x360": (640, 360), "1920x1080": (1920, 1080)}
FACES_PX = (20, 40, 80)
FRAMES = (0, 30, 60)

Image = NDArray[np.uint8]


def frames(video: Path, size: tuple[int, int]) -> list[Image]:
    """A few frames of the video, RGB, at this width and height."""
    capture = cv2.VideoCapture(str(video))
    found: list[Image] = []
    for index in FRAMES:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        read, frame = capture.read()
        if not read:
            raise SystemExit(f"expected frame {index} in {video}, it cannot be read")
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if frame.shape[1::-1] != size else frame
        found.append(np.ascontiguousarray(frame[:, :, ::-1], dtype=np.uint8))
    capture.release()
    return found


def measure(video: Path, size: str, *, rounds: int, threads: int) -> list[dict[str, Any]]:
    """One row per smallest face, for one of `SIZES`."""
    pictures = frames(video, SIZES[size])
    return [
        {"frame": size, "min_face_px": min_face_px, **_row(pictures, min_face_px, rounds, threads)}
        for min_face_px in FACES_PX
    ]


def _row(pictures: list[Image], min_face_px: int, rounds: int, threads: int) -> dict[str, float]:
    reference = ReferenceMtcnn(min_face_px=min_face_px, suppress=compiled_suppression)
    ours = MtcnnDetector(min_face_px=min_face_px, threads=threads)
    sides: tuple[Callable[[Image], Any], Callable[[Image], Any]] = (
        reference.detect,
        lambda picture: ours.detect([picture]),
    )
    times = [[_milliseconds(side, pictures) for side in sides] for _ in range(rounds + 1)][1:]  # the first warms up
    ratios = [theirs / mine for theirs, mine in times]
    return {
        "reference_ms": median(theirs for theirs, _ in times),
        "ours_ms": median(mine for _, mine in times),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _milliseconds(side: Callable[[Image], Any], pictures: list[Image]) -> float:
    """A frame, averaged over the pictures."""
    start = time.perf_counter()
    for picture in pictures:
        side(picture)
    return (time.perf_counter() - start) * 1000 / len(pictures)


def compiled_suppression(boxes: Float32, scores: Float32, most: float) -> list[int]:
    """torchvision's suppression for the reference, compiled as torchvision's is; see `reference_mtcnn`."""
    kept: list[int] = box_math.keep_by_union(np.column_stack((boxes, scores)), most).tolist()
    return kept
