"""How networks run on their device: with which numbers, and by recordings or call by call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attendance.errors import ModelError
from attendance.nets.replayed import Network, Replayed

_NUMBERS = {"auto": torch.float32, "fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Mode:
    """``numbers``: what a network's weights and sums are; ``graphs``: whether a CUDA device replays recordings."""

    numbers: torch.dtype = torch.float32
    graphs: bool = False


def mode_for(device: str, *, precision: str, graphs: bool) -> Mode:
    """The mode for ``cpu`` or ``cuda`` and a precision: ``auto`` (float32), ``fp32`` or ``fp16``.

    Raises:
        ModelError: an unknown precision, or fp16 on a processor, which computes it many times slower.
    """
    if precision not in _NUMBERS:
        raise ModelError(f"model.precision: expected one of {', '.join(_NUMBERS)}, got {precision!r}")
    if precision == "fp16" and torch.device(device).type == "cpu":
        raise ModelError(
            "model.precision: expected fp32 or auto where the networks run on the processor, got fp16: set it to auto, "
            "or model.device to cuda"
        )
    return Mode(_NUMBERS[precision], graphs)


def placed(network: nn.Module, device: str, mode: Mode, *, sizes: Sequence[int] = ()) -> Network:
    """The network moved to its device, for evaluation: it takes and gives float32, whatever it computes in.

    ``sizes`` are the batch sizes that recordings are made for, where the mode wants them and the device has them.
    """
    inner = network.eval().to(device=device, dtype=mode.numbers)

    def call(batch: Tensor) -> Tensor:
        result: Tensor = inner(batch.to(mode.numbers))
        return result.float()

    is_recorded = mode.graphs and len(sizes) > 0 and torch.device(device).type == "cuda"
    return Replayed(call, sizes) if is_recorded else call
