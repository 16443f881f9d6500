"""Faces as cheap pictures of them show them: what cross-quality evaluation does to one side."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from attendance.embed.port import Embedder
from attendance.errors import UsageError
from attendance.types import Float32, RGBImage
from lab.data.source import fitted

SMALLEST_PX = 4


@dataclass(frozen=True, slots=True)
class Degradation:
    """Shrunk to ``side_px`` and, with ``quality`` (1 to 100), kept as a JPEG of it, then grown again."""

    side_px: int
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.side_px < SMALLEST_PX:
            raise UsageError(f"expected faces degraded to {SMALLEST_PX} pixels or more, got {self.side_px}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"expected a JPEG quality of 1 to 100, got {self.quality}")

    def of(self, chip: RGBImage) -> RGBImage:
        """The face RGB uint8 (S, S, 3) as such a picture shows it, as large as before."""
        side = chip.shape[0]
        small = fitted(chip, min(self.side_px, side))
        if self.quality is not None:
            # OpenCV codes blue first.
            blue_first = np.ascontiguousarray(small[:, :, ::-1])
            _, coded = cv2.imencode(".jpg", blue_first, (cv2.IMWRITE_JPEG_QUALITY, self.quality))
            decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
            small = np.ascontiguousarray(decoded[:, :, ::-1])
        return fitted(small, side)


class DegradingEmbedder(Embedder):
    """Another embedder, to which faces come degraded while ``how`` is set."""

    def __init__(self, inner: Embedder) -> None:
        self.card, self.device = inner.card, inner.device
        self.how: Degradation | None = None
        self._inner = inner

    def embed(self, chips: RGBImage) -> Float32:
        """See `Embedder.embed`."""
        if self.how is None or len(chips) == 0:
            return self._inner.embed(chips)
        return self._inner.embed(np.stack([self.how.of(chip) for chip in chips]))
