"""What every margin shares: angles whose gradient stays finite, and the one logit per sample that a margin changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; anything else as it is. bfloat16 has no number between 0.9961 and 1."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _Angle(torch.autograd.Function):
    """arccos whose slope -1 / sqrt(1 - c^2), infinite at c = -1 and 1, is cut at 1 / sqrt(the type's epsilon)."""

    @staticmethod
    def forward(context: Any, cosines: Tensor) -> Tensor:
        context.save_for_backward(cosines)
        return torch.acos(cosines.clamp(-1.0, 1.0))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (cosines,) = context.saved_tensors
        floor = torch.finfo(cosines.dtype).eps
        return -gradients[0] * torch.rsqrt((1.0 - cosines * cosines).clamp(min=floor))


def angle(cosines: Tensor) -> Tensor:
    """Angles in radians, [0, pi], of cosines of any shape; exact values and finite gradients at -1 and 1 too.

    A cosine that rounding pushed past 1 counts as 1. Half precision is widened to float32.
    """
    angles: Tensor = _Angle.apply(widened(cosines))  # type: ignore[no-untyped-call]
    return angles


def target_of(cosines: Tensor, labels: Tensor) -> Tensor:
    """The cosine (N,) with the own class, of cosines (N, C) and labels (N,).

    A label of -1 says that the class is not among the columns; that row's value is any, and `replace_target` drops it.
    """
    return widened(cosines).gather(1, labels.clamp(min=0)[:, None])[:, 0]


def replace_target(logits: Tensor, labels: Tensor, values: Tensor) -> Tensor:
    """Logits (N, C) with `values` (N,) in the column of each row's label; a row with the label -1 stays as it is."""
    logits = widened(logits)
    columns = labels.clamp(min=0)[:, None]
    kept = logits.gather(1, columns)
    changed = torch.where((labels >= 0)[:, None], values[:, None].to(logits.dtype), kept)
    return logits.scatter(1, columns, changed)
