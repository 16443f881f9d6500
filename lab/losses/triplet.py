"""Triplet loss on squared distances of unit vectors, the triplets chosen within the batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab.losses.angles import widened

Mining = Literal["batch-hard", "semi-hard"]


def squared_distances(embeddings: Tensor) -> Tensor:
    """|f_i - f_j|^2 = 2 - 2 cos(theta_ij), in [0, 4], of unnormalised embeddings: (N, D) -> (N, N).

    In float32 under autocast too: the small distances are differences of nearly equal numbers.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = functional.normalize(widened(embeddings), dim=1)
        return (2.0 - 2.0 * (unit @ unit.T)).clamp(min=0.0)


def batch_hard(distances: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Mean over the anchors of max(0, farthest positive - nearest negative + m); Hermans et al. 2017, equation 5.

    An anchor without a positive or without a negative is left out; without any anchor the loss is 0.
    """
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distances.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(same, torch.inf).amin(dim=1)
    used = positive.any(dim=1) & (~same).any(dim=1)
    return _mean(torch.relu(farthest - nearest + margin), used)


def semi_hard(distances: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Mean over all pairs (anchor, positive) of max(0, d_ap - d_an + m); FaceNet (Schroff et al. 2015), section 3.2.

    The negative is the nearest that is farther than the positive; where none is, the farthest of all. Pairs whose
    anchor has no negative are left out; without any pair the loss is 0. Memory grows with N^3.
    """
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farther = (distances[:, None, :] > distances[:, :, None]) & ~same[:, None, :]
    beyond = distances[:, None, :].expand_as(farther).masked_fill(~farther, torch.inf).amin(dim=2)
    farthest = distances.masked_fill(same, -torch.inf).amax(dim=1)
    negative = torch.where(farther.any(dim=2), beyond, farthest[:, None])
    used = positive & (~same).any(dim=1)[:, None]
    return _mean(torch.relu(distances - negative + margin), used)


def _mean(losses: Tensor, used: Tensor) -> Tensor:
    # Where nothing is used the sum is 0 and still has a gradient: a loop can go on with the next batch.
    return torch.where(used, losses, 0.0).sum() / used.sum().clamp(min=1)


class Triplet(nn.Module):
    """L = max(0, |f_a - f_p|^2 - |f_a - f_n|^2 + m) on unit vectors f, with ``mining`` choosing p and n."""

    def __init__(self, mining: Mining = "batch-hard", *, margin: float = 0.2) -> None:
        super().__init__()
        self.mining: Mining = mining
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Unnormalised embeddings (N, D), labels (N,) -> mean loss, a scalar."""
        choose = batch_hard if self.mining == "batch-hard" else semi_hard
        return choose(squared_distances(embeddings), labels, margin=self.margin)
