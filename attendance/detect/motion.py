"""Where a picture changed: the gate before detection, so that a scene in which nothing happens costs little.

A fixed camera's picture is sampled on a coarse grid; a cell has changed when it differs, by more than the picture's own
noise, from what it showed when it was last searched for faces. So a slow change adds up until it is seen, and a person
who stops stays searched.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.detect.port import Region
from attendance.types import Float32, RGBImage

SAMPLE_ROWS = 90
"""Rows of samples in a picture, about."""

CELL_SAMPLES = 4
LEAST_CHANGE = 6.0
"""Mean absolute difference of a cell's samples, in levels of 255, that noise alone does not make."""

NOISE_RATIO = 2.5
"""How far above the typical cell's difference a change lies: that one is noise, as most of a scene stands still."""

MOVING_CAMERA = 20.0
"""Typical difference in levels at which the camera itself has moved, or the light was switched."""

Mask = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]


class MotionMap:
    """What changed in the pictures of one camera since each place was last searched, or last explained."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._step = 1
        self._now: UInt8 = np.empty((0, 0), np.uint8)
        self._searched: UInt8 = self._now
        self._known: UInt8 = self._now
        self._threshold = LEAST_CHANGE

    @property
    def cell_px(self) -> int:
        """Side of a cell in px of the picture."""
        return CELL_SAMPLES * self._step

    def changed(self, image: RGBImage) -> Mask:
        """Take the next picture, RGB uint8 (H, W, 3): bool (rows, columns) of cells, True where it changed.

        Everything has changed in the first picture, in one of another size, and when the camera moved.
        """
        new = image.shape != self._shape
        if new:
            self._shape = image.shape
            self._step = max(1, round(image.shape[0] / SAMPLE_ROWS))
        rows, columns = (max(side // self.cell_px, 1) for side in image.shape[:2])
        self._now = np.empty((rows * CELL_SAMPLES, columns * CELL_SAMPLES), np.uint8)
        _sample(image, self._step, self._now)
        if new:
            self._searched, self._known = self._now.copy(), self._now.copy()
            return np.ones((rows, columns), np.bool_)
        difference = _cell_differences(self._now, self._searched, CELL_SAMPLES)
        typical = _median(difference)
        if typical > MOVING_CAMERA:
            return np.ones((rows, columns), np.bool_)
        self._threshold = max(LEAST_CHANGE, NOISE_RATIO * typical)
        changed: Mask = difference > self._threshold
        return changed

    def unexplained(self, explained: Mask) -> Mask:
        """Where the last picture changed since each place was last searched or explained, as `changed` has it.

        ``explained`` (rows, columns) are the cells in which every change is explained by what is known to be there now:
        what they show when somebody moves out of them is known from then on.
        """
        _take(self._now, explained, CELL_SAMPLES, self._known)
        new: Mask = _cell_differences(self._now, self._known, CELL_SAMPLES) > self._threshold
        return new

    def searched(self, region: Region) -> None:
        """This part of the last picture was searched."""
        rows, columns = (slice(s.start * CELL_SAMPLES, s.stop * CELL_SAMPLES) for s in self.cells(region))
        self._searched[rows, columns] = self._now[rows, columns]
        self._known[rows, columns] = self._now[rows, columns]

    def cells(self, box: tuple[float, float, float, float]) -> tuple[slice, slice]:
        """Rows and columns of the cells that a box (left, top, right, bottom in px) touches."""
        rows, columns = (side // CELL_SAMPLES for side in self._now.shape)
        left, top, right, bottom = (value / self.cell_px for value in box)
        return (
            slice(min(max(math.floor(top), 0), rows), min(max(math.ceil(bottom), 0), rows)),
            slice(min(max(math.floor(left), 0), columns), min(max(math.ceil(right), 0), columns)),
        )

    def regions(self, cells: Mask, *, least_cells: int = 1) -> list[Region]:
        """Rectangles of the picture that hold these cells and two cells around; they may overlap.

        Cells that touch one another, or lie one apart, make one rectangle; of fewer than ``least_cells`` none.
        """
        if not cells.any():
            return []
        near = cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8))
        count, groups, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
        sizes = np.bincount(groups[cells], minlength=count)
        height, width = self._shape[:2]
        px = self.cell_px
        found: list[Region] = []
        for group in range(1, count):
            left, top, wide, high, _ = stats[group].tolist()
            if sizes[group] >= least_cells:
                # The picture's last rows and columns, less than a cell, belong to the last cells.
                right = width if left + wide == cells.shape[1] else (left + wide + 1) * px
                bottom = height if top + high == cells.shape[0] else (top + high + 1) * px
                found.append((max((left - 1) * px, 0), max((top - 1) * px, 0), min(right, width), min(bottom, height)))
        return found


def disjoint(regions: list[Region]) -> list[Region]:
    """Regions that overlap are joined to one that holds both, until none do."""
    found: list[Region] = []
    for region in regions:
        joined = region
        while True:
            touching = [other for other in found if _overlap(joined, other)]
            if not touching:
                break
            found = [other for other in found if other not in touching]
            boxes = np.array([joined, *touching])
            left, top = boxes[:, :2].min(axis=0).tolist()
            right, bottom = boxes[:, 2:].max(axis=0).tolist()
            joined = (left, top, right, bottom)
        found.append(joined)
    return found


def _overlap(a: Region, b: Region) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@compiled
def _sample(image: UInt8, step: int, samples: UInt8) -> None:
    """The green channel, which has most of the light, at every ``step``-th pixel."""
    for y in range(samples.shape[0]):
        row = min(y * step + step // 2, image.shape[0] - 1)
        for x in range(samples.shape[1]):
            samples[y, x] = image[row, min(x * step + step // 2, image.shape[1] - 1), 1]


@compiled
def _cell_differences(now: UInt8, before: UInt8, cell: int) -> Float32:
    rows, columns = now.shape[0] // cell, now.shape[1] // cell
    found = np.empty((rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            total = np.int64(0)
            for y in range(row * cell, row * cell + cell):
                for x in range(column * cell, column * cell + cell):
                    total += abs(np.int64(now[y, x]) - np.int64(before[y, x]))
            found[row, column] = total / (cell * cell)
    return found


@compiled
def _median(values: Float32) -> float:
    return float(np.median(values))


@compiled
def _take(now: UInt8, cells: Mask, cell: int, known: UInt8) -> None:
    """Copy the samples of these cells."""
    for y in range(now.shape[0]):
        for x in range(now.shape[1]):
            if cells[y // cell, x // cell]:
                known[y, x] = now[y, x]
