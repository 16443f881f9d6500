"""AdaFace: a margin that follows the length of the embedding, taken as the quality of the photo."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab.losses.angles import angle, replace_target, target_of, widened
from lab.losses.classifier import Margin

SHORTEST, LONGEST = 1e-3, 100.0
"""Lengths are clipped to this range, so that one broken sample does not move the statistics."""
EDGE_RAD = 1e-3
"""The moved angle stays this far inside [0, pi]."""


def adaface(cosines: Tensor, labels: Tensor, quality: Tensor, *, scale: float, margin: float) -> Tensor:
    """Own class s (cos(theta + g_angle) - g_add), others s cos(theta_j): (N, C), (N,), (N,) -> (N, C).

    g_angle = -m z and g_add = m z + m (Kim et al. 2022, section 3), with z in [-1, 1] the `quality`: at
    z = -1 ArcFace's margin, at 0 CosFace's, at 1 a negative angle and twice CosFace's.
    """
    moved = (angle(target_of(cosines, labels)) - margin * quality).clamp(EDGE_RAD, math.pi - EDGE_RAD)
    return scale * replace_target(cosines, labels, torch.cos(moved) - margin - margin * quality)


def quality_of(norms: Tensor, mean: Tensor, deviation: Tensor, *, concentration: float) -> Tensor:
    """z = (|x| - mean) h / deviation, cut at -1 and 1: (N,) -> (N,), without a gradient."""
    clipped = widened(norms.detach()).clamp(SHORTEST, LONGEST)
    return ((clipped - mean) / (deviation + SHORTEST) * concentration).clamp(-1.0, 1.0)


class AdaFace(Margin):
    """`adaface` with its numbers, and running statistics of the lengths, which move in training only.

    The statistics move before they are used: mean <- a batch mean + (1 - a) mean, with a the ``momentum``. They are
    buffers: a checkpoint holds them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, *, scale: float = 64.0, margin: float = 0.4, concentration: float = 0.333, momentum: float = 0.01
    ) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.concentration, self.momentum = concentration, momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `adaface`."""
        if self.training:
            self._follow(norms.detach())
        quality = quality_of(norms, self.mean, self.deviation, concentration=self.concentration)
        return adaface(cosines, labels, quality, scale=self.scale, margin=self.margin)

    def _follow(self, norms: Tensor) -> None:
        if len(norms) < 2:
            return  # one sample has no deviation
        clipped = widened(norms).clamp(SHORTEST, LONGEST)
        self.mean.lerp_(clipped.mean().to(self.mean.dtype), self.momentum)
        self.deviation.lerp_(clipped.std().to(self.deviation.dtype), self.momentum)
