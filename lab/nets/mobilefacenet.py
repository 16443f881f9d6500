"""MobileFaceNet: the first network made for faces on a phone."""

from __future__ import annotations

from torch import Tensor, nn

from lab.nets.bottleneck import STRIDE, Row, activated, bottlenecks, convolution, initialise

DIMENSION = 128
ROWS = (Row(2, 64, 5, 2), Row(4, 128, 1, 2), Row(2, 128, 6, 1), Row(4, 128, 1, 2), Row(2, 128, 2, 1))
LAST = 512


class MobileFaceNet(nn.Module):
    """Chen et al. 2018, table 1: bottlenecks, then a weight for each of 7x7 positions (GDConv) in place of a mean."""

    def __init__(self, *, dimension: int = DIMENSION, input_px: int = 112) -> None:
        super().__init__()
        self.stem = nn.Sequential(activated(3, 64, 3, stride=2, padding=1), activated(64, 64, 3, groups=64, padding=1))
        self.body = bottlenecks(64, ROWS)
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
