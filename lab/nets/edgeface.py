"""EdgeFace: EdgeNeXt whose linear layers are products of two thin ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DIMENSION = 512
KERNELS = (3, 5, 7, 9)
SPLITS = (2, 2, 3, 4)
"""Channel groups of a stage's attention block; all but the last go through a depthwise convolution."""
EXPANSION = 4
EPSILON = 1e-6
POSITION_CHANNELS = 32
TEMPERATURE = 10_000.0


@dataclass(frozen=True, slots=True)
class Size:
    """One size: channels and blocks of the four stages, heads, and the rank's share gamma; 1 is plain linear layers."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: int
    gamma: float


SIZES = {
    "xxs": Size((24, 48, 88, 168), (2, 2, 6, 2), 4, 1.0),
    "xs": Size((32, 64, 100, 192), (3, 3, 9, 3), 4, 0.6),
    "s": Size((48, 96, 160, 304), (3, 3, 9, 3), 8, 0.5),
    "base": Size((80, 160, 288, 584), (3, 3, 9, 3), 8, 1.0),
}


class LoRaLin(nn.Module):
    """y = W2 (W1 x) + b with rank max(2, floor(gamma min(in, out))); George et al. 2023, equation 2."""

    def __init__(self, features_in: int, features_out: int, *, gamma: float) -> None:
        super().__init__()
        rank = max(2, int(min(features_in, features_out) * gamma))
        self.linear1 = nn.Linear(features_in, rank, bias=False)
        self.linear2 = nn.Linear(rank, features_out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y: Tensor = self.linear2(self.linear1(x))
        return y


def linear(features_in: int, features_out: int, *, gamma: float) -> nn.Module:
    """A linear layer of that rank; a plain one at gamma 1, where two would be the larger."""
    if gamma == 1.0:
        return nn.Linear(features_in, features_out)
    return LoRaLin(features_in, features_out, gamma=gamma)


class Perceptron(nn.Module):
    """Linear to 4 C, GELU, linear to C."""

    def __init__(self, channels: int, *, gamma: float) -> None:
        super().__init__()
        self.fc1 = linear(channels, EXPANSION * channels, gamma=gamma)
        self.fc2 = linear(EXPANSION * channels, channels, gamma=gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class ConvBlock(nn.Module):
    """Depthwise convolution and a perceptron over channels, beside a shortcut."""

    def __init__(self, channels: int, *, kernel: int, gamma: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = Perceptron(channels, gamma=gamma)
        self.gamma = nn.Parameter(torch.full((channels,), EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y = self.conv_dw(x).permute(0, 2, 3, 1)
        y = self.gamma * self.mlp(self.norm(y))
        return torch.add(x, y.permute(0, 3, 1, 2))


class CrossCovarianceAttention(nn.Module):
    """Attention between channels, linear in the positions (El-Nouby et al. 2021, section 3.2)."""

    def __init__(self, channels: int, *, heads: int, gamma: float) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = linear(channels, 3 * channels, gamma=gamma)
        self.proj = linear(channels, channels, gamma=gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, P, C) -> (N, P, C) for P positions."""
        samples, positions, channels = x.shape
        parts = self.qkv(x).reshape(samples, positions, 3, self.heads, channels // self.heads)
        q, k, v = parts.permute(2, 0, 3, 4, 1).unbind(0)  # each (N, heads, C / heads, P)
        likeness = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        mixed = (likeness * self.temperature).softmax(dim=-1) @ v
        y: Tensor = self.proj(mixed.permute(0, 3, 1, 2).reshape(samples, positions, channels))
        return y


class PositionEncoding(nn.Module):
    """Sines and cosines of both coordinates, brought to C channels by a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * POSITION_CHANNELS, channels, 1)

    def forward(self, height: int, width: int) -> Tensor:
        """(1, C, height, width)."""
        weight = self.token_projection.weight
        y = _waves(height, weight).T[:, :, None].expand(-1, -1, width)
        x = _waves(width, weight).T[:, None, :].expand(-1, height, -1)
        encoding: Tensor = self.token_projection(torch.cat((y, x))[None].to(weight.dtype))
        return encoding


def _waves(length: int, like: Tensor) -> Tensor:
    steps = torch.arange(1, length + 1, device=like.device, dtype=torch.float32)
    turns = steps / (length + EPSILON) * (2.0 * math.pi)
    exponents = torch.arange(0, POSITION_CHANNELS, 2, device=like.device, dtype=torch.float32) / POSITION_CHANNELS
    angles = turns[:, None] / TEMPERATURE**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)


class SplitTransposeBlock(nn.Module):
    """EdgeNeXt's attention block (Maaz et al. 2022): split depthwise convolutions, attention, perceptron."""

    def __init__(self, channels: int, *, splits: int, heads: int, gamma: float, positions: bool) -> None:
        super().__init__()
        width = math.ceil(channels / splits)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(splits - 1))
        self.pos_embd = PositionEncoding(channels) if positions else None
        self.norm_xca = nn.LayerNorm(channels, eps=EPSILON)
        self.gamma_xca = nn.Parameter(torch.full((channels,), EPSILON))
        self.xca = CrossCovarianceAttention(channels, heads=heads, gamma=gamma)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = Perceptron(channels, gamma=gamma)
        self.gamma = nn.Parameter(torch.full((channels,), EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[2:]
        y = self._convolve(x).flatten(2).transpose(1, 2)
        if self.pos_embd is not None:
            y = y + self.pos_embd(height, width).flatten(2).transpose(1, 2)
        y = y + self.gamma_xca * self.xca(self.norm_xca(y))
        y = self.gamma * self.mlp(self.norm(y))
        return torch.add(x, y.transpose(1, 2).unflatten(2, (height, width)))

    def _convolve(self, x: Tensor) -> Tensor:
        """Each group but the last is convolved, the result of the one before added to it first."""
        groups = x.chunk(len(self.convs) + 1, dim=1)
        outputs: list[Tensor] = []
        for group, convolve in zip(groups, self.convs, strict=False):
            outputs.append(convolve(group if not outputs else outputs[-1] + group))
        return torch.cat((*outputs, groups[-1]), dim=1)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """A halving, convolution blocks, and one attention block at the end of all stages but the first."""

    def __init__(self, index: int, size: Size) -> None:
        super().__init__()
        channels, depth = size.widths[index], size.depths[index]
        self.downsample: nn.Module = nn.Identity()
        if index > 0:
            before = size.widths[index - 1]
            self.downsample = nn.Sequential(ChannelNorm(before, eps=EPSILON), nn.Conv2d(before, channels, 2, stride=2))
        attention = min(index, 1)
        blocks: list[nn.Module] = [
            ConvBlock(channels, kernel=KERNELS[index], gamma=size.gamma) for _ in range(depth - attention)
        ]
        if attention:
            blocks.append(
                SplitTransposeBlock(
                    channels, splits=SPLITS[index], heads=size.heads, gamma=size.gamma, positions=index == 1
                )
            )
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        y: Tensor = self.blocks(self.downsample(x))
        return y


class Head(nn.Module):
    """Mean over positions, LayerNorm, linear layer to the embedding."""

    def __init__(self, channels: int, dimension: int, *, gamma: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.fc = linear(channels, dimension, gamma=gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        y: Tensor = self.fc(self.norm(x.mean(dim=(2, 3))))
        return y


class EdgeNeXt(nn.Module):
    """EdgeNeXt (Maaz et al. 2022) with low-rank linear layers, ending in an embedding."""

    def __init__(self, size: Size, *, dimension: int) -> None:
        super().__init__()
        first = size.widths[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, 4, stride=4), ChannelNorm(first, eps=EPSILON))
        self.stages = nn.Sequential(*(Stage(index, size) for index in range(4)))
        self.head = Head(size.widths[-1], dimension, gamma=size.gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        y: Tensor = self.head(self.stages(self.stem(x)))
        return y


class EdgeFace(nn.Module):
    """EdgeFace (George et al. 2023). ``size`` is a key of `SIZES`; ``gamma`` replaces the size's own.

    The keys are those of the published checkpoints: the network is ``model``. The embedding layer has a low rank too.
    """

    def __init__(self, size: str = "xs", *, dimension: int = DIMENSION, gamma: float | None = None) -> None:
        super().__init__()
        chosen = SIZES[size]
        if gamma is not None:
            chosen = Size(chosen.widths, chosen.depths, chosen.heads, gamma)
        self.model = EdgeNeXt(chosen, dimension=dimension)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> (N, D) of any length; 112x112 in the paper."""
        embeddings: Tensor = self.model(x)
        return embeddings
