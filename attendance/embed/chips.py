"""What every embedder checks: the chips that go in and the vectors that come out."""

from __future__ import annotations

import numpy as np

from attendance.embed.card import ModelCard
from attendance.errors import ModelError
from attendance.types import Float32, RGBImage, require_array


def check_chips(chips: RGBImage, card: ModelCard) -> None:
    """Raise ValueError unless ``chips`` are RGB uint8 (N, S, S, 3) of the card's size."""
    size = card.input.size_px
    require_array(f"chips for {card.id}", chips, (-1, size, size, 3), np.uint8)


def to_unit_length(outputs: Float32, card: ModelCard) -> Float32:
    """Bring a network's outputs (N, D) to unit length, float32.

    Raises:
        ModelError: when D is not the card's dimension, or an output has no direction.
    """
    if outputs.ndim != 2 or outputs.shape[1] != card.dimension:
        raise ModelError(
            f"model {card.id}: expected vectors of {card.dimension} numbers, got outputs of shape {outputs.shape}: "
            "correct the dimension on its card"
        )
    wide = outputs.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0.0).all()):
        raise ModelError(f"model {card.id}: expected finite vectors, got some that are not: check its weights and card")
    return np.asarray(wide / lengths, dtype=np.float32)
