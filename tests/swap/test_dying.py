"""Killed at any point, a change of everybody's templates leaves the old ones in force or the new ones, whole."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attendance.gallery import PersonChange, apply_changes, open_for_writing, verify
from attendance.ledger.port import Ledger
from attendance.protect import rotation, turned
from attendance.search.port import Gallery
from tests.enrolled import CARD, DIMENSION, chroma_store, open_ledger, person
from tests.swap.dying import KEY, TARGET, go_back, rotate

PEOPLE = 70


def killed(command: Callable[[Path, str, bool], None], folder: Path, dies_at: str, before: bool) -> None:
    """Run it in a process that kills itself there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromadb", "tests.swap.dying"])
    process = context.Process(target=command, args=(folder, dies_at, before))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def check(ledger: Ledger, gallery: Gallery, space: str) -> None:
    """Everybody has the templates of one space in force, with the right vectors, and the gallery agrees."""
    assert verify(ledger, gallery).clean
    assert gallery.counts() == (PEOPLE, 3 * PEOPLE)
    matrix = rotation(KEY, model=CARD, dimension=DIMENSION)
    for number, found in enumerate(ledger.people(), start=1):
        bare = np.stack([t.vector for t in person(number).templates])
        assert {t.card_id for t in found.templates} == {space}
        expected = turned(bare, matrix) if space == TARGET else bare
        assert np.abs(np.stack([t.vector for t in found.templates]) - expected).max() < 1e-6


@pytest.mark.parametrize(("dies_at", "before", "space"), [
    ("person 40", True, CARD),
    ("switch", True, CARD),
    ("switch", False, TARGET),
    (f"person {PEOPLE + 30}", True, TARGET),
])  # fmt: skip
def test_killed_at_one_point_and_run_again(tmp_path: Path, dies_at: str, before: bool, space: str) -> None:
    with open_ledger(tmp_path) as ledger, open_for_writing(ledger, chroma_store(tmp_path)) as gallery:
        assert apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(1, PEOPLE + 1)]) == []
    killed(rotate, tmp_path, dies_at, before)
    with open_ledger(tmp_path) as ledger:
        assert ledger.template_revision().space == space
        with open_for_writing(ledger, chroma_store(tmp_path, card_id=space)) as gallery:
            check(ledger, gallery, space)
    rotate(tmp_path, "", True)
    with open_ledger(tmp_path) as ledger:
        assert all(found.shelved == () for found in ledger.people())
        with open_for_writing(ledger, chroma_store(tmp_path, card_id=TARGET)) as gallery:
            check(ledger, gallery, TARGET)


@pytest.mark.parametrize(("before", "space"), [(True, TARGET), (False, CARD)])
def test_killed_on_the_way_back_and_run_again(tmp_path: Path, before: bool, space: str) -> None:
    with open_ledger(tmp_path) as ledger, open_for_writing(ledger, chroma_store(tmp_path)) as gallery:
        assert apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(1, PEOPLE + 1)]) == []
    rotate(tmp_path, "", True, keep=True)
    killed(go_back, tmp_path, "switch", before)
    with open_ledger(tmp_path) as ledger:
        assert ledger.template_revision().space == space
        with open_for_writing(ledger, chroma_store(tmp_path, card_id=space)) as gallery:
            check(ledger, gallery, space)
    go_back(tmp_path, "", True)
    with open_ledger(tmp_path) as ledger:
        assert ledger.template_revision().space == CARD
        with open_for_writing(ledger, chroma_store(tmp_path, card_id=CARD)) as gallery:
            check(ledger, gallery, CARD)
