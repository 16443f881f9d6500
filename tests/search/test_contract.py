"""One suite for every gallery: whatever is behind the port, the same content gives the same people.

A further implementation joins with one line in GALLERIES: a function from an empty folder to an open, empty gallery of
the model ``card-a`` with 8 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import GalleryError, ModelMismatchError
from attendance.search.chroma import GraphSettings, ServerStore, open_chroma
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import Candidate, Float32, GalleryEntry
from tests.search.server import fresh_name, shared_server

DIMENSION = 8


@contextmanager
def _exact(_: Path) -> Iterator[Gallery]:
    yield ExactGallery("card-a", DIMENSION)


def _chroma(folder: Path) -> AbstractContextManager[Gallery]:
    return open_chroma(folder / "chroma", card_id="card-a", dimension=DIMENSION, sync_threshold=50)


@contextmanager
def _server(_: Path) -> Iterator[Gallery]:
    graph = GraphSettings(sync_threshold=50)
    store = ServerStore(shared_server().url, "card-a", DIMENSION, collection=fresh_name(), settings=graph)
    with store.replacement():
        pass
    with store.open() as gallery:
        yield gallery


GALLERIES: dict[str, Callable[[Path], AbstractContextManager[Gallery]]] = {
    "exact": _exact,
    "chroma": _chroma,
    "server": _server,
}


@pytest.fixture(params=sorted(GALLERIES))
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gallery]:
    with GALLERIES[request.param](tmp_path) as opened:
        yield opened


def unit(*numbers: float) -> Float32:
    vector = np.zeros(DIMENSION, np.float64)
    vector[: len(numbers)] = numbers
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def random_units(rng: np.random.Generator, count: int) -> Float32:
    rows = rng.normal(size=(count, DIMENSION))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def slow_people(entries: list[GalleryEntry], query: Float32, k: int) -> list[tuple[str, float]]:
    """Every person's templates summed number by number, and the angle of that sum to the query."""
    sums: dict[str, list[float]] = {}
    for entry in entries:
        before = sums.get(entry.identity_id, [0.0] * DIMENSION)
        sums[entry.identity_id] = [total + float(number) for total, number in zip(before, entry.vector, strict=True)]
    cosines = {
        identity_id: sum(a * float(b) for a, b in zip(total, query, strict=True)) / math.hypot(*total)
        for identity_id, total in sums.items()
    }
    return sorted(cosines.items(), key=lambda item: (-item[1], item[0]))[:k]


def assert_same_people(found: list[Candidate], expected: list[tuple[str, float]]) -> None:
    assert [candidate.identity_id for candidate in found] == [identity for identity, _ in expected]
    np.testing.assert_allclose([c.similarity for c in found], [cosine for _, cosine in expected], atol=2e-6)


def assert_same_entries(found: list[GalleryEntry], expected: list[GalleryEntry]) -> None:
    expected = sorted(expected, key=lambda entry: entry.template_id)
    assert [(e.template_id, e.identity_id) for e in found] == [(e.template_id, e.identity_id) for e in expected]
    if expected:
        np.testing.assert_allclose([e.vector for e in found], [e.vector for e in expected], atol=1e-6)


def test_an_empty_gallery_knows_nobody(gallery: Gallery) -> None:
    assert gallery.counts() == (0, 0)
    assert gallery.entries() == []
    assert gallery.nearest(unit(1)[None], k=3) == [[]]
    assert gallery.remove(["nothing"]) == 0
    gallery.upsert([])
    assert gallery.counts() == (0, 0)


def test_no_queries_give_no_answers(gallery: Gallery) -> None:
    gallery.upsert([GalleryEntry("t-1", "person-01", unit(1))])
    assert gallery.nearest(np.empty((0, DIMENSION), np.float32), k=2) == []


def test_a_person_scores_by_the_mean_direction_of_their_templates_and_counts_once(gallery: Gallery) -> None:
    near = [GalleryEntry(f"t-{n:02d}", "person-01", unit(1, 0.01 * (-1) ** n * n)) for n in range(40)]
    corner = [GalleryEntry("t-80", "person-02", unit(1)), GalleryEntry("t-81", "person-02", unit(0, 0, 1))]
    far = [GalleryEntry("t-91", "person-03", unit(0, 1))]
    gallery.upsert(near + corner + far)
    found = gallery.nearest(unit(1)[None], k=3)[0]
    assert [candidate.identity_id for candidate in found] == ["person-01", "person-02", "person-03"]
    assert found[0].similarity > 0.999
    np.testing.assert_allclose([c.similarity for c in found[1:]], [np.sqrt(0.5), 0.0], atol=1e-6)


def test_the_mean_direction_follows_every_change_of_a_persons_templates(gallery: Gallery) -> None:
    query = unit(1)[None]

    def similarity() -> float:
        return gallery.nearest(query, k=1)[0][0].similarity

    gallery.upsert([GalleryEntry("t-1", "person-01", unit(1))])
    assert similarity() == pytest.approx(1.0, abs=1e-6)
    gallery.upsert([GalleryEntry("t-2", "person-01", unit(0, 1))])
    assert similarity() == pytest.approx(math.sqrt(0.5), abs=1e-6)
    gallery.upsert([GalleryEntry("t-2", "person-01", unit(1, 1))])
    assert similarity() == pytest.approx(math.cos(math.pi / 8), abs=1e-6)
    gallery.remove(["t-1"])
    assert similarity() == pytest.approx(math.sqrt(0.5), abs=1e-6)
    gallery.remove(["t-2"])
    assert gallery.nearest(query, k=1) == [[]]


def test_more_people_asked_for_than_there_are(gallery: Gallery) -> None:
    gallery.upsert([GalleryEntry("t-1", "person-01", unit(1)), GalleryEntry("t-2", "person-02", unit(0, 1))])
    assert len(gallery.nearest(unit(1)[None], k=50)[0]) == 2


def test_equal_similarities_are_ordered_by_identity(gallery: Gallery) -> None:
    names = [f"person-{n:02d}" for n in range(90)]
    shuffled = list(np.random.default_rng(5).permutation(names))
    gallery.upsert([GalleryEntry(f"t-{name}", str(name), unit(0.6, 0.8)) for name in shuffled])
    found = gallery.nearest(unit(1)[None], k=7)[0]
    assert [candidate.identity_id for candidate in found] == names[:7]


def test_an_upsert_replaces_and_may_change_the_person(gallery: Gallery) -> None:
    gallery.upsert([GalleryEntry("t-1", "person-01", unit(1)), GalleryEntry("t-2", "person-02", unit(0, 1))])
    gallery.upsert([GalleryEntry("t-1", "person-03", unit(0, 0, 1))])
    assert gallery.counts() == (2, 2)
    assert gallery.nearest(unit(0, 0, 1)[None], k=1)[0][0].identity_id == "person-03"
    assert gallery.nearest(unit(1)[None], k=1)[0][0].similarity == pytest.approx(0.0, abs=1e-6)


def test_the_last_of_several_with_one_id_counts(gallery: Gallery) -> None:
    gallery.upsert([GalleryEntry("t-1", "person-01", unit(1)), GalleryEntry("t-1", "person-01", unit(0, 1))])
    assert_same_entries(gallery.entries(), [GalleryEntry("t-1", "person-01", unit(0, 1))])


def test_removal_counts_what_was_there(gallery: Gallery) -> None:
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n:02d}", unit(1, n)) for n in range(5)])
    assert gallery.remove(["t-1", "t-1", "t-3", "never"]) == 2
    assert gallery.remove(["t-1"]) == 0
    assert gallery.counts() == (3, 3)
    assert gallery.remove(["t-0", "t-2", "t-4"]) == 3
    assert gallery.nearest(unit(1)[None], k=2) == [[]]


def test_odd_names_come_back(gallery: Gallery) -> None:
    names = ["person 01", "Ünïcødé-人", "a/b\\c", "'; drop table people; --", "x" * 300]
    entries = [GalleryEntry(f"t-{name}", name, unit(1, place)) for place, name in enumerate(names)]
    gallery.upsert(entries)
    assert_same_entries(gallery.entries(), entries)


@pytest.mark.parametrize(("rows", "dtype", "k"), [(1, np.float64, 1), (1, np.float32, 0)])
def test_malformed_queries_are_refused(gallery: Gallery, rows: int, dtype: type[np.generic], k: int) -> None:
    with pytest.raises(GalleryError):
        gallery.nearest(np.ones((rows, DIMENSION), dtype), k=k)


def test_broken_numbers_are_refused(gallery: Gallery) -> None:
    broken = unit(1)
    broken[3] = np.nan
    with pytest.raises(GalleryError, match="finite"):
        gallery.nearest(broken[None], k=1)
    for vector in (broken, np.zeros(DIMENSION, np.float32), 2 * unit(1)):
        with pytest.raises(GalleryError, match="unit vector"):
            gallery.upsert([GalleryEntry("t-1", "person-01", vector)])
    assert gallery.counts() == (0, 0)


def test_another_dimension_is_refused(gallery: Gallery) -> None:
    other = np.array([1, 0, 0], np.float32)
    with pytest.raises(ModelMismatchError, match=r"model\.id"):
        gallery.upsert([GalleryEntry("t-1", "person-01", other)])
    with pytest.raises(ModelMismatchError, match=r"model\.id"):
        gallery.nearest(other[None], k=1)


def test_the_same_as_a_slow_loop_through_a_random_life(gallery: Gallery) -> None:
    rng = np.random.default_rng(11)
    held: dict[str, GalleryEntry] = {}
    for _ in range(4):
        ids = [f"t-{n:03d}" for n in rng.integers(0, 150, 60)]
        vectors = random_units(rng, 60)
        vectors[:10] = vectors[0]
        changes = [GalleryEntry(i, f"person-{rng.integers(0, 25):02d}", v) for i, v in zip(ids, vectors, strict=True)]
        gallery.upsert(changes)
        held.update({entry.template_id: entry for entry in changes})
        gone = [f"t-{n:03d}" for n in rng.integers(0, 150, 25)]
        assert gallery.remove(gone) == sum(held.pop(i, None) is not None for i in dict.fromkeys(gone))
        assert_same_entries(gallery.entries(), list(held.values()))
        assert gallery.counts() == (len({entry.identity_id for entry in held.values()}), len(held))
        queries = random_units(rng, 5)
        for k in (1, 4, 40):
            for query, found in zip(queries, gallery.nearest(queries, k=k), strict=True):
                assert_same_people(found, slow_people(list(held.values()), query, k))
                assert_same_people(gallery.nearest(query[None], k=k)[0], slow_people(list(held.values()), query, k))
