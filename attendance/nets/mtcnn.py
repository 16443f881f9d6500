"""The three networks of the cascade: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", 2016, in the shape of the published PyTorch weights, whose parameter names they keep.

Input: float32 (N, 3, H, W), RGB, (value - 127.5) / 128. Output, all heads side by side: two logits (no face, face),
four box offsets as shares of the box's width and height (left, top, right, bottom) and, from ONet, ten points (five x,
then five y) as shares of the box. Probability is the softmax of the logits: the sigmoid of their difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PNet(nn.Module):
    """Proposals: slides a 12x12 window in steps of 2 over an image of any size of at least 12x12.

    (N, 3, H, W) -> (N, 6, ceil((H - 2) / 2) - 4, ceil((W - 2) / 2) - 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits and box offsets of every window."""
        x = self.pool1(self.prelu1(self.conv1(images)))
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return torch.cat((self.conv4_1(x), self.conv4_2(x)), dim=1)


class RNet(nn.Module):
    """Refinement of proposals: (N, 3, 24, 24) -> (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> Tensor:
        """Logits and box offsets of every crop."""
        x = self.pool1(self.prelu1(self.conv1(crops)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_columns_first(x)))
        return torch.cat((self.dense5_1(x), self.dense5_2(x)), dim=1)


class ONet(nn.Module):
    """Output: (N, 3, 48, 48) -> (N, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, crops: Tensor) -> Tensor:
        """Logits, box offsets and points of every crop."""
        x = self.pool1(self.prelu1(self.conv1(crops)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_columns_first(x)))
        return torch.cat((self.dense6_1(x), self.dense6_2(x), self.dense6_3(x)), dim=1)


def _columns_first(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, W * H * C): the order in which the published dense layers were trained."""
    return x.permute(0, 3, 2, 1).flatten(1)
