"""A builder that never stops by itself, for tests that kill it; a module of its own so that others can import it."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from attendance.gallery import PersonChange, apply_changes, open_for_writing
from tests.enrolled import chroma_store, open_ledger, person

TEMPLATES = 12


def enrol_for_ever(folder: Path, first: int, acknowledged: Connection) -> None:
    """Enrol person after person from number ``first`` on; sends -1 before the gallery is opened, then each number."""
    with open_ledger(folder) as ledger:
        acknowledged.send(-1)
        with open_for_writing(ledger, chroma_store(folder)) as gallery:
            for number in range(first, first + 100_000):
                change = PersonChange(None, person(number, templates=TEMPLATES))
                assert apply_changes(ledger, gallery, [change]) == []
                acknowledged.send(number)
