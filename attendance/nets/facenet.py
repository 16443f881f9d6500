"""Inception-ResNet-v1 (Szegedy et al. 2016, scaled residuals) as FaceNet uses it, for 160x160 faces.

Keys are those of facenet-pytorch's checkpoints (``20180402-114759-vggface2.pt``); its classifier is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_PX = 160
DIMENSION = 512

_BATCH_NORM_EPS = 1e-3
"""TensorFlow's, with which the published weights were trained."""


class BasicConv2d(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        return functional.relu_(self.bn(self.conv(x)))


class ResidualInception(nn.Module):
    """Branches side by side, joined by a 1x1 convolution, scaled and added to the input."""

    def __init__(
        self, branches: tuple[nn.Module, ...], joined: int, channels: int, *, scale: float, relu: bool
    ) -> None:
        super().__init__()
        self.branch_names = tuple(f"branch{number}" for number in range(len(branches)))
        for name, branch in zip(self.branch_names, branches, strict=True):
            self.add_module(name, branch)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        mixed = torch.cat([self.get_submodule(name)(x) for name in self.branch_names], dim=1)
        y = torch.add(x, self.conv2d(mixed), alpha=self.scale)
        return functional.relu_(y) if self.relu else y


class Reduction(nn.Module):
    """Branches that halve the picture, the last one a max-pool, side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branch_names = tuple(f"branch{number}" for number in range(len(branches) + 1))
        for name, branch in zip(self.branch_names, (*branches, nn.MaxPool2d(3, stride=2)), strict=True):
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, sum of the branches' channels, H', W')."""
        return torch.cat([self.get_submodule(name)(x) for name in self.branch_names], dim=1)


def block35() -> ResidualInception:
    """The block of the 17x17 stage."""
    one = BasicConv2d(256, 32, kernel=1)
    two = nn.Sequential(BasicConv2d(256, 32, kernel=1), BasicConv2d(32, 32, kernel=3, padding=1))
    three = nn.Sequential(
        BasicConv2d(256, 32, kernel=1),
        BasicConv2d(32, 32, kernel=3, padding=1),
        BasicConv2d(32, 32, kernel=3, padding=1),
    )
    return ResidualInception((one, two, three), 96, 256, scale=0.17, relu=True)


def block17() -> ResidualInception:
    """The block of the 8x8 stage."""
    two = nn.Sequential(
        BasicConv2d(896, 128, kernel=1),
        BasicConv2d(128, 128, kernel=(1, 7), padding=(0, 3)),
        BasicConv2d(128, 128, kernel=(7, 1), padding=(3, 0)),
    )
    return ResidualInception((BasicConv2d(896, 128, kernel=1), two), 256, 896, scale=0.10, relu=True)


def block8(*, scale: float = 0.20, relu: bool = True) -> ResidualInception:
    """The block of the 3x3 stage."""
    two = nn.Sequential(
        BasicConv2d(1792, 192, kernel=1),
        BasicConv2d(192, 192, kernel=(1, 3), padding=(0, 1)),
        BasicConv2d(192, 192, kernel=(3, 1), padding=(1, 0)),
    )
    return ResidualInception((BasicConv2d(1792, 192, kernel=1), two), 384, 1792, scale=scale, relu=relu)


class InceptionResnetV1(nn.Module):
    """Normalised faces (N, 3, 160, 160) to unit vectors (N, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = BasicConv2d(3, 32, kernel=3, stride=2)
        self.conv2d_2a = BasicConv2d(32, 32, kernel=3)
        self.conv2d_2b = BasicConv2d(32, 64, kernel=3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = BasicConv2d(64, 80, kernel=1)
        self.conv2d_4a = BasicConv2d(80, 192, kernel=3)
        self.conv2d_4b = BasicConv2d(192, 256, kernel=3, stride=2)
        self.repeat_1 = nn.Sequential(*(block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            BasicConv2d(256, 384, kernel=3, stride=2),
            nn.Sequential(
                BasicConv2d(256, 192, kernel=1),
                BasicConv2d(192, 192, kernel=3, padding=1),
                BasicConv2d(192, 256, kernel=3, stride=2),
            ),
        )
        self.repeat_2 = nn.Sequential(*(block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            nn.Sequential(BasicConv2d(896, 256, kernel=1), BasicConv2d(256, 384, kernel=3, stride=2)),
            nn.Sequential(BasicConv2d(896, 256, kernel=1), BasicConv2d(256, 256, kernel=3, stride=2)),
            nn.Sequential(
                BasicConv2d(896, 256, kernel=1),
                BasicConv2d(256, 256, kernel=3, padding=1),
                BasicConv2d(256, 256, kernel=3, stride=2),
            ),
        )
        self.repeat_3 = nn.Sequential(*(block8() for _ in range(5)))
        self.block8 = block8(scale=1.0, relu=False)
        self.last_linear = nn.Linear(1792, DIMENSION, bias=False)
        self.last_bn = nn.BatchNorm1d(DIMENSION, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, 160, 160) -> (N, 512) of unit length."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        return functional.normalize(self.last_bn(self.last_linear(x.mean(dim=(2, 3)))), dim=1)
