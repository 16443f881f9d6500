"""Embedders that run as PyTorch networks: channels innermost, convolutions and normalisations folded into one."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Mapping

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from attendance.embed.card import ColourOrder, ModelCard
from attendance.embed.chips import check_chips, to_unit_length
from attendance.embed.port import Embedder
from attendance.embed.quick import quick
from attendance.errors import ModelError
from attendance.nets.device import Mode, placed
from attendance.nets.dlib_resnet29 import DlibResNet29
from attendance.nets.facenet import InceptionResnetV1
from attendance.nets.fold import fold_batch_norms
from attendance.nets.resnet50 import ResNet50
from attendance.types import Float32, RGBImage

NETWORKS: Mapping[str, type[nn.Module]] = {
    "dlib_resnet29": DlibResNet29,
    "facenet": InceptionResnetV1,
    "resnet50": ResNet50,
}
"""The product's networks by the name that a card's ``network`` gives them."""

CHUNK = {"cpu": 32, "cuda": 256}
"""Faces run at once: more gain nothing and cost memory."""

RECORDED = (1, 2, 4, 8, 16, 32, 64)
"""Pictures in a batch that a CUDA device keeps a recording for; of more, the device has enough to do."""


# What torch's restricted unpickler raises on bytes that are no checkpoint depends on the bytes.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


class TorchEmbedder(Embedder):
    """Runs a network on ``device``. Safe to use from several threads at once: nothing is changed after it is made."""

    def __init__(self, card: ModelCard, network: nn.Module, *, device: str, mode: Mode | None = None) -> None:
        self.card = card
        self.device = device
        mode = Mode() if mode is None else mode
        network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        is_quick = device == "cpu" and mode.numbers is torch.float32
        self._quick = quick(network, threads=torch.get_num_threads()) if is_quick else None
        self._network = placed(network, device, mode, sizes=RECORDED)
        spec = card.input
        self._mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(spec.scale, device=device).view(1, 3, 1, 1)

    def embed(self, chips: RGBImage) -> Float32:
        """Embed aligned faces: RGB uint8 (N, S, S, 3) -> float32 (N, D) of unit length, N may be 0.

        Raises:
            ValueError: for chips of another type or size.
            ModelError: when the network gives another dimension than the card says, or no finite numbers.
        """
        check_chips(chips, self.card)
        step = CHUNK[self.device]
        parts = [self._run(chips[start : start + step]) for start in range(0, len(chips), step)]
        outputs = np.concatenate(parts) if parts else np.empty((0, self.card.dimension), np.float32)
        return to_unit_length(outputs, self.card)

    def _run(self, chips: RGBImage) -> Float32:
        if self._quick is not None:
            return self._quick(chips, self.card.input)
        with torch.inference_mode():
            # A (N, H, W, 3) array seen as (N, 3, H, W) is channels_last already.
            pixels = torch.from_numpy(np.ascontiguousarray(chips)).to(self.device).permute(0, 3, 1, 2).float()
            if self.card.input.colour_order is ColourOrder.BGR:
                pixels = pixels.flip(1)
            pixels = ((pixels - self._mean) * self._scale).contiguous(memory_format=torch.channels_last)
            if self.card.input.mirror:
                both = torch.cat([pixels, pixels.flip(3)]).contiguous(memory_format=torch.channels_last)
                outputs = self._network(both).reshape(2, len(chips), -1).sum(dim=0)
            else:
                outputs = self._network(pixels)
            result: Float32 = outputs.cpu().numpy()
            return result


def build_network(card: ModelCard, state: Mapping[str, Tensor]) -> nn.Module:
    """The card's network with these weights, batch normalisations folded.

    Raises:
        ModelError: the card names no known network, or a key is missing, unexpected or of another shape.
    """
    if card.network not in NETWORKS:
        raise ModelError(
            f"model {card.id}: unknown network {card.network!r} on its card; known are {', '.join(sorted(NETWORKS))}"
        )
    network = NETWORKS[card.network]()
    _check_keys(card, wanted=network.state_dict(), given=state)
    network.load_state_dict(dict(state), strict=False)
    network.requires_grad_(requires_grad=False)
    return fold_batch_norms(network.eval())


def read_checkpoint(card: ModelCard, data: bytes) -> dict[str, Tensor]:
    """The weights of a torch checkpoint, read with ``weights_only=True``, keys renamed as the card says.

    Raises:
        ModelError: when it is no such file, or holds no tensors where the card says they are.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ModelError(
            f"model {card.id}: expected a torch checkpoint of tensors alone, got a file that cannot be read so "
            f"({type(error).__name__}): save the state dict with torch.save"
        ) from error
    if card.state_key is not None and isinstance(content, Mapping):
        content = content.get(card.state_key, content)
    if not isinstance(content, Mapping):
        raise ModelError(f"model {card.id}: expected a state dict in the checkpoint, got {type(content).__name__}")
    state = _rename(card, content)
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"model {card.id}: expected a tensor at {key!r}, got {type(value).__name__}: name the entry that "
                "holds the weights as state_key on the card"
            )
    return state


def read_safetensors(card: ModelCard, data: bytes) -> dict[str, Tensor]:
    """The weights of a safetensors file, keys renamed as the card says.

    Raises:
        ModelError: when it is no such file.
    """
    try:
        return _rename(card, safetensors.torch.load(data))
    except SafetensorError as error:
        raise ModelError(f"model {card.id}: expected a safetensors file, got one that is damaged: {error}") from error


def _rename(card: ModelCard, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys' longest matching beginning of ``key_map`` replaced; None drops the key."""
    if not card.key_map:
        return dict(state)
    renamed: dict[str, Tensor] = {}
    prefixes = sorted(card.key_map, key=len, reverse=True)
    for key, value in state.items():
        prefix = next((p for p in prefixes if key.startswith(p)), "")
        replacement = card.key_map.get(prefix, "")
        if replacement is None:
            continue
        name = replacement + key[len(prefix) :]
        if name in renamed:
            raise ModelError(f"model {card.id}: key_map gives two weights the name {name!r}: correct the card")
        renamed[name] = value
    return renamed


def _check_keys(card: ModelCard, *, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    # Batch normalisation's counter plays no part in inference, and older files lack it.
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in given if key not in wanted]
    if missing or unexpected:
        raise ModelError(
            f"model {card.id}: expected the weights of {card.network}; missing: {_list(missing)}; unexpected: "
            f"{_list(unexpected)}: correct network, state_key or key_map on the card"
        )
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise ModelError(
                f"model {card.id}: expected {key} of shape {tuple(wanted[key].shape)}, got {tuple(value.shape)}"
            )


def _list(keys: list[str]) -> str:
    shown = ", ".join(keys[:8]) if keys else "none"
    return f"{shown} and {len(keys) - 8} more" if len(keys) > 8 else shown
