"""dlib's face-recognition ResNet with 29 convolutions, its affine layers folded into them.

The network of dlib's ``dnn_face_recognition_ex.cpp`` (after He et al. 2015): 5,607,488 parameters, 270.9 million
multiply-adds for a face.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_PX = 150
DIMENSION = 128

BLOCKS = (
    *((32, 32, False),) * 3,
    (32, 64, True),
    *((64, 64, False),) * 3,
    (64, 128, True),
    *((128, 128, False),) * 2,
    (128, 256, True),
    *((256, 256, False),) * 2,
    (256, 256, True),
)
"""Channels in, channels out, and whether it downsamples, of each residual block from input to output."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a downsampling block halves both."""

    def __init__(self, channels_in: int, channels_out: int, *, down: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if down else (1, 1)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=padding)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        y = self.conv2(functional.relu_(self.conv1(x)))
        if self.down:
            x = functional.avg_pool2d(x, 2)
            y = pad_to(y, x)
            x = pad_to(x, y)
        return functional.relu_(y + x)


class DlibResNet29(nn.Module):
    """Normalised faces (N, 3, 150, 150), RGB, to vectors (N, 128), which are not of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o, down=down) for i, o, down in BLOCKS))
        self.fc = nn.Linear(256, DIMENSION, bias=False)

    def convolutions(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """The 29 convolutions with their names, from input to output."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                yield name, module

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, 150, 150) -> (N, 128)."""
        x = functional.max_pool2d(functional.relu_(self.stem(x)), 3, stride=2)
        x = self.blocks(x)
        out: Tensor = self.fc(torch.mean(x, dim=(2, 3)))
        return out


def pad_to(x: Tensor, other: Tensor) -> Tensor:
    """``x`` with zeros at the right, the bottom and the end of the channels, where ``other`` is larger."""
    channels, rows, columns = (max(o - s, 0) for s, o in zip(x.shape[1:], other.shape[1:], strict=True))
    if channels == rows == columns == 0:
        return x
    return functional.pad(x, (0, columns, 0, rows, 0, channels))
