"""Embedders that run as ONNX models through ONNX Runtime."""

from __future__ import annotations

import numpy as np

from attendance.embed.card import ColourOrder, ModelCard
from attendance.embed.chips import check_chips, to_unit_length
from attendance.embed.port import Embedder
from attendance.errors import ModelError
from attendance.onnx_runtime import OnnxModel
from attendance.types import Float32, RGBImage

CHUNK = 32
"""Faces run at once where the model leaves the batch open."""


class OnnxEmbedder(Embedder):
    """Runs an ONNX model with one image input (N, 3, S, S), by its first output. Safe to use from several threads."""

    def __init__(self, card: ModelCard, data: bytes, *, device: str, threads: int) -> None:
        self.card = card
        self.device = device
        self._model = OnnxModel(f"model {card.id}", data, device=device, threads=threads)
        self._input, self._batch = _check_input(card, self._model)
        self._mean = np.array(card.input.mean, np.float32)
        self._scale = np.array(card.input.scale, np.float32)

    def embed(self, chips: RGBImage) -> Float32:
        """Embed aligned faces: RGB uint8 (N, S, S, 3) -> float32 (N, D) of unit length, N may be 0.

        Raises:
            ValueError: for chips of another type or size.
            ModelError: when the model fails, gives another dimension than the card says, or no finite numbers.
        """
        check_chips(chips, self.card)
        step = self._batch if self._batch is not None else CHUNK
        parts = [self._run(chips[start : start + step]) for start in range(0, len(chips), step)]
        outputs = np.concatenate(parts) if parts else np.empty((0, self.card.dimension), np.float32)
        return to_unit_length(outputs, self.card)

    def _run(self, chips: RGBImage) -> Float32:
        ordered = chips[..., ::-1] if self.card.input.colour_order is ColourOrder.BGR else chips
        pixels = (ordered.astype(np.float32) - self._mean) * self._scale
        if self._batch is not None and len(pixels) < self._batch:
            # A model made for a fixed batch gets the rest of it filled up.
            pixels = np.concatenate([pixels, np.zeros((self._batch - len(pixels), *pixels.shape[1:]), np.float32)])
        outputs = self._forward(pixels)
        if self.card.input.mirror:
            outputs = outputs + self._forward(pixels[:, :, ::-1])
        return outputs[: len(chips)]

    def _forward(self, pixels: Float32) -> Float32:
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return np.asarray(self._model.run({self._input: planes})[0], dtype=np.float32)


def _check_input(card: ModelCard, model: OnnxModel) -> tuple[str, int | None]:
    """The input's name, and the batch it is fixed to, None where it is open."""
    side = card.input.size_px
    if len(model.inputs) != 1 or not model.inputs[0].fits(None, 3, side, side):
        given = "; ".join(map(str, model.inputs))
        raise ModelError(f"model {card.id}: expected one float input (N, 3, {side}, {side}), got {given}")
    batch = model.inputs[0].shape[0]
    return model.inputs[0].name, batch if isinstance(batch, int) else None
