"""The port every detector stands behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from attendance.types import Face, Float32, RGBImage

Region = tuple[int, int, int, int]
"""Left, top, right, bottom in whole px of an image; right and bottom are past the last."""


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
        """Find the faces inside parts of one image, which must lie in it and should not overlap.

        Returns:
            Faces in pixels of the image, region by region. One that crosses a region's edge may be missing or cut.
        """
        parts = [np.ascontiguousarray(image[top:bottom, left:right]) for left, top, right, bottom in regions]
        found = []
        for (left, top, _, _), faces in zip(regions, self.detect(parts), strict=True):
            shift = np.array((left, top), np.float32)
            found += [Face(face.box + np.tile(shift, 2), face.score, face.points + shift) for face in faces]
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
