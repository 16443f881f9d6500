"""ArcFace: the own class's angle plus a margin; three ways to go on beyond theta = pi - m."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from lab.losses.angles import angle, replace_target, target_of
from lab.losses.classifier import Margin

Beyond = Literal["plain", "safe", "easy"]


def arcface(cosines: Tensor, labels: Tensor, *, scale: float, margin: float, beyond: Beyond = "plain") -> Tensor:
    """Own class s f(theta), others s cos(theta_j): (N, C), (N,) -> (N, C).

    ``plain``: f = cos(theta + m) everywhere (Deng et al. 2018, equation 3). It rises again beyond theta = pi - m.

    ``safe``: f = cos(theta) - m sin(pi - m) where theta >= pi - m. At theta = pi - m the logit falls from -s to
    -s (cos m + m sin m), by s (cos m + m sin m - 1): 0.1173 s at m = 0.5. It is falling over all of [0, pi].

    ``easy``: f = cos(theta) where theta >= pi / 2: no margin for a sample that is on the wrong side. There the logit
    rises from -s sin(m) to 0.
    """
    target = target_of(cosines, labels)
    moved = torch.cos(angle(target) + margin)
    if beyond == "safe":
        moved = torch.where(target > math.cos(math.pi - margin), moved, target - margin * math.sin(math.pi - margin))
    elif beyond == "easy":
        moved = torch.where(target > 0.0, moved, target)
    return scale * replace_target(cosines, labels, moved)


class ArcFace(Margin):
    """`arcface` with its numbers."""

    def __init__(self, *, scale: float = 64.0, margin: float = 0.5, beyond: Beyond = "plain") -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.beyond: Beyond = beyond

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `arcface`."""
        return arcface(cosines, labels, scale=self.scale, margin=self.margin, beyond=self.beyond)
