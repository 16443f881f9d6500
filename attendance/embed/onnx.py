"""Embedders that run as ONNX models through ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state

from attendance.embed.card import ColourOrder, ModelCard
from attendance.embed.chips import check_chips, to_unit_length
from attendance.embed.port import Embedder
from attendance.errors import ModelError
from attendance.types import Float32, RGBImage

CHUNK = 32
"""Faces run at once where the model leaves the batch open."""

_FAULTS = (
    runtime_state.Fail,
    runtime_state.InvalidProtobuf,
    runtime_state.InvalidGraph,
    runtime_state.InvalidArgument,
    runtime_state.NotImplemented,
    runtime_state.RuntimeException,
)


class OnnxEmbedder(Embedder):
    """Runs an ONNX model with one image input (N, 3, S, S). Safe to use from several threads at once."""

    def __init__(self, card: ModelCard, data: bytes, *, device: str, threads: int) -> None:
        self.card = card
        self.device = device
        self._session = _open(card, data, device=device, threads=threads)
        self._input, self._batch = _check_input(card, self._session)
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
        try:
            output = self._session.run(None, {self._input: planes})[0]
        except _FAULTS as error:
            raise ModelError(
                f"model {self.card.id}: ONNX Runtime failed on a batch of {planes.shape}: {error}"
            ) from error
        return np.asarray(output, dtype=np.float32)


def _open(card: ModelCard, data: bytes, *, device: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads beside torch's make both two to four times slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ModelError(
            f"model {card.id}: expected an ONNX Runtime with {provider} for device {device}, it has "
            f"{', '.join(onnxruntime.get_available_providers())}: use model.device cpu or install onnxruntime-gpu"
        )
    try:
        return onnxruntime.InferenceSession(data, sess_options=options, providers=[provider])
    except _FAULTS as error:
        raise ModelError(f"model {card.id}: expected an ONNX model, got a file that cannot be used: {error}") from error


def _check_input(card: ModelCard, session: onnxruntime.InferenceSession) -> tuple[str, int | None]:
    """The input's name, and the batch it is fixed to, None where it is open."""
    inputs = session.get_inputs()
    wanted = (3, card.input.size_px, card.input.size_px)
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    fits = len(shape) == 4 and all(not isinstance(s, int) or s == w for s, w in zip(shape[1:], wanted, strict=True))
    if not fits or inputs[0].type != "tensor(float)":
        given = "; ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise ModelError(f"model {card.id}: expected one float input (N, {', '.join(map(str, wanted))}), got {given}")
    return inputs[0].name, shape[0] if isinstance(shape[0], int) else None
