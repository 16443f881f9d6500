"""Compiling a network where the machine can, and saying why where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_log = logging.getLogger(__name__)


def compiled(net: nn.Module, device: torch.device, *, compiler: Callable[..., Any] = torch.compile) -> nn.Module:
    """The network compiled, or itself where nothing can be compiled on this machine, which is warned of.

    torch compiles at the first call, in the middle of a step, and needs a C++ compiler for a processor and Triton for a
    graphics card. A sum is compiled and run first, so that what is missing shows before the training begins.
    """
    try:
        compiler(_one_more)(torch.zeros(2, device=device))
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        _log.warning("compile: nothing can be compiled for %s here, the network runs as it is: %s", device.type, reason)
        return net
    made: nn.Module = compiler(net)
    return made


def _one_more(x: torch.Tensor) -> torch.Tensor:
    return x + 1.0
