"""The mirror: bit-exact, exact to the last tie, and whole for readers while it changes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from attendance.search.exact import ExactGallery
from attendance.types import Float32, GalleryEntry


def units(rng: np.random.Generator, count: int, dimension: int) -> Float32:
    rows = rng.normal(size=(count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_vectors_come_back_bit_for_bit_through_growth_and_compaction() -> None:
    rng = np.random.default_rng(1)
    gallery = ExactGallery("card-a", 32)
    held: dict[str, Float32] = {}
    for step in range(12):
        rows = units(rng, 100, 32)
        ids = [f"t-{n}" for n in rng.choice(900, 100, replace=False)]
        gallery.upsert([GalleryEntry(i, f"person-{i}", row) for i, row in zip(ids, rows, strict=True)])
        held.update(zip(ids, rows, strict=True))
        gone = [f"t-{n}" for n in rng.choice(900, 80 * (step % 3), replace=False)]
        assert gallery.remove(gone) == len([held.pop(i) for i in gone if i in held])
    assert {e.template_id: e.vector.tobytes() for e in gallery.entries()} == {i: v.tobytes() for i, v in held.items()}


def test_what_is_handed_out_and_taken_in_is_not_shared() -> None:
    row = np.array([1, 0], np.float32)
    gallery = ExactGallery("card-a", 2)
    gallery.upsert([GalleryEntry("t-1", "person-01", row)])
    row[:] = [0, 1]
    gallery.entries()[0].vector[:] = [0, 1]
    assert gallery.entries()[0].vector.tolist() == [1, 0]


@pytest.mark.parametrize("people", [1, 7, 300, 3000])
def test_the_same_people_as_sorting_everybody(people: int) -> None:
    """Float64 cosines of all mean directions, sorted: the mirror's float32 shortlist must lose nobody."""
    rng = np.random.default_rng(people)
    centres = units(rng, people, 24)
    noisy = np.repeat(centres, 4, axis=0) + 0.1 * rng.normal(size=(4 * people, 24))
    rows = np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)
    rows[1::40] = rows[0]
    rows[4:8] = rows[: len(rows[4:8])]
    gallery = ExactGallery("card-a", 24)
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n // 4:05d}", row) for n, row in enumerate(rows)])
    queries = np.concatenate([rows[:1], units(rng, 9, 24)])
    sums = rows.reshape(people, 4, 24).astype(np.float64).sum(axis=1)
    means = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    for k in (1, 5, 70):
        for query, found in zip(queries, gallery.nearest(queries, k=k), strict=True):
            cosines = (means.astype(np.float64) * query).sum(axis=1)
            expected = sorted(range(people), key=lambda place: (-cosines[place], place))[:k]
            assert [candidate.identity_id for candidate in found] == [f"person-{place:05d}" for place in expected]
            np.testing.assert_allclose([c.similarity for c in found], cosines[expected], atol=1e-6)


def test_many_queries_at_once_answer_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    gallery = ExactGallery("card-a", 8)
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n % 50:02d}", row) for n, row in enumerate(units(rng, 400, 8))])
    queries = units(rng, 60, 8)
    assert gallery.nearest(queries, k=3) == [gallery.nearest(query[None], k=3)[0] for query in queries]


def test_readers_see_a_change_whole_or_not_at_all() -> None:
    """Two people swap vectors in one change, again and again: at no moment is either of them absent or doubled."""
    first, second = np.eye(2, dtype=np.float32)
    gallery = ExactGallery("card-a", 2)
    gallery.upsert([GalleryEntry("t-1", "person-01", first), GalleryEntry("t-2", "person-02", second)])
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            found = gallery.nearest(first[None], k=2)[0]
            if [candidate.similarity for candidate in found] != [1.0, 0.0] or gallery.counts() != (2, 2):
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(1500):
        one, two = (second, first) if turn % 2 == 0 else (first, second)
        gallery.apply(
            upserts=[GalleryEntry(f"t-{turn}-1", "person-01", one), GalleryEntry(f"t-{turn}-2", "person-02", two)],
            removals=[entry.template_id for entry in gallery.entries()],
        )
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_lookups_go_on_while_a_reload_is_prepared() -> None:
    """A change holds the writers' lock and is stopped in the middle: lookups answer from what was there before."""
    rng = np.random.default_rng(6)
    old, new = units(rng, 200, 16), units(rng, 200, 16)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(ExactGallery):
        def _changed_chunks(self, touched: Iterable[str]) -> Any:
            made = super()._changed_chunks(touched)
            if self.counts()[0]:
                begun.set()
                assert go_on.wait(30)
            return made

    gallery = Slow("card-a", 16, chunk_places=64, coded_from=1)
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n:03d}", row) for n, row in enumerate(old)])
    before = gallery.nearest(old, k=1)
    changes = [GalleryEntry(f"t-{n}", f"person-{n:03d}", row) for n, row in enumerate(new)]
    reload = threading.Thread(target=gallery.upsert, args=(changes,))
    reload.start()
    assert begun.wait(30)
    assert gallery.nearest(old, k=1) == before
    assert gallery.nearest(old[:1], k=1) == before[:1]
    go_on.set()
    reload.join()
    assert [found[0].identity_id for found in gallery.nearest(new, k=1)] == [f"person-{n:03d}" for n in range(200)]
    assert gallery.nearest(old[:1], k=1)[0][0].similarity < 0.999
