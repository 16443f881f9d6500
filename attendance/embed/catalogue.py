"""Which models there are: their cards, without a network or its weights."""

from __future__ import annotations

from pathlib import Path

from attendance.embed.card import ModelCard
from attendance.embed.card_file import read_card
from attendance.errors import ModelError

CARD_FILE = "card.yaml"
PACKAGED_CARDS = Path(__file__).parent / "cards"


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
