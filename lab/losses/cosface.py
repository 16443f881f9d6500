"""CosFace: the own class's cosine minus a margin."""

from __future__ import annotations

from torch import Tensor

from lab.losses.angles import replace_target, target_of
from lab.losses.classifier import Margin


def cosface(cosines: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Own class s (cos(theta) - m), others s cos(theta_j): (N, C), (N,) -> (N, C).

    CosFace (Wang et al. 2018), equation 4.
    """
    return scale * replace_target(cosines, labels, target_of(cosines, labels) - margin)


class CosFace(Margin):
    """`cosface` with its numbers."""

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `cosface`."""
        return cosface(cosines, labels, scale=self.scale, margin=self.margin)
