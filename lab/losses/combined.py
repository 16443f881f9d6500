"""CombinedMargin: SphereFace's, ArcFace's and CosFace's margins at once."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.losses.angles import angle, replace_target, target_of
from lab.losses.classifier import Margin


def combined(cosines: Tensor, labels: Tensor, *, scale: float, margins: tuple[float, float, float]) -> Tensor:
    """Own class s (cos(m1 theta + m2) - m3), others s cos(theta_j): (N, C), (N,) -> (N, C).

    ArcFace (Deng et al. 2018), equation 4. As written: it rises again where m1 theta + m2 exceeds pi.
    """
    multiplied, added, subtracted = margins
    moved = torch.cos(multiplied * angle(target_of(cosines, labels)) + added) - subtracted
    return scale * replace_target(cosines, labels, moved)


class CombinedMargin(Margin):
    """`combined` with its numbers: (1, 0.3, 0.2) is the paper's best mixture."""

    def __init__(self, *, scale: float = 64.0, margins: tuple[float, float, float] = (1.0, 0.3, 0.2)) -> None:
        super().__init__()
        self.scale, self.margins = scale, margins

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `combined`."""
        return combined(cosines, labels, scale=self.scale, margins=self.margins)
