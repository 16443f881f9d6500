"""Li-ArcFace: logits that are linear in the angle."""

from __future__ import annotations

import math

from torch import Tensor

from lab.losses.angles import angle, replace_target, target_of
from lab.losses.classifier import Margin


def li_arcface(cosines: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Own class s (pi - 2 (theta + m)) / pi, others s (pi - 2 theta_j) / pi: (N, C), (N,) -> (N, C).

    AirFace (Li et al. 2019), equation 5. It falls over all of [0, pi], with the same slope everywhere.
    """
    linear = 1.0 - (2.0 / math.pi) * angle(cosines)
    return scale * replace_target(linear, labels, target_of(linear, labels) - 2.0 * margin / math.pi)


class LiArcFace(Margin):
    """`li_arcface` with its numbers: m = 0.4 is the paper's best."""

    def __init__(self, *, scale: float = 64.0, margin: float = 0.4) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `li_arcface`."""
        return li_arcface(cosines, labels, scale=self.scale, margin=self.margin)
