"""SphereFace: the own class's angle multiplied, made falling over all of [0, pi]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attendance.errors import UsageError
from lab.losses.angles import replace_target, target_of, widened
from lab.losses.classifier import Margin


def psi(cosines: Tensor, *, multiple: int) -> Tensor:
    """psi(theta) = (-1)^k cos(m theta) - 2k for theta in [k pi / m, (k + 1) pi / m], of cosines of any shape.

    cos(m theta) is the Chebyshev polynomial T_m(cos theta), whose gradient is finite everywhere.
    """
    before, now = torch.ones_like(cosines), cosines
    for _ in range(multiple - 1):
        before, now = now, 2.0 * cosines * now - before
    k = sum((cosines <= math.cos(j * math.pi / multiple)).to(cosines.dtype) for j in range(1, multiple))
    k = torch.as_tensor(k, dtype=cosines.dtype, device=cosines.device)
    return (1.0 - 2.0 * (k % 2.0)) * now - 2.0 * k


def sphereface(cosines: Tensor, labels: Tensor, norms: Tensor, *, multiple: int, blend: float) -> Tensor:
    """Own class |x| (b cos(theta) + psi(theta)) / (1 + b), others |x| cos(theta_j): (N, C), (N,), (N,) -> (N, C).

    SphereFace (Liu et al. 2017), equation 7 at b = 0; b > 0 is the annealing of its appendix. W is normalised, the
    embedding is not: its length is the scale, and has a gradient.
    """
    target = target_of(cosines, labels)
    moved = (blend * target + psi(target, multiple=multiple)) / (1.0 + blend)
    return widened(norms)[:, None] * replace_target(cosines, labels, moved)


class SphereFace(Margin):
    """`sphereface` with its numbers. ``blend`` is b: a loop that anneals lowers it, the paper's from 1000 to 5."""

    def __init__(self, *, multiple: int = 4, blend: float = 0.0) -> None:
        super().__init__()
        if multiple < 1:
            raise UsageError(f"expected a multiple of the angle from 1 upward, got {multiple}: the paper uses 4")
        self.multiple, self.blend = multiple, blend

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """See `sphereface`."""
        return sphereface(cosines, labels, norms, multiple=self.multiple, blend=self.blend)
