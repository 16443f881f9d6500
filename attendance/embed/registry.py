"""From a card to a running embedder: where the weights lie, and which loader reads them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from attendance.embed.card import ModelCard, WeightFormat
from attendance.embed.catalogue import CARD_FILE, PACKAGED_CARDS, card_paths, find_card
from attendance.embed.dlib import find_weights
from attendance.embed.dlib_cache import load_state
from attendance.embed.onnx import OnnxEmbedder
from attendance.embed.port import Embedder
from attendance.embed.torch import TorchEmbedder, build_network, read_checkpoint, read_safetensors
from attendance.errors import ModelError
from attendance.nets.device import Mode, mode_for
from attendance.onnx_runtime import has_cuda

__all__ = ["CARD_FILE", "DEFAULT_MODEL", "PACKAGED_CARDS", "card_paths", "find_card", "load_embedder", "resolve_device"]

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "dlib-resnet29"
WEIGHTS_STEM = "weights"

_DEVICES = ("auto", "cpu", "cuda")


def load_embedder(
    card: ModelCard,
    *,
    device: str = "auto",
    threads: int = 2,
    models_dir: Path | None = None,
    precision: str = "auto",
    graphs: bool = False,
) -> Embedder:
    """Load a model's weights, checked against its card, ready to embed.

    Args:
        card: from `find_card`.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where PyTorch has it.
        threads: processor threads; PyTorch has one pool in a process, so the latest call decides for all.
        models_dir: the store's ``models`` folder: weights lie there in the folder of the card's id as ``weights`` with
            any ending; dlib's converted weights are kept there. None: only models whose weights come from a package.
        precision: ``auto``, ``fp32`` or ``fp16``, see `mode_for`.
        graphs: whether a CUDA device replays recordings of PyTorch networks.

    Raises:
        ModelError: weights that are missing, damaged or of another kind, or a device or precision that is not there.
    """
    place = resolve_device(device)
    torch.set_num_threads(threads)
    if device == "auto":
        place = runtime_device(card, place, has_cuda=has_cuda)
    mode = mode_for(place, precision=precision, graphs=graphs)
    embedder = _load(card, device=place, threads=threads, models_dir=models_dir, mode=mode)
    _log.info("%s", embedder.describe())
    return embedder


def runtime_device(card: ModelCard, device: str, *, has_cuda: Callable[[], bool]) -> str:
    """The device for a card where ``auto`` chose ``device``: the processor where the card's runtime has no other."""
    if device == "cuda" and card.format is WeightFormat.ONNX and not has_cuda():
        _log.warning("model %s runs on the processor: PyTorch has CUDA here, ONNX Runtime has not", card.id)
        return "cpu"
    return device


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ModelError: an unknown name, or CUDA asked for where PyTorch has none.
    """
    if device not in _DEVICES:
        raise ModelError(f"expected a device out of {', '.join(_DEVICES)}, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("expected a CUDA device, PyTorch finds none: set model.device to cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _load(card: ModelCard, *, device: str, threads: int, models_dir: Path | None, mode: Mode) -> Embedder:
    folder = models_dir / card.id if models_dir is not None else None
    if card.format is WeightFormat.DLIB:
        state = load_state(card, find_weights=find_weights, folder=folder)
        return TorchEmbedder(card, build_network(card, state), device=device, mode=mode)
    data = _read_checked(card, _find_stored(card, folder))
    if card.format is WeightFormat.ONNX:
        return OnnxEmbedder(card, data, device=device, threads=threads)
    read = read_checkpoint if card.format is WeightFormat.TORCH else read_safetensors
    return TorchEmbedder(card, build_network(card, read(card, data)), device=device, mode=mode)


def _find_stored(card: ModelCard, folder: Path | None) -> Path:
    found = sorted(p for p in folder.glob(f"{WEIGHTS_STEM}*") if p.stem == WEIGHTS_STEM) if folder is not None else []
    if len(found) == 1:
        return found[0]
    place = folder if folder is not None else "the store's models folder"
    given = ", ".join(path.name for path in found) if found else "none"
    raise ModelError(
        f"model {card.id}: expected one file named {WEIGHTS_STEM} (any ending) in {place}, got {given}: "
        f"fetch it from {card.source}"
    )


def _read_checked(card: ModelCard, path: Path) -> bytes:
    """The file's bytes, which are what is checked and what is loaded: one read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {card.id}: expected readable weights at {path}, got: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"model {card.id}: expected weights with SHA-256 {card.sha256} at {path}, got {found}: fetch them again "
            f"from {card.source}"
        )
    return data
