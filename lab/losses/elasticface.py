"""ElasticFace: a margin drawn anew for every sample, on the angle (Arc) or on the cosine (Cos)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from lab.losses.angles import angle, replace_target, target_of, widened
from lab.losses.classifier import Margin

Draw = Literal["gaussian", "uniform"]


def elasticface_arc(cosines: Tensor, labels: Tensor, margins: Tensor, *, scale: float) -> Tensor:
    """Own class s cos(theta + m_i), others s cos(theta_j): (N, C), (N,), margins (N,) -> (N, C).

    ElasticFace-Arc of Boutros et al. 2022.
    """
    return scale * replace_target(cosines, labels, torch.cos(angle(target_of(cosines, labels)) + margins))


def elasticface_cos(cosines: Tensor, labels: Tensor, margins: Tensor, *, scale: float) -> Tensor:
    """Own class s (cos(theta) - m_i), others s cos(theta_j): (N, C), (N,), margins (N,) -> (N, C).

    ElasticFace-Cos of Boutros et al. 2022.
    """
    return scale * replace_target(cosines, labels, target_of(cosines, labels) - margins)


def draw_margins(like: Tensor, *, mean: float, deviation: float, draw: Draw) -> Tensor:
    """One margin for each entry of `like` (N,), from torch's generator of its device, which a checkpoint can keep.

    ``uniform`` has the same mean and deviation: it reaches sqrt(3) deviations to either side.
    """
    if draw == "gaussian":
        return mean + deviation * torch.randn_like(like)
    return mean + deviation * math.sqrt(3.0) * (2.0 * torch.rand_like(like) - 1.0)


def hardest_first(margins: Tensor, target: Tensor) -> Tensor:
    """The same margins (N,), the largest for the lowest target cosine (N,) and so on: the sorted variant.

    The published code indexes the sorted margins with the order of the cosines, where the rank is meant; here each
    sample has the margin of its rank, as the paper describes.
    """
    order = target.argsort()
    return torch.empty_like(margins).scatter(0, order, margins.sort(descending=True).values)


class ElasticFace(Margin):
    """`elasticface_arc` or `elasticface_cos` with their numbers. Out of training the margin is the mean for all."""

    def __init__(
        self,
        kind: Literal["arc", "cos"],
        *,
        scale: float = 64.0,
        mean: float = 0.5,
        deviation: float = 0.05,
        draw: Draw = "gaussian",
        ordered: bool = False,
    ) -> None:
        super().__init__()
        self.kind, self.scale, self.mean, self.deviation, self.ordered = kind, scale, mean, deviation, ordered
        self.draw: Draw = draw

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `elasticface_arc` and `elasticface_cos`."""
        act = elasticface_arc if self.kind == "arc" else elasticface_cos
        return act(cosines, labels, self._margins(cosines, labels), scale=self.scale)

    def _margins(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = widened(target_of(cosines.detach(), labels))
        if not self.training:
            return torch.full_like(target, self.mean)
        margins = draw_margins(target, mean=self.mean, deviation=self.deviation, draw=self.draw)
        return hardest_first(margins, target) if self.ordered else margins
