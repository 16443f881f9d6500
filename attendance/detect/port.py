"""The port every detector stands behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attendance.types import Face, Float32, RGBImage

Region = tuple[int, int, int, int]
"""Left, top, right, bottom in whole px of an image; right and bottom are past the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Parts of one image, RGB uint8 (H, W, 3), in which to look for faces; they lie in it and should not overlap."""

    image: RGBImage
    regions: Sequence[Region]


class Detector(ABC):
    """Finds faces. ``name`` is what the configuration calls it."""

    name: str

    @abstractmethod
    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        """Find the faces of each image.

        Args:
            images: RGB uint8 (H, W, 3). Images of one size run as one batch; sizes may differ.

        Returns:
            One list per image, best score first; empty where there is no face.
        """

    def detect_within(self, image: RGBImage, regions: Sequence[Region]) -> list[Face]:
        """Find the faces inside parts of one image; see `search`."""
        return self.search([Search(image, regions)])[0]

    def search(self, searches: Sequence[Search]) -> list[list[Face]]:
        """Find the faces inside parts of several images, all in one batch.

        Returns:
            Per search its faces in pixels of its image, region by region. One that crosses a region's edge may be
            missing or cut.
        """
        parts = [
            np.ascontiguousarray(search.image[top:bottom, left:right])
            for search in searches
            for left, top, right, bottom in search.regions
        ]
        answers = iter(self.detect(parts))
        found: list[list[Face]] = []
        for search in searches:
            mine: list[Face] = []
            for left, top, _, _ in search.regions:
                shift = np.array((left, top), np.float32)
                mine += [Face(f.box + np.tile(shift, 2), f.score, f.points + shift) for f in next(answers)]
            found.append(mine)
        return found


class RefiningDetector(Detector):
    """A detector that can also look at one place alone, which follows a face at a small part of a detection's cost."""

    @abstractmethod
    def refine(self, image: RGBImage, boxes: Float32) -> list[Face]:
        """Look where faces are expected.

        Args:
            image: RGB uint8 (H, W, 3).
            boxes: float32 (M, 4) px, about the faces.

        Returns:
            One face per box, in order, whatever its score: the caller judges it. A box outside the image scores 0.
        """

    def refine_each(self, images: Sequence[RGBImage], boxes: Sequence[Float32]) -> list[list[Face]]:
        """`refine` for several images at once, each with its own boxes."""
        return [self.refine(image, mine) for image, mine in zip(images, boxes, strict=True)]
