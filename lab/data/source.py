"""What every source of faces gives: people, whose face each one is, and the faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.types import Float32, RGBImage

Ints = NDArray[np.int64]
Scalar = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Unread:
    """A face that gave no crop: where it lies, the reason code and a sentence."""

    place: str
    reason: str
    detail: str


class Source(ABC):
    """N square faces of P people.

    ``people`` (P,) are their names, ``labels`` (N,) int64 the place of each face's person among them. ``fingerprint``
    changes when any face may have changed.
    """

    people: tuple[str, ...]
    labels: Ints
    fingerprint: str
    targets: Float32 | None = None
    """(N, D) what a teacher makes of the faces, where it was asked before."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, index: int, size_px: int) -> RGBImage:
        """Face ``index`` as RGB uint8 (size_px, size_px, 3).

        Raises:
            ImageError: it cannot be read, or holds no face.
        """

    @abstractmethod
    def place(self, index: int) -> str:
        """Where face ``index`` lies, for a message."""


def fitted(image: RGBImage, size_px: int) -> RGBImage:
    """A square crop, RGB uint8, at that size: averaged where it shrinks, bilinear where it grows."""
    side = image.shape[0]
    if side == size_px == image.shape[1]:
        return image
    how = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size_px, size_px), interpolation=how), dtype=np.uint8)
