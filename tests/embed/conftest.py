"""Embedders of one tiny function, as a torch network and as an ONNX file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attendance.embed.card import ColourOrder, InputSpec, ModelCard, WeightFormat
from attendance.embed.onnx import OnnxEmbedder
from attendance.embed.port import Embedder
from attendance.embed.torch import TorchEmbedder
from attendance.types import Alignment, AlignmentKind, Float32
from tests.embed.onnx_file import channel_means

SIDE = 8
WEIGHTS: Float32 = np.array([[1, 0, 0, 2], [0, 1, 0, 1], [0, 0, 1, -1]], np.float32)


class ChannelMeans(nn.Module):
    """(N, 3, H, W) -> channel means @ weights."""

    def __init__(self, weights: Float32) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) @ self.weights


def card(data: bytes = b"", **changes: Any) -> ModelCard:
    """A card for the tiny function."""
    keys: dict[str, Any] = {
        "id": "tiny",
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": WeightFormat.ONNX,
        "network": "",
        "input": InputSpec(SIDE, ColourOrder.RGB, (10.0, 20.0, 30.0), (0.5, 0.25, 0.125)),
        "alignment": Alignment(AlignmentKind.BOX, SIDE),
        "dimension": 4,
        "metric": "cosine",
        "license": "none",
        "source": "these tests",
        "margin": 0.02,
        "thresholds": {1e-1: 0.5, 1e-2: 0.6},
    }
    return ModelCard(**(keys | changes))


def by_torch(model_card: ModelCard, weights: Float32) -> Embedder:
    return TorchEmbedder(model_card, ChannelMeans(weights), device="cpu")


def by_onnx(model_card: ModelCard, weights: Float32) -> Embedder:
    return OnnxEmbedder(model_card, channel_means(weights, side=SIDE), device="cpu", threads=1)


def by_onnx_of_three(model_card: ModelCard, weights: Float32) -> Embedder:
    return OnnxEmbedder(model_card, channel_means(weights, side=SIDE, batch=3), device="cpu", threads=1)


Make = Callable[[ModelCard, Float32], Embedder]


@pytest.fixture(params=[by_torch, by_onnx, by_onnx_of_three], ids=["torch", "onnx", "onnx-fixed-batch"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made
