"""Batch normalisation folded into the convolution before it: the same function at inference, with fewer passes."""

from __future__ import annotations

import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Replace each convolution that is directly followed by its normalisation, in place; returns ``module``.

    Followed means the next child of the same parent, in the order the children were made. ``module`` must be in
    evaluation mode.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in itertools.pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, following))
            setattr(module, next_name, nn.Identity())
    for _, child in children:
        fold_batch_norms(child)
    return module
