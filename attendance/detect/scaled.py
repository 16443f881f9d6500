"""What detectors of one network share: the picture shrunk until the smallest face is as small as they can see."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from attendance.detect.port import RefiningDetector
from attendance.types import Face, Float32, RGBImage

MAX_SIDE_PX = 32_000


class ScaledDetector(RefiningDetector):
    """Shrinks, detects by `_find`, and follows faces by another detector's last network.

    Args:
        min_face_px: smallest face looked for, in pixels of the image.
        sees_px: smallest face that the network finds in its own input.
        follow: the detector whose `refine` follows faces.
    """

    def __init__(self, *, min_face_px: float, sees_px: float, follow: RefiningDetector) -> None:
        if min_face_px <= 0.0 or sees_px <= 0.0:
            raise ValueError(f"min_face_px and sees_px must be above 0, got {min_face_px} and {sees_px}")
        self._scale = min(1.0, sees_px / min_face_px)
        self._min_face_px = min_face_px
        self._follow = follow

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        """Find the faces of each image, best score first; see `Detector.detect`.

        Raises:
            ValueError: an image is not uint8 (H, W, 3), is empty, or is longer than 32,000 pixels on a side.
        """
        return [self._detect(image) for image in images]

    def refine(self, image: RGBImage, boxes: Float32) -> list[Face]:
        """Look with the following network alone; see `RefiningDetector.refine`."""
        return self._follow.refine(image, boxes)

    def refine_each(self, images: Sequence[RGBImage], boxes: Sequence[Float32]) -> list[list[Face]]:
        """As `refine`, for several images at once."""
        return self._follow.refine_each(images, boxes)

    def _detect(self, image: RGBImage) -> list[Face]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"an image must be RGB uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
        if max(image.shape) > MAX_SIDE_PX:
            raise ValueError(f"an image may have {MAX_SIDE_PX} pixels on a side, got shape {image.shape}: shrink it")
        height, width = image.shape[:2]
        if min(height, width) < self._min_face_px:
            return []
        size = max(1, round(width * self._scale)), max(1, round(height * self._scale))
        small = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        ratio = np.array((width / size[0], height / size[1]), np.float32)
        found = [
            Face(face.box * np.tile(ratio, 2), face.score, face.points * ratio)
            for face in self._find(np.ascontiguousarray(small, dtype=np.uint8))
        ]
        big = [face for face in found if max(face.box[2] - face.box[0], face.box[3] - face.box[1]) >= self._min_face_px]
        return sorted(self._finish(image, big), key=lambda face: -face.score)

    @abstractmethod
    def _find(self, image: RGBImage) -> list[Face]:
        """The faces of a picture in the network's own scale."""

    def _finish(self, image: RGBImage, faces: list[Face]) -> list[Face]:
        """The last word on the faces, in pixels of the whole image."""
        return faces


def keep_apart(faces: Sequence[Face], overlap: float) -> list[Face]:
    """The best of faces that share more of their union than ``overlap``, best first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_union_overlap(face.box, other.box) <= overlap for other in kept):
            kept.append(face)
    return kept


def _union_overlap(one: Float32, other: Float32) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return shared / (areas - shared) if areas > shared else 0.0
