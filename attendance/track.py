"""Step 2b: one face over many frames.

Faces are linked from frame to frame by the overlap of their boxes with where each track should be by now, moving on as
it did; each frame's assignment is made as a whole (the assignment problem, solved by SciPy). A track ends after a short
absence. Ids are never used twice in a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.optimize import linear_sum_assignment

from attendance.types import Face, Float32, Float64, require_utc


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """The tracks of one frame: ``ids`` in the order of the faces given, ``ended`` the tracks that are over."""

    ids: tuple[int, ...]
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Live:
    """A track in view: its last box, when that was, and how its edges move, in px a second (4,), once seen twice."""

    box: Float32
    seen_at: datetime
    speed: Float32 | None = None

    def expected(self, now: datetime) -> Float32:
        """The box moved on to ``now``."""
        if self.speed is None:
            return self.box
        return self.box + self.speed * np.float32((now - self.seen_at).total_seconds())

    def see(self, box: Float32, now: datetime) -> None:
        """Take the next box; the speed is the mean of what it was and what this box says, against jitter."""
        elapsed = (now - self.seen_at).total_seconds()
        if elapsed > 0:
            speed = (box - self.box) / elapsed
            mean = speed if self.speed is None else (self.speed + speed) / 2
            self.speed = mean.astype(np.float32)
        self.box, self.seen_at = box, now


class Tracker:
    """Gives every face of a camera a track id that it keeps while it stays in view."""

    def __init__(self, *, min_iou: float = 0.3, max_gap_s: float = 1.0) -> None:
        if not 0.0 < min_iou <= 1.0:
            raise ValueError(f"min_iou must lie in (0, 1], got {min_iou}")
        self._min_iou = min_iou
        self._max_gap = timedelta(seconds=max_gap_s)
        self._live: dict[int, _Live] = {}
        self._next_id = 1

    def update(self, faces: Sequence[Face], observed_at: datetime) -> TrackUpdate:
        """Take the faces of the next frame, in any order, and the frame's time (aware UTC, not before the last one)."""
        require_utc("observed_at", observed_at)
        ended = self._end_absent(observed_at)
        ids: list[int] = [0] * len(faces)
        for index, track_id in self._assign(faces, observed_at).items():
            ids[index] = track_id
            self._live[track_id].see(faces[index].box, observed_at)
        for index, face in enumerate(faces):
            if ids[index] == 0:
                ids[index] = self._next_id
                self._next_id += 1
                self._live[ids[index]] = _Live(face.box, observed_at)
        return TrackUpdate(tuple(ids), ended)

    def finish(self) -> tuple[int, ...]:
        """End every track, as when the camera stops; their ids in order."""
        ended = tuple(sorted(self._live))
        self._live.clear()
        return ended

    def _end_absent(self, now: datetime) -> tuple[int, ...]:
        ended = tuple(sorted(i for i, live in self._live.items() if now - live.seen_at > self._max_gap))
        for track_id in ended:
            del self._live[track_id]
        return ended

    def _assign(self, faces: Sequence[Face], now: datetime) -> dict[int, int]:
        if not faces or not self._live:
            return {}
        ids = sorted(self._live)
        overlap = iou_matrix(np.stack([f.box for f in faces]), np.stack([self._live[i].expected(now) for i in ids]))
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return {row: ids[column] for row, column in pairs if overlap[row, column] >= self._min_iou}


def iou_matrix(boxes_a: Float32, boxes_b: Float32) -> Float64:
    """Intersection over union of boxes (N, 4) and (M, 4) in px: float64 (N, M) in 0..1; 0 for an empty box."""
    a, b = boxes_a.astype(np.float64), boxes_b.astype(np.float64)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0.0, None), axis=2)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0.0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0.0, None), axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    overlap: Float64 = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlap
