"""dlib's weights kept as safetensors, so that the next start reads them without the package's file.

The cache says which file it was made from and carries a digest of its own tensors: one that is damaged, or was made
from another file, is made again. Where it cannot be written, the weights are read from the package each time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attendance.embed.card import ModelCard
from attendance.embed.dlib import read_weights
from attendance.errors import ModelError
from attendance.types import Float32

_log = logging.getLogger(__name__)

CACHE_FILE = "weights.safetensors"

_SOURCE, _DIGEST, _LAYOUT = "source_sha256", "tensors_sha256", "layout"
LAYOUT = "1"
"""Raised when the same file is converted in another way."""


def load_state(card: ModelCard, *, find_weights: Callable[[], Path], folder: Path | None) -> dict[str, Tensor]:
    """The network's weights, from the cache in ``folder`` or else from dlib's file.

    Args:
        card: its ``sha256`` is that of dlib's file.
        find_weights: gives that file; asked only when the cache does not serve.
        folder: where the cache lies; None keeps none.

    Raises:
        ModelError: no usable cache, and dlib's file is missing, unreadable or not the card's.
    """
    cached = _read_cache(card, folder / CACHE_FILE) if folder is not None else None
    if cached is None:
        cached = read_weights(_read_source(card, find_weights()))
        if folder is not None:
            _write_cache(card, cached, folder)
    return {name: torch.from_numpy(array) for name, array in cached.items()}


def _read_source(card: ModelCard, path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {card.id}: expected readable weights at {path}, got: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"model {card.id}: expected weights with SHA-256 {card.sha256} at {path}, got {found}: install "
            f"{card.source} again"
        )
    return data


def _read_cache(card: ModelCard, path: Path) -> dict[str, Float32] | None:
    """The cached arrays, None where there are none that can be used."""
    try:
        with safe_open(path, framework="numpy") as file:
            notes = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (SafetensorError, OSError) as error:
        _log.warning("model %s: the cache %s is unreadable or damaged (%s), making it again", card.id, path, error)
        return None
    if notes.get(_SOURCE) != card.sha256 or notes.get(_LAYOUT) != LAYOUT:
        return None
    if notes.get(_DIGEST) != _digest(arrays):
        _log.warning("model %s: the cache %s is damaged (digest), making it again", card.id, path)
        return None
    return arrays


def _write_cache(card: ModelCard, arrays: Mapping[str, Float32], folder: Path) -> None:
    """Write beside, then rename, so that no reader ever sees half a file."""
    notes = {_SOURCE: card.sha256, _LAYOUT: LAYOUT, _DIGEST: _digest(arrays)}
    data = safetensors.numpy.save(dict(arrays), metadata=notes)
    temporary: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{CACHE_FILE}.", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # The weights are public, and the kiosk may run as another user than the builder.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(folder / CACHE_FILE)
    except OSError as error:
        _log.info("model %s: no cache in %s (%s), going on without", card.id, folder, error.strerror)
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _digest(arrays: Mapping[str, Float32]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
