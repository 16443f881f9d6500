"""The pieces that MobileFaceNet and AirFace are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

Attention = Callable[[int], nn.Module]

STRIDE = 16
"""A face of 112 pixels has 7x7 positions before the last, global convolution."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a network's table: expansion t, output channels c, repetitions n, stride s of the first."""

    expansion: int
    channels: int
    repeats: int
    stride: int


def convolution(
    channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Convolution without bias, and BN: what the papers call linear."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


def activated(
    channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1, padding: int = 0
) -> nn.Sequential:
    """Convolution, BN and PReLU."""
    layers = convolution(channels_in, channels_out, kernel, stride=stride, groups=groups, padding=padding)
    return nn.Sequential(*layers, nn.PReLU(channels_out))


class Bottleneck(nn.Module):
    """MobileNetV2's inverted residual (Sandler et al. 2018) with PReLU: 1x1 to t C_in, depthwise 3x3, linear 1x1.

    Attention acts on the result, before the shortcut is added; the shortcut is there where the shape stays.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, expansion: int, stride: int, attention: Attention | None = None
    ) -> None:
        super().__init__()
        width = channels_in * expansion
        self.layers = nn.Sequential(
            activated(channels_in, width, 1),
            activated(width, width, 3, stride=stride, groups=width, padding=1),
            *convolution(width, channels_out, 1),
        )
        self.attention = nn.Identity() if attention is None else attention(channels_out)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        y: Tensor = self.attention(self.layers(x))
        return x + y if self.shortcut else y


def bottlenecks(channels_in: int, rows: tuple[Row, ...], *, attention: Attention | None = None) -> nn.Sequential:
    """The rows of a table one after the other."""
    blocks: list[nn.Module] = []
    for row in rows:
        for index in range(row.repeats):
            stride = row.stride if index == 0 else 1
            blocks.append(
                Bottleneck(channels_in, row.channels, expansion=row.expansion, stride=stride, attention=attention)
            )
            channels_in = row.channels
    return nn.Sequential(*blocks)


def initialise(net: nn.Module) -> None:
    """He et al. 2015, for the convolutions' outputs."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
