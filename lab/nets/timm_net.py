"""Any network of timm, through the embedding head."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from attendance.errors import UsageError
from lab.nets.embedding_head import DIMENSION, HeadedNet
from lab.nets.torchvision_operators import declare_torchvision_operators


def build_timm(name: str, *, dimension: int = DIMENSION, input_px: int) -> HeadedNet:
    """timm's network of that name, untrained and without its classifier, and an embedding head.

    The head's width is what the network gives: for MobileNetV3 and GhostNet that is ``head_hidden_size`` (1280), since
    their last hidden layer stays, not ``num_features`` (960), which would fail.

    Raises:
        UsageError: timm has no such network, or it cannot take faces of that size.
    """
    backbone = create(name, input_px=input_px, num_classes=0, global_pool="avg")
    return HeadedNet(backbone, int(backbone.head_hidden_size), dimension=dimension)


def create(name: str, *, input_px: int, **options: Any) -> Any:
    """timm's network as it is, made for square inputs of that size where it must know it (transformers).

    Raises:
        UsageError: as `build_timm`.
    """
    timm = _timm()
    if name not in timm.list_models():
        raise UsageError(f"timm: expected a network that it has, got {name!r}: see timm.list_models()")
    try:
        return _create(timm, name, input_px, options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"timm: {name} cannot be made for {input_px}x{input_px} faces ({error})") from error


def _create(timm: Any, name: str, input_px: int, options: dict[str, Any]) -> nn.Module:
    known: dict[str, Any] = timm.get_pretrained_cfg(name).to_dict()
    size = {"img_size": input_px} if known.get("fixed_input_size") else {}
    net: nn.Module = timm.create_model(name, pretrained=False, **size, **options)
    return net


def _timm() -> Any:
    declare_torchvision_operators()
    return importlib.import_module("timm")
