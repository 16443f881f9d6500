"""Lets torchvision be imported beside a CPU build of torch.

torchvision's Linux wheel from the package index carries CUDA operators. A CPU build of torch cannot load that library;
torchvision goes on without it, and then registers more for two operators that nobody has declared, which fails:
"operator torchvision::nms does not exist". timm imports torchvision and calls neither. So where the library cannot be
loaded, and only there, the two are declared without an implementation: calling one is still an error.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

OPERATORS = ("nms", "qnms")

_declared: list[Any] = []  # declared operators go when their library object is collected


def declare_torchvision_operators() -> None:
    """Call before the first import of torchvision, or of what imports it. Again it does nothing."""
    if _is_declared() or _load_compiled():
        return
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def _is_declared() -> bool:
    return all(hasattr(torch.ops.torchvision, name) for name in OPERATORS)


def _load_compiled() -> bool:
    """Whether torchvision's own library could be loaded, which declares everything."""
    spec = importlib.util.find_spec("torchvision")
    folders = [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    paths = [path for folder in folders for path in Path(folder).glob("_C.*") if path.suffix in (".so", ".pyd", ".dll")]
    try:
        for path in paths:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return bool(paths) and _is_declared()
