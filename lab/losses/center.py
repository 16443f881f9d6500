"""Center loss: softmax, plus the squared distance to the moving centre of the own class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.losses.angles import widened
from lab.losses.softmax import Softmax


class CenterLoss(nn.Module):
    """L = L_softmax + lambda / 2 * mean_i |x_i - c_yi|^2; Wen et al. 2016, equation 5, both terms divided by N.

    The centres are no weights: in training, each moves by equation 4, c_j <- c_j + rate * sum_{y_i = j} (x_i - c_j) /
    (1 + the class's samples in the batch), after the loss was taken. They are a buffer: a checkpoint holds them.
    """

    centers: Tensor

    def __init__(self, *, dimension: int, classes: int, weight: float = 0.003, rate: float = 0.5) -> None:
        super().__init__()
        self.softmax = Softmax(dimension=dimension, classes=classes)
        self.weight, self.rate = weight, rate
        self.register_buffer("centers", torch.zeros(classes, dimension))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Unnormalised embeddings (N, D), labels (N,) -> mean loss, a scalar."""
        loss: Tensor = self.softmax(embeddings, labels)
        away = widened(embeddings) - self.centers[labels]
        if self.training:
            self._follow(away.detach(), labels)
        return loss + 0.5 * self.weight * away.square().sum(dim=1).mean()

    def _follow(self, away: Tensor, labels: Tensor) -> None:
        away = away.to(self.centers.dtype)
        samples = torch.zeros_like(self.centers[:, 0]).index_add(0, labels, torch.ones_like(away[:, 0]))
        steps = torch.zeros_like(self.centers).index_add(0, labels, away)
        self.centers.add_(self.rate * steps / (1.0 + samples)[:, None])
