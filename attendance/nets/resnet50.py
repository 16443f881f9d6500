"""ResNet-50 (He et al. 2015, stride in the 3x3 convolution) that ends in a 512-D embedding, for 112x112 faces."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

INPUT_PX = 112
DIMENSION = 512

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        channels_out = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, 4 width, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet50(nn.Module):
    """Normalised faces (N, 3, 112, 112) to unit vectors (N, 512). Keys are those of torchvision's ``resnet50``."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(64, 64, blocks=3, stride=1)
        self.layer2 = _layer(256, 128, blocks=4, stride=2)
        self.layer3 = _layer(512, 256, blocks=6, stride=2)
        self.layer4 = _layer(1024, 512, blocks=3, stride=2)
        self.fc = nn.Linear(2048, dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, 112, 112) -> (N, D) of unit length."""
        return functional.normalize(self.embedding(x), dim=1)

    def embedding(self, x: Tensor) -> Tensor:
        """Float (N, 3, 112, 112) -> (N, D) of any length, as losses take it."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        embedding: Tensor = self.fc(x.mean(dim=(2, 3)))
        return embedding


def _layer(channels_in: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels_in, width, stride=stride)
    rest = (Bottleneck(width * _EXPANSION, width, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
