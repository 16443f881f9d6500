"""Step 2b: one face over many frames.

Each track carries a constant-velocity Kalman filter of its box (Kalman 1960; the white-noise acceleration model of
Bar-Shalom, "Estimation with Applications to Tracking and Navigation", 2001, section 6.3), so it knows where its face
should be by now and how surely. Faces are linked to tracks by how well they fit there, each frame's assignment made as
a whole (the assignment problem, solved by SciPy). Where people cross and place alone does not tell, the faces are
compared with what the tracks looked like before. A track ends after a short absence. Ids are never used twice in a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from attendance.compiled import compiled
from attendance.types import Face, Float32, Float64, require_utc

# Standard deviations of the motion model, in face sizes (root of the box's area): of a measured edge, of the speed of a
# face just found, and of the acceleration, per second and second squared.
MEASURED = 0.06
FIRST_SPEED = 4.0
ACCELERATION = 12.0

REACH = 3.0
"""A face further than so many standard deviations from where a track should be is not that track's."""

MOST_GROWTH = 1.8
"""A face that changed its side by more than this factor since a track was last seen is not that track's."""

Int64 = NDArray[np.int64]

Describe = Callable[[Sequence[int]], Float32]
"""Indices of faces (n) -> their vectors (n, D) of unit length."""


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """The tracks of one frame: ``ids`` in the order of the faces given, ``ended`` the tracks that are over."""

    ids: tuple[int, ...]
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Live:
    """A track in view: its box and the speed of its edges (4,), in px and px a second, as of ``seen_at``.

    ``variances`` are those of place, place with speed, and speed, of every edge alike. ``look`` is the vector of what
    it looked like, once known.
    """

    box: Float64
    speed: Float64
    variances: tuple[float, float, float]
    seen_at: datetime
    look: Float32 | None = None

    @classmethod
    def begin(cls, box: Float32, now: datetime) -> _Live:
        """A face seen for the first time."""
        size = _size(box)
        variances = ((MEASURED * size) ** 2, 0.0, (FIRST_SPEED * size) ** 2)
        return cls(box.astype(np.float64), np.zeros(4), variances, now)

    def expected(self, now: datetime) -> tuple[Float64, tuple[float, float, float]]:
        """Box and variances moved on to ``now``."""
        elapsed = (now - self.seen_at).total_seconds()
        place, both, speed = self.variances
        power = (ACCELERATION * _size(self.box) * elapsed) ** 2
        moved = (
            place + elapsed * (2 * both + elapsed * speed) + power * elapsed**2 / 4,
            both + elapsed * speed + power * elapsed / 2,
            speed + power,
        )
        return self.box + self.speed * elapsed, moved

    def see(self, box: Float32, now: datetime) -> None:
        """Take the next measured box."""
        expected, (place, both, speed) = self.expected(now)
        gain = 1.0 / (place + (MEASURED * _size(box)) ** 2)
        wrong = box - expected
        self.box = expected + place * gain * wrong
        self.speed = self.speed + both * gain * wrong
        self.variances = (place - place * place * gain, both - both * place * gain, speed - both * both * gain)
        self.seen_at = now


class Tracker:
    """Gives every face of a camera a track id that it keeps while it stays in view."""

    def __init__(self, *, min_iou: float = 0.3, max_gap_s: float = 1.0) -> None:
        if not 0.0 < min_iou <= 1.0:
            raise ValueError(f"min_iou must lie in (0, 1], got {min_iou}")
        self._min_iou = min_iou
        self._max_gap = timedelta(seconds=max_gap_s)
        self._live: dict[int, _Live] = {}
        self._next_id = 1

    def expected(self, observed_at: datetime) -> dict[int, Float32]:
        """Where the face of each live track should be, box (4,) px, at this time (aware UTC)."""
        found = {}
        for track_id, live in self._live.items():
            if observed_at - live.seen_at <= self._max_gap:
                found[track_id] = live.expected(observed_at)[0].astype(np.float32)
        return found

    def describe(self, track_id: int, look: Float32) -> None:
        """Tell what a live track looks like: a vector (D,) of unit length."""
        if track_id in self._live:
            self._live[track_id].look = look

    def match(
        self,
        faces: Sequence[Face],
        observed_at: datetime,
        *,
        among: Iterable[int] | None = None,
        describe: Describe | None = None,
    ) -> list[int | None]:
        """The track of each face, None for a face that no track fits; nothing is changed.

        Args:
            faces: of one frame, in any order.
            observed_at: the frame's time, aware UTC.
            among: the tracks to choose from, default all.
            describe: gives vectors of faces; asked only where place alone leaves several choices.
        """
        ids = sorted(self._live if among is None else among)
        if not faces or not ids:
            return [None] * len(faces)
        fit = self._fit(faces, ids, observed_at)
        if describe is not None:
            rows, columns = self._unclear(fit, ids)
            fit = self._with_looks(fit, ids, rows, columns, describe(rows.tolist())) if len(rows) else fit
        rows, columns = linear_sum_assignment(fit, maximize=True)
        found: list[int | None] = [None] * len(faces)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if fit[row, column] > 0.0:
                found[row] = ids[column]
        return found

    def unclear(self, faces: Sequence[Face], observed_at: datetime, *, among: Collection[int]) -> list[int]:
        """Indices of the faces whose vectors `match` would ask for: place alone leaves them several tracks."""
        ids = sorted(among)
        if not faces or sum(self._live[i].look is not None for i in ids) < 2:
            return []
        rows, _ = self._unclear(self._fit(faces, ids, observed_at), ids)
        return [int(row) for row in rows]

    def update(
        self, faces: Sequence[Face], observed_at: datetime, *, ids: Sequence[int | None] | None = None
    ) -> TrackUpdate:
        """Take the faces of the next frame, in any order, and the frame's time (aware UTC, not before the last one).

        ``ids`` are the tracks of the faces where they are known already (`match`), None for a face that is new; without
        them they are matched here. Tracks that have been away for too long end first.
        """
        require_utc("observed_at", observed_at)
        ended = self._end_absent(observed_at)
        matched = self.match(faces, observed_at) if ids is None else ids
        seen = tuple(self._see(face, i, observed_at) for face, i in zip(faces, matched, strict=True))
        return TrackUpdate(seen, ended)

    def finish(self) -> tuple[int, ...]:
        """End every track, as when the camera stops; their ids in order."""
        ended = tuple(sorted(self._live))
        self._live.clear()
        return ended

    def _see(self, face: Face, track_id: int | None, now: datetime) -> int:
        if track_id is not None and track_id in self._live:
            self._live[track_id].see(face.box, now)
            return track_id
        new = self._next_id
        self._next_id += 1
        self._live[new] = _Live.begin(face.box, now)
        return new

    def _end_absent(self, now: datetime) -> tuple[int, ...]:
        ended = tuple(sorted(i for i, live in self._live.items() if now - live.seen_at > self._max_gap))
        for track_id in ended:
            del self._live[track_id]
        return ended

    def _fit(self, faces: Sequence[Face], ids: Sequence[int], now: datetime) -> Float64:
        """(faces, tracks) how well each fits: the overlap where it reaches ``min_iou``; else, within the reach of the
        motion model, a little less than any such overlap; 0 where it does not fit at all."""
        boxes = np.stack([face.box for face in faces]).astype(np.float64)
        expected = [self._live[i].expected(now) for i in ids]
        places = np.stack([box for box, _ in expected])
        overlap = iou_matrix(boxes, places)
        spread = np.sqrt([variances[0] for _, variances in expected])
        sizes, expected_sizes = (np.sqrt(np.maximum(_areas(b), 1.0)) for b in (boxes, places))
        away = np.linalg.norm(_centres(boxes)[:, None] - _centres(places)[None], axis=2)
        away /= np.hypot(spread[None], MEASURED * sizes[:, None])
        growth = np.abs(np.log(sizes[:, None] / expected_sizes[None]))
        near = (away <= REACH) & (growth <= math.log(MOST_GROWTH))
        by_reach = np.where(near, self._min_iou * np.exp(-(away**2) / 2), 0.0)
        return np.where(overlap >= self._min_iou, overlap, by_reach)

    def _unclear(self, fit: Float64, ids: Sequence[int]) -> tuple[Int64, Int64]:
        """Faces and tracks that fit one another in several ways, of the tracks whose looks are known."""
        known = np.array([self._live[i].look is not None for i in ids])
        possible = (fit > 0.0) & known[None]
        unsure = possible & (possible.sum(axis=1, keepdims=True) > 1)
        # The others that the same tracks could take, so that likeness is weighed on both sides.
        rows = np.flatnonzero((possible & unsure.any(axis=0)[None]).any(axis=1))
        return rows, np.flatnonzero(unsure.any(axis=0))

    def _with_looks(self, fit: Float64, ids: Sequence[int], rows: Int64, columns: Int64, vectors: Float32) -> Float64:
        """``fit`` with the likeness added where ``vectors``, those of ``rows``, have several tracks to choose from."""
        looks = np.stack([self._live[ids[c]].look for c in columns.tolist()])  # type: ignore[misc]
        cosines = (vectors @ looks.T).astype(np.float64)
        spread = float(cosines.max() - cosines.min())
        if spread <= 0.0:
            return fit
        block = np.ix_(rows, columns)
        liker = fit.copy()
        liker[block] = np.where(fit[block] > 0.0, fit[block] + (cosines - cosines.min()) / spread, 0.0)
        return liker


def iou_matrix(boxes_a: NDArray[np.floating], boxes_b: NDArray[np.floating]) -> Float64:
    """Intersection over union of boxes (N, 4) and (M, 4) in px: float64 (N, M) in 0..1; 0 for an empty box."""
    return _overlaps(boxes_a.astype(np.float64), boxes_b.astype(np.float64))


@compiled
def _overlaps(a: Float64, b: Float64) -> Float64:
    found = np.zeros((a.shape[0], b.shape[0]))
    for i in range(a.shape[0]):
        area = max(a[i, 2] - a[i, 0], 0.0) * max(a[i, 3] - a[i, 1], 0.0)
        for j in range(b.shape[0]):
            wide = max(min(a[i, 2], b[j, 2]) - max(a[i, 0], b[j, 0]), 0.0)
            high = max(min(a[i, 3], b[j, 3]) - max(a[i, 1], b[j, 1]), 0.0)
            union = area + max(b[j, 2] - b[j, 0], 0.0) * max(b[j, 3] - b[j, 1], 0.0) - wide * high
            if union > 0.0:
                found[i, j] = wide * high / union
    return found


def _areas(boxes: Float64) -> Float64:
    areas: Float64 = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1)
    return areas


def _centres(boxes: Float64) -> Float64:
    centres: Float64 = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _size(box: NDArray[np.floating]) -> float:
    """Root of a box's area, at least 1 px."""
    return math.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 1.0))
