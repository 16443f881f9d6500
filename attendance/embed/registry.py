"""From a model's id to a running embedder: which cards there are, where their weights lie, which loader reads them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch

from attendance.embed.card import ModelCard, WeightFormat
from attendance.embed.card_file import read_card
from attendance.embed.dlib import find_weights
from attendance.embed.dlib_cache import load_state
from attendance.embed.onnx import OnnxEmbedder
from attendance.embed.port import Embedder
from attendance.embed.torch import TorchEmbedder, build_network, read_checkpoint, read_safetensors
from attendance.errors import ModelError

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "dlib-resnet29"
CARD_FILE = "card.yaml"
WEIGHTS_STEM = "weights"
PACKAGED_CARDS = Path(__file__).parent / "cards"

_DEVICES = ("auto", "cpu", "cuda")


def card_paths(models_dir: Path | None = None) -> dict[str, Path]:
    """Every card by model id: the packaged ones, then those of ``models_dir``, which win over packaged ones."""
    paths = {path.stem: path for path in sorted(PACKAGED_CARDS.glob("*.yaml"))}
    if models_dir is not None:
        paths |= {path.parent.name: path for path in sorted(models_dir.glob(f"*/{CARD_FILE}"))}
    return paths


def find_card(model_id: str, models_dir: Path | None = None) -> ModelCard:
    """The card of a model.

    Args:
        model_id: such as ``dlib-resnet29``.
        models_dir: the store's ``models`` folder, with a folder per model.

    Raises:
        ModelError: no such model (the known ones are listed), or a faulty card.
    """
    paths = card_paths(models_dir)
    if model_id not in paths:
        where = f" or in {models_dir}" if models_dir is not None else ""
        raise ModelError(
            f"no model {model_id!r} came with this program{where}; known are {', '.join(sorted(paths))}: "
            "set model.id to one of them, or put a card and weights there"
        )
    card = read_card(paths[model_id])
    if card.id != model_id:
        raise ModelError(f"{paths[model_id]}: id: expected {model_id}, as the card is stored, got {card.id}")
    return card


def load_embedder(
    card: ModelCard, *, device: str = "auto", threads: int = 2, models_dir: Path | None = None
) -> Embedder:
    """Load a model's weights, checked against its card, ready to embed.

    Args:
        card: from `find_card`.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where PyTorch has it.
        threads: processor threads; PyTorch has one pool in a process, so the latest call decides for all.
        models_dir: the store's ``models`` folder: weights lie there in the folder of the card's id as ``weights`` with
            any ending; dlib's converted weights are kept there. None: only models whose weights come from a package.

    Raises:
        ModelError: weights that are missing, damaged or of another kind, or a device that is not there.
    """
    place = resolve_device(device)
    torch.set_num_threads(threads)
    embedder = _load(card, device=place, threads=threads, models_dir=models_dir)
    _log.info("%s", embedder.describe())
    return embedder


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


def _load(card: ModelCard, *, device: str, threads: int, models_dir: Path | None) -> Embedder:
    folder = models_dir / card.id if models_dir is not None else None
    if card.format is WeightFormat.DLIB:
        state = load_state(card, find_weights=find_weights, folder=folder)
        return TorchEmbedder(card, build_network(card, state), device=device)
    data = _read_checked(card, _find_stored(card, folder))
    if card.format is WeightFormat.ONNX:
        return OnnxEmbedder(card, data, device=device, threads=threads)
    read = read_checkpoint if card.format is WeightFormat.TORCH else read_safetensors
    return TorchEmbedder(card, build_network(card, read(card, data)), device=device)


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
