"""The cosine classifier: owns one direction per person, and takes any margin."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance.errors import UsageError
from lab.losses.angles import widened

INITIAL_DEVIATION = 0.01


class Margin(nn.Module, ABC):
    """Makes classification harder for the own class. Pure but for what a subclass says it keeps or draws."""

    @abstractmethod
    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """Logits (N, C), float32 for half precision.

        Args:
            cosines: (N, C) in [-1, 1], float.
            labels: (N,) int64 columns; -1 where the class is not among the columns, and nothing is changed.
            norms: (N,) lengths of the embeddings.
        """


class CosineClassifier(nn.Module):
    """Cross-entropy over the margin's logits of the cosines to the class directions W (C, D).

    The full classifier: every class is a column at every step. A sampled one hands the margin the columns that it drew
    and the labels renumbered to them, -1 for a class that it does not hold.
    """

    def __init__(self, margin: Margin, *, dimension: int, classes: int) -> None:
        super().__init__()
        self.margin = margin
        self.weight = nn.Parameter(torch.randn(classes, dimension) * INITIAL_DEVIATION)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Unnormalised embeddings (N, D), labels (N,) -> mean loss, a scalar."""
        return functional.cross_entropy(self.logits(embeddings, labels), labels)

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D), (N,) -> the margin's logits (N, C)."""
        require_embeddings(embeddings, dimension=self.weight.shape[1])
        norms = torch.linalg.vector_norm(widened(embeddings), dim=1)
        logits: Tensor = self.margin(cosines_to(embeddings, self.weight), labels, norms)
        return logits


def cosines_to(embeddings: Tensor, directions: Tensor) -> Tensor:
    """Cosines (N, C) of embeddings (N, D) and directions (C, D), neither of unit length, within [-1, 1].

    The lengths are taken in float32. Under autocast the product is of half precision.
    """
    unit = functional.normalize(widened(embeddings), dim=1)
    return functional.linear(unit, functional.normalize(widened(directions), dim=1)).clamp(-1.0, 1.0)


def require_embeddings(embeddings: Tensor, *, dimension: int) -> None:
    """Refuse what is not (N, D).

    Raises:
        UsageError: another shape.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension:
        raise UsageError(
            f"expected embeddings of shape (N, {dimension}), got {tuple(embeddings.shape)}: "
            "give the loss the dimension of the network"
        )
