"""AirFace: MobileFaceNet made deeper and wider, with attention in every bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.nets.bottleneck import STRIDE, Row, activated, bottlenecks, convolution, initialise

DIMENSION = 512
ROWS = (
    Row(2, 64, 1, 2),
    Row(2, 64, 9, 1),
    Row(4, 128, 1, 2),
    Row(2, 128, 16, 1),
    Row(8, 256, 1, 2),
    Row(2, 256, 6, 1),
)
LAST = 1024
REDUCTION = 16
WINDOW = 7


class Cbam(nn.Module):
    """CBAM (Woo et al. 2018) whose gates end in 1 + tanh, in (0, 2), in place of a sigmoid.

    Both gates end so: the one over channels (a shared two-layer network on the mean and the maximum over positions) and
    the one over positions (a 7x7 convolution on the mean and the maximum over channels). The paper's "last activation
    function in the attention module" names neither; with 1 + tanh a gate whose weights are near zero passes its input
    on unchanged, and one sigmoid left in would halve it in each of the 34 bottlenecks.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // REDUCTION
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.position = nn.Sequential(nn.Conv2d(2, 1, WINDOW, padding=WINDOW // 2, bias=False), nn.BatchNorm2d(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        over_positions = self.channel(x.mean(dim=(2, 3))) + self.channel(x.amax(dim=(2, 3)))
        x = x * (1.0 + torch.tanh(over_positions))[:, :, None, None]
        over_channels = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
        return x * (1.0 + torch.tanh(self.position(over_channels)))


class AirFace(nn.Module):
    """Li et al. 2019, table 1."""

    def __init__(self, *, dimension: int = DIMENSION, input_px: int = 112) -> None:
        super().__init__()
        self.stem = nn.Sequential(activated(3, 64, 3, stride=2, padding=1), activated(64, 64, 3, groups=64, padding=1))
        self.body = bottlenecks(64, ROWS, attention=Cbam)
        self.head = nn.Sequential(
            activated(ROWS[-1].channels, LAST, 1),
            *convolution(LAST, LAST, input_px // STRIDE, groups=LAST),
            *convolution(LAST, dimension, 1),
            nn.Flatten(),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, input_px, input_px) -> (N, D) of any length."""
        embeddings: Tensor = self.head(self.body(self.stem(x)))
        return embeddings
