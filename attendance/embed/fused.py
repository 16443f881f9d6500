"""dlib's ResNet on a processor with each convolution, its addition and its ReLU in one operation of oneDNN.

The operations are those that torch's compiler emits, called without the compiler's minutes; weights are brought into
oneDNN's own order once. They are no public interface of torch, so `fused` tries them and returns the plain network
where they are missing, fail or differ.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29, pad_to

logger = logging.getLogger(__name__)

PACKED_FOR = 2
"""Faces at once that the weights are ordered for: a face and its mirror image. Any other number works as well."""

MOST_DIFFERENCE = 1e-3


def fused(network: nn.Module) -> nn.Module:
    """The network with fused operations where it is dlib's and torch can; else the network itself."""
    if not isinstance(network, DlibResNet29):
        return network
    probe = torch.linspace(-1.0, 1.0, PACKED_FOR * 3 * INPUT_PX**2).reshape(PACKED_FOR, 3, INPUT_PX, INPUT_PX)
    try:
        with torch.inference_mode():
            quick = FusedDlibResNet29(network)
            same = torch.allclose(quick(probe), network(probe), atol=MOST_DIFFERENCE)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        logger.info("this torch has no fused convolutions, the embedder runs without: %s", error)
        return network
    if not same:
        logger.warning("torch's fused convolutions give other numbers here, the embedder runs without")
    return quick if same else network


class FusedDlibResNet29(nn.Module):
    """Results equal those of `DlibResNet29` up to rounding. For inference on a processor alone."""

    def __init__(self, network: DlibResNet29) -> None:
        super().__init__()
        self._fc = network.fc
        x = torch.zeros(PACKED_FOR, 3, INPUT_PX, INPUT_PX).contiguous(memory_format=torch.channels_last)
        self._stem = _Convolution(network.stem, x)
        x = functional.max_pool2d(network.stem(x), 3, stride=2)
        self._blocks: list[tuple[_Convolution, _Convolution, bool]] = []
        for block in network.blocks:
            first, between = _Convolution(block.conv1, x), block.conv1(x)  # type: ignore[arg-type, operator]
            self._blocks.append((first, _Convolution(block.conv2, between), bool(block.down)))  # type: ignore[arg-type]
            x = block(x)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, 150, 150) -> (N, 128)."""
        x = functional.max_pool2d(self._stem(x.contiguous(memory_format=torch.channels_last), "relu"), 3, stride=2)
        for first, second, down in self._blocks:
            y = first(x, "relu")
            if down:
                y, x = second(y, "none"), functional.avg_pool2d(x, 2)
                y = pad_to(y, x)
                x = functional.relu_(y + pad_to(x, y))
            else:
                x = second.added(y, x)
        out: Tensor = self._fc(torch.mean(x, dim=(2, 3)))
        return out


class _Convolution:
    """A convolution with what follows it; its weight ordered for inputs like ``example``."""

    def __init__(self, convolution: nn.Conv2d, example: Tensor) -> None:
        operations: Any = torch.ops.mkldnn
        self._plain = operations._convolution_pointwise
        self._binary = operations._convolution_pointwise.binary
        padding, stride = [int(p) for p in convolution.padding], list(convolution.stride)
        weight = convolution.weight.detach()
        ordered = operations._reorder_convolution_weight(weight, padding, stride, [1, 1], 1, list(example.shape))
        self._arguments = (ordered, convolution.bias, padding, stride, [1, 1], 1)

    def __call__(self, x: Tensor, then: str) -> Tensor:
        """Convolved, ``then`` "relu" or "none"."""
        found: Tensor = self._plain(x, *self._arguments, then, [], None)
        return found

    def added(self, x: Tensor, other: Tensor) -> Tensor:
        """Convolved, ``other`` added, ReLU."""
        found: Tensor = self._binary(x, other, *self._arguments, "add", 1.0, "relu", [], None)
        return found
