"""The port every detector stands behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attendance.types import Face, RGBImage


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
