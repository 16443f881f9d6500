"""Softmax: a plain linear classifier with bias, on embeddings as they are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from lab.losses.angles import widened
from lab.losses.classifier import require_embeddings


class Softmax(nn.Module):
    """L1 = -1/N sum_i log(exp(W_yi x_i + b_yi) / sum_j exp(W_j x_i + b_j)); AirFace (Li et al. 2019), equation 1."""

    def __init__(self, *, dimension: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Unnormalised embeddings (N, D), labels (N,) -> mean loss, a scalar."""
        require_embeddings(embeddings, dimension=self.linear.in_features)
        return functional.cross_entropy(widened(self.linear(widened(embeddings))), labels)
