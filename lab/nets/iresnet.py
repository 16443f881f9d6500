"""IResNet: the improved residual network that ArcFace's authors train, for 112x112 faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DIMENSION = 512
WIDTHS = (64, 128, 256, 512)
STRIDE = 16
"""A face of 112 pixels has 7x7 positions at the end."""

DEPTHS = {34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


class Block(nn.Module):
    """BN, 3x3 convolution, BN, PReLU, 3x3 convolution with the stride, BN, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = nn.PReLU(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return torch.add(self.bn3(self.conv2(y)), shortcut)


class IResNet(nn.Module):
    """ArcFace's residual network (Deng et al. 2018, section 3.1; blocks of Han et al. 2017) with the head BN, FC, BN.

    Keys are those of InsightFace's PyTorch checkpoints (``features`` is the last BN, whose weight stays at 1). For
    small experiments ``width`` multiplies all channels and ``most_blocks`` bounds the blocks of a stage.
    """

    def __init__(
        self,
        layers: int = 50,
        *,
        dimension: int = DIMENSION,
        input_px: int = 112,
        width: float = 1.0,
        most_blocks: int | None = None,
    ) -> None:
        super().__init__()
        widths = [round(width * channels) for channels in WIDTHS]
        depths = [blocks if most_blocks is None else min(blocks, most_blocks) for blocks in DEPTHS[layers]]
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        inputs = (widths[0], *widths)
        stages = [_stage(inputs[i], widths[i], blocks=blocks) for i, blocks in enumerate(depths)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * (input_px // STRIDE) ** 2, dimension)
        self.features = nn.BatchNorm1d(dimension)
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, input_px, input_px) -> (N, D) of any length."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        embeddings: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embeddings


def _stage(channels_in: int, channels_out: int, *, blocks: int) -> nn.Sequential:
    first = Block(channels_in, channels_out, stride=2)
    return nn.Sequential(first, *(Block(channels_out, channels_out, stride=1) for _ in range(blocks - 1)))
