"""People with made-up vectors, and the stores they go into: what the tests of gallery and mirror share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from attendance.search.chroma import ChromaStore, GraphSettings
from attendance.types import Consent, Float32, Person, Template

DIMENSION = 16
CARD = "card-a"
WHEN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def vector(seed: int, dimension: int = DIMENSION) -> Float32:
    """A random unit vector, the same for the same seed."""
    row = np.random.default_rng(seed).normal(size=dimension)
    return np.asarray(row / np.linalg.norm(row), np.float32)


def template(template_id: str, row: Float32, *, card_id: str = CARD) -> Template:
    return Template(template_id, row, card_id, "photos", f"{template_id}.jpg", "0" * 64, "batch", WHEN)


def person(number: int, *, templates: int = 3, card_id: str = CARD, version: int = 1) -> Person:
    """person-<number>, with templates t-<number>-0 ... of fixed random vectors."""
    key = f"{number:04d}"
    rows = [template(f"t-{key}-{n}", vector(1000 * number + n), card_id=card_id) for n in range(templates)]
    consent = Consent("attested", "1", WHEN, "operator")
    return Person(f"person-{key}", f"ref-{key}", version, WHEN, consent, templates=tuple(rows))


def open_ledger(folder: Path) -> Ledger:
    return SqliteLedger(folder / "ledger.sqlite", cooldown_s=300.0, time_zones={})


def chroma_store(folder: Path, *, card_id: str = CARD, dimension: int = DIMENSION, wait_s: float = 20.0) -> ChromaStore:
    """A store whose graph files are rewritten every 20 additions."""
    return ChromaStore(folder / "chroma", card_id, dimension, GraphSettings(sync_threshold=20), wait_s)
