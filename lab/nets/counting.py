"""How large a network is, and how much it computes."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    """Learned numbers, buffers (running statistics) left out."""
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net: nn.Module, *, input_px: int) -> int:
    """Multiply-adds of convolutions, linear layers and matrix products for one image of that size.

    Normalisations, activations and additions are left out, as publications leave them out. A publication that counts a
    multiplication and an addition as two operations states twice this number.
    """
    was_training = net.training
    net.eval()
    try:
        weight = next(net.parameters())
        image = torch.zeros(1, 3, input_px, input_px, device=weight.device, dtype=weight.dtype)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(image)
    finally:
        net.train(was_training)
    return int(counter.get_total_flops()) // 2
