"""A builder is killed again and again, also while Chroma rewrites its graph; nothing acknowledged is lost."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from attendance.gallery import open_for_writing, verify
from tests.enrolled import chroma_store, open_ledger, person
from tests.enrolling import TEMPLATES, enrol_for_ever

# After how many acknowledged people, and how many seconds later, each builder dies. The graph files are rewritten every
# 20 templates, which is what most of the writing time goes into; 0 people is the opening, which here is a rebuild.
DEATHS = [(2, 0.004), (0, 0.03), (3, 0.011), (5, 0.0), (0, 0.15), (4, 0.023), (1, 0.017), (6, 0.008)]


@pytest.fixture
def processes() -> ForkServerContext:
    """Builders are forked from a process that has imported everything, which saves seconds for each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromadb", "tests.enrolling"])
    return context


def killed_builder(context: ForkServerContext, folder: Path, *, first: int, people: int, later_s: float) -> list[int]:
    """The numbers that a builder acknowledged before it was killed."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=enrol_for_ever, args=(folder, first, theirs))
    process.start()
    theirs.close()
    numbers = [ours.recv() for _ in range(1 + people)]
    time.sleep(later_s)
    process.kill()
    process.join()
    while True:
        try:
            numbers.append(ours.recv())
        except EOFError:
            break
    ours.close()
    process.close()
    return numbers[1:]


def test_killed_at_many_points_it_ends_in_a_gallery_that_verifies(tmp_path: Path, processes: ForkServerContext) -> None:
    acknowledged: list[int] = []
    for turn, (people, later_s) in enumerate(DEATHS):
        acknowledged += killed_builder(processes, tmp_path, first=1000 * turn, people=people, later_s=later_s)
    with open_ledger(tmp_path) as ledger:
        with open_for_writing(ledger, chroma_store(tmp_path)) as gallery:
            assert verify(ledger, gallery).clean
        enrolled = {p.identity_id: p for p in ledger.people()}
        with chroma_store(tmp_path).open() as gallery:
            assert gallery.counts() == (len(enrolled), TEMPLATES * len(enrolled))
        assert not ledger.template_revision().pending
    assert len(acknowledged) >= sum(people for people, _ in DEATHS)
    for number in acknowledged:
        expected = person(number, templates=TEMPLATES)
        kept = enrolled[expected.identity_id].templates
        assert [(t.template_id, t.vector.tobytes()) for t in kept] == [
            (t.template_id, t.vector.tobytes()) for t in expected.templates
        ]
    beside = sorted(file.name for file in tmp_path.iterdir() if file.name.startswith("chroma"))
    assert beside == ["chroma", "chroma.lock"]
