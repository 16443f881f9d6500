"""Does our cascade give the reference's results? Counted over a folder of photos, in steps that survive being stopped.

The reference's boxes and points are kept in parts of 100 photos under a cache folder, so that a run which was stopped
goes on, and ours can be judged again without the reference's time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attendance.detect.mtcnn import MtcnnDetector
from benchmarks.reference_mtcnn import ReferenceMtcnn

PART_PHOTOS = 100
MATCH_IOU = 0.9
POINT_SHARE = 0.02

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parity:
    """Counts over all photos: boxes of both sides, those matched, those with all points in place, and ours too many."""

    photos: int
    reference_boxes: int
    our_boxes: int
    matched: int
    matched_points: int
    extra: int

    def as_dict(self) -> dict[str, Any]:
        """Counts and the three shares that are promised."""
        return {
            **asdict(self),
            "matched_share": self.matched / self.reference_boxes,
            "points_share": self.matched_points / self.matched,
            "extra_share": self.extra / self.reference_boxes,
        }


def photos(folder: Path, limit: int | None) -> list[Path]:
    """The folder's photos in name order; with a limit, evenly spread over it."""
    found = sorted(folder.rglob("*.jpg"))
    if limit is None or limit >= len(found):
        return found
    return [found[i * len(found) // limit] for i in range(limit)]


def load(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def record(paths: list[Path], faces_px: Sequence[int], cache: Path) -> None:
    """Let the reference look at every photo and keep what it finds; parts that exist are not done again."""
    cache.mkdir(parents=True, exist_ok=True)
    references = {min_face_px: ReferenceMtcnn(min_face_px=min_face_px) for min_face_px in faces_px}
    for start in range(0, len(paths), PART_PHOTOS):
        for min_face_px, reference in references.items():
            target = _part(cache, min_face_px, len(paths), start)
            if not target.exists():
                _record_part(reference, paths[start : start + PART_PHOTOS], target)
                print(f"reference, faces from {min_face_px} px: photos from {start} of {len(paths)} done", flush=True)


def _record_part(reference: ReferenceMtcnn, paths: list[Path], target: Path) -> None:
    arrays: dict[str, Any] = {}
    for index, path in enumerate(paths):
        boxes, _, points = reference.detect(load(path))
        arrays[f"boxes{index}"], arrays[f"points{index}"] = boxes, points
    partial = target.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, target)


def compare(paths: list[Path], min_face_px: int, cache: Path, *, threads: int) -> Parity:
    """Run ours on every photo that the reference is recorded for, in batches, and count against it."""
    detector = MtcnnDetector(min_face_px=min_face_px, threads=threads)
    totals = np.zeros(5, np.int64)
    judged = 0
    for start in range(0, len(paths), PART_PHOTOS):
        recorded = _part(cache, min_face_px, len(paths), start)
        if not recorded.exists():
            continue
        found = detector.detect([load(path) for path in paths[start : start + PART_PHOTOS]])
        judged += len(found)
        with np.load(recorded) as part:
            for index, faces in enumerate(found):
                boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
                points = np.array([face.points for face in faces], np.float32).reshape(-1, 5, 2)
                totals += _count(part[f"boxes{index}"], part[f"points{index}"], boxes, points)
    return Parity(judged, *(int(total) for total in totals))


def overlaps(first: Float32, second: Float32) -> Float32:
    """(N, 4), (M, 4) -> (N, M) shared area over united area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    result: Float32 = shared / (areas[0][:, None] + areas[1][None] - shared)
    return result


def _count(boxes: Float32, points: Float32, our_boxes: Float32, our_points: Float32) -> list[int]:
    """Reference boxes, ours, matched (each of ours once), matched with all points, ours that match nothing."""
    free = np.ones(len(our_boxes), np.bool_)
    matched = exact = 0
    for box, five in zip(boxes, points, strict=True):
        overlap = np.where(free, overlaps(box[None], our_boxes)[0], 0.0) if len(our_boxes) else np.zeros(1)
        best = int(np.argmax(overlap))
        if overlap[best] < MATCH_IOU:
            continue
        free[best] = False
        matched += 1
        exact += bool(np.all(np.linalg.norm(our_points[best] - five, axis=1) <= POINT_SHARE * (box[2] - box[0])))
    return [len(boxes), len(our_boxes), matched, exact, int(free.sum())]


def _part(cache: Path, min_face_px: int, total: int, start: int) -> Path:
    return cache / f"{total}-photos-{min_face_px}px-{start:05d}.npz"
