"""A trained network on disk: what it is and its weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attendance.errors import ModelError, UsageError
from lab.nets.registry import BACKBONES, build_backbone
from lab.train.atomic import save_atomically
from lab.train.recipe import Network

FORMAT = "lab-weights-1"
MIDDLE = 127.5
"""Networks eat RGB, (x - 127.5) / 127.5."""


# What torch raises on damaged files, found by feeding it damaged files.
_TORCH_ERRORS = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, pickle.UnpicklingError,
)  # fmt: skip


def dimension_of(network: Network) -> int:
    """Length of its embedding."""
    if network.dimension is not None:
        return network.dimension
    return BACKBONES[network.backbone].dimension if network.backbone in BACKBONES else 512


def build_network(network: Network, *, input_px: int) -> nn.Module:
    """The recipe's network, with the weights it starts from.

    Raises:
        UsageError: there is no such network or file.
        ModelError: the weights are another network's.
    """
    numbers: dict[str, Any] = dict(network.numbers)
    net = build_backbone(network.backbone, dimension=network.dimension, input_px=input_px, **numbers)
    if network.weights is not None:
        _load(net, network.weights)
    return net


def save_weights(path: Path, net: nn.Module, network: Network, *, input_px: int) -> None:
    """Write a mapping of ``format``, ``backbone``, ``dimension``, ``numbers``, ``input_px`` and ``state``."""
    content = {
        "format": FORMAT,
        "backbone": network.backbone,
        "dimension": dimension_of(network),
        "numbers": dict(network.numbers),
        "input_px": input_px,
        "state": {key: value.cpu() for key, value in net.state_dict().items()},
    }
    save_atomically(path, content)


def load_weights(path: Path) -> tuple[nn.Module, Network, int]:
    """A network that `save_weights` wrote, in evaluation mode: it, its description, and the side of its faces.

    Raises:
        UsageError: no such file.
        ModelError: not such a file.
    """
    content = read_tensors(path)
    if content.get("format") != FORMAT:
        raise ModelError(f"{path}: expected a trained network ({FORMAT}), got {str(content.get('format'))!r}")
    network = Network(backbone=content["backbone"], dimension=content["dimension"], numbers=content["numbers"])
    net = build_network(network, input_px=content["input_px"])
    net.load_state_dict(content["state"])
    return net.eval(), network, content["input_px"]


def read_tensors(path: Path) -> dict[str, Any]:
    """A file that torch wrote, tensors and plain values only.

    Raises:
        UsageError: no such file.
        ModelError: no such content.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; name one that torch wrote")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _TORCH_ERRORS as error:
        line = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: expected tensors, the file cannot be read ({line})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected tensors by name, got {type(content).__name__}")
    return content


def _load(net: nn.Module, path: Path) -> None:
    content = read_tensors(path)
    state = content["state"] if content.get("format") == FORMAT else content
    try:
        net.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: expected the weights of the recipe's network, got others: {line}") from error
