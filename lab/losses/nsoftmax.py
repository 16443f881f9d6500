"""N-softmax: scaled cosines without a margin."""

from __future__ import annotations

from torch import Tensor

from lab.losses.angles import widened
from lab.losses.classifier import Margin


def nsoftmax(cosines: Tensor, *, scale: float) -> Tensor:
    """Logits s cos(theta_j), (N, C) -> (N, C); NormFace (Wang et al. 2017), AirFace (Li et al. 2019) equation 3."""
    return scale * widened(cosines)


class NSoftmax(Margin):
    """`nsoftmax` with its scale."""

    def __init__(self, *, scale: float = 64.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `nsoftmax`."""
        return nsoftmax(cosines, scale=self.scale)
