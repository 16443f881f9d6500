"""Writers that run beside each other; a module of its own so that other processes can import it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from attendance.gallery import PersonChange, apply_changes, open_for_writing
from attendance.search.chroma import GraphSettings, ServerStore
from attendance.types import Person
from tests.enrolled import CARD, DIMENSION, open_ledger, person, template, vector

PEOPLE = 4


def enrol(folder: Path, url: str, collection: str, first: int, people: int) -> None:
    """Enrol so many people one by one, from number ``first`` on; the first five are the same for everybody."""
    store = ServerStore(url, CARD, DIMENSION, collection, settings=GraphSettings(sync_threshold=20))
    with open_ledger(folder) as ledger, open_for_writing(ledger, store) as gallery:
        for number in range(people):
            which = 9000 + number if number < 5 else first + number
            apply_changes(ledger, gallery, [PersonChange(None, person(which))])


def change_at_random(folder: Path, store: ServerStore, *, seed: int, changes: int) -> None:
    """Insert, change and remove a few people again and again; what another writer forestalls is left."""
    rng = np.random.default_rng(seed)
    with open_ledger(folder) as ledger, open_for_writing(ledger, store) as gallery:
        for turn in range(changes):
            who = person(int(rng.integers(PEOPLE)))
            before = ledger.person(who.identity_id)
            apply_changes(ledger, gallery, [_change(before, who, rng, mark=1000 * seed + turn)])


def _change(before: Person | None, who: Person, rng: np.random.Generator, *, mark: int) -> PersonChange:
    if before is None:
        return PersonChange(None, replace(who, subject_ref=f"ref-{mark}"))
    if rng.random() < 0.3:
        return PersonChange(before, None)
    # Some templates stay, some vanish, some come back with another vector.
    kept = [t for t in who.templates if rng.random() < 0.6]
    kept += [template(f"{who.templates[0].template_id}-{n}", vector(mark + n)) for n in range(int(rng.integers(3)))]
    moved = [replace(t, vector=vector(mark + 7)) if rng.random() < 0.5 else t for t in kept]
    return PersonChange(before, replace(before, version=before.version + 1, templates=tuple(moved)))
