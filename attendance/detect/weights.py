"""The published weights of the cascade, read where they ship: inside the facenet-pytorch package, never imported.

Importing the package would pull torchvision in, whose Linux wheel carries CUDA operators that a CPU build of torch
cannot load.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import torch
from torch import nn

from attendance.errors import ModelError

PACKAGE = "facenet_pytorch"
FILES = ("pnet.pt", "rnet.pt", "onet.pt")


def weights_folder(package: str = PACKAGE) -> Path:
    """The folder that holds the three files; the package is located, not imported.

    Raises:
        ModelError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"expected the package {package} with the MTCNN weights, it is not installed: run `make setup`"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill ``net`` from a state dictionary on disk, every name and shape exactly as the net has it.

    Raises:
        ModelError: the file is missing, damaged, or of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state)
    except FileNotFoundError as error:
        raise ModelError(f"expected MTCNN weights at {path}, there is no such file: run `make setup`") from error
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, TypeError, AttributeError, ValueError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = type(net).__name__
        raise ModelError(
            f"expected {name} weights in {path}, it cannot be used ({detail}): run `make setup`"
        ) from error
