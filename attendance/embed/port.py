"""The port every embedder stands behind."""

from __future__ import annotations

from abc import ABC, abstractmethod

from attendance.embed.card import ModelCard
from attendance.types import Float32, RGBImage


class Embedder(ABC):
    """Turns aligned faces into unit vectors, as its card says. ``device`` is what it runs on: ``cpu`` or ``cuda``."""

    card: ModelCard
    device: str

    @abstractmethod
    def embed(self, chips: RGBImage) -> Float32:
        """Embed aligned faces.

        Args:
            chips: RGB uint8 (N, H, W, 3), cut out by `attendance.align` with the card's alignment. N may be 0.

        Returns:
            float32 (N, D) of unit length.
        """

    def describe(self) -> str:
        """One line that says at start what runs where."""
        return f"model {self.card.id} ({self.card.dimension}-D) on {self.device}"
