"""Pictures with a given number of faces that move, at any size, made by code from photos."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import cv2
import numpy as np

from attendance.images import read_photo
from attendance.types import Frame, RGBImage
from benchmarks.lfw import Lfw
from benchmarks.tracking_videos import BEGIN, FPS, MAX_PIXELS

TILE_PX = 160
"""Side of the square that shows a face: the photos are cut to faces of about half of it."""

CUT = (0.15, 0.85)
SWAY_PX = 12.0
SWAY_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A grey room of ``size`` (width, height) px, and the portraits of those in it, each swaying in its place."""

    size: tuple[int, int]
    portraits: Sequence[RGBImage]

    def picture(self, seconds: float) -> RGBImage:
        """RGB uint8 (H, W, 3) at a time."""
        width, height = self.size
        image: RGBImage = np.repeat(np.linspace(90, 150, height, dtype=np.uint8)[:, None], width, axis=1)
        image = np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2))
        for index, (portrait, (x, y)) in enumerate(zip(self.portraits, self._places(), strict=True)):
            turn = 2 * math.pi * (seconds / SWAY_S + index / max(len(self.portraits), 1))
            left, top = round(x + SWAY_PX * math.sin(turn)), round(y + SWAY_PX / 3 * math.cos(turn))
            image[top : top + TILE_PX, left : left + TILE_PX] = portrait
        return image

    def frames(self, count: int, *, first: int = 0, camera_id: str = "camera-1") -> Iterator[Frame]:
        """So many frames, one after the other, beginning with number ``first``."""
        for index in range(first, first + count):
            moment = index / FPS
            yield Frame(self.picture(moment), BEGIN + timedelta(seconds=moment), index, camera_id)

    def _places(self) -> list[tuple[float, float]]:
        """Top left corners, spread over the picture with room to sway."""
        width, height = self.size
        columns = max(min(len(self.portraits), int(width / (TILE_PX + 2 * SWAY_PX))), 1)
        rows = max(-(-len(self.portraits) // columns), 1)
        cell_w, cell_h = width / columns, height / rows
        if cell_h < TILE_PX + SWAY_PX or cell_w < TILE_PX + 2 * SWAY_PX:
            raise ValueError(f"expected room for {len(self.portraits)} portraits of {TILE_PX} px, got {width}x{height}")
        return [
            ((n % columns) * cell_w + (cell_w - TILE_PX) / 2, (n // columns) * cell_h + (cell_h - TILE_PX) / 2)
            for n in range(len(self.portraits))
        ]


def portraits(lfw: Lfw, count: int) -> list[RGBImage]:
    """The middle parts of photos of different people of the half kept for reporting, RGB uint8 (160, 160, 3)."""
    people = lfw.people("report")
    names = sorted(people)
    chosen = [names[i] for i in np.random.default_rng(5).permutation(len(names))[:count].tolist()]
    made: list[RGBImage] = []
    for name in chosen:
        photo = read_photo(people[name][0], max_pixels=MAX_PIXELS).image
        height, width = photo.shape[:2]
        part = photo[round(CUT[0] * height) : round(CUT[1] * height), round(CUT[0] * width) : round(CUT[1] * width)]
        made.append(np.asarray(cv2.resize(part, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8))
    return made
