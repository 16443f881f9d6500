"""The running mean of a network's weights, which is judged and kept in place of the last ones."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class Ema:
    """m <- decay m + (1 - decay) w after every step, of weights and of batch norms' statistics alike."""

    def __init__(self, net: nn.Module, *, decay: float) -> None:
        self.net = deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, net: nn.Module) -> None:
        """Take one step towards the network's present weights; counts are copied."""
        means, values = _tensors(self.net), _tensors(net)
        moving = [(mean, value) for mean, value in zip(means, values, strict=True) if mean.is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in moving], [value for _, value in moving], 1.0 - self.decay)
        for mean, value in zip(means, values, strict=True):
            if not mean.is_floating_point():
                mean.copy_(value)


def _tensors(net: nn.Module) -> list[Tensor]:
    return list(net.state_dict().values())
