"""Distillation: a small network learns the features of a large one (AirFace, Li et al. 2019, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab.losses.angles import widened
from lab.train.recipe import Distillation

SMALL = 1e-12


class Distil(nn.Module):
    """The weighted sum of what a recipe asks for; where dimensions differ, a linear map of the student is learnt.

    ``mean`` (D',) is that of the teacher's embeddings, of which ``how.centre`` takes a share off each: where all faces
    are alike to the teacher (dlib's ResNet: cosines about 0.84 between strangers), a student learns little else than
    the mean for long, and its features compare better without.
    """

    def __init__(self, how: Distillation, *, student: int, teacher: int, mean: Tensor | None = None) -> None:
        super().__init__()
        self.how = how
        off = torch.zeros(teacher) if mean is None else how.centre * mean
        self.off: Tensor
        self.register_buffer("off", off, persistent=False)
        self.map = nn.Identity() if student == teacher else nn.Linear(student, teacher, bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (N, D) and (N, D') of the same faces, neither of unit length -> a scalar."""
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = widened(student), widened(teacher.detach()) - self.off
            loss = student.new_zeros(())
            if self.how.feature > 0.0:
                loss = loss + self.how.feature * feature_loss(self.map(student), teacher)
            if self.how.distance > 0.0:
                loss = loss + self.how.distance * distance_loss(student, teacher)
            if self.how.angle > 0.0:
                loss = loss + self.how.angle * angle_loss(student, teacher)
        return loss


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cos(s_i, t_i): (N, D), (N, D) -> a scalar."""
    return (1.0 - functional.cosine_similarity(student, teacher, dim=1)).mean()


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the faces' mutual distances, each network's over their mean; Park et al. 2019, equation 5."""
    return functional.smooth_l1_loss(_distances(student), _distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosine at face j between faces i and k, for all three; Park et al. 2019, equation 8.

    Memory grows with N^3: a batch of 512 needs half a gigabyte for each network.
    """
    return functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _distances(x: Tensor) -> Tensor:
    unit = functional.normalize(x, dim=1)
    squared = (2.0 - 2.0 * (unit @ unit.T)).clamp(min=SMALL)
    others = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    distances = squared.sqrt() * others
    return distances / (distances.sum() / others.sum()).clamp(min=SMALL)


def _angles(x: Tensor) -> Tensor:
    unit = functional.normalize(x, dim=1)
    towards = functional.normalize(unit[None, :, :] - unit[:, None, :], dim=2)
    return torch.bmm(towards, towards.transpose(1, 2))
