"""The eight-bit bounds, and the exact lookup among many people that rests on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attendance.search import exact, shortlist
from attendance.search.exact import CHUNK_PLACES, ExactGallery
from attendance.types import Float32, GalleryEntry

MANY = 2 * CHUNK_PLACES + 37


def units(rng: np.random.Generator, count: int, dimension: int) -> Float32:
    rows = rng.normal(size=(count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def bounds_of(rows: Float32, queries: Float32, absent: np.ndarray) -> list[tuple[list[int], Float32, Float32]]:
    """Of each query the places noted, their upper bounds, and the lower bounds sorted: nobody is kept out, as k = n."""
    coded = shortlist.Coded.of([shortlist.encode(rows, absent)], places=len(rows))
    codes = shortlist.encode_queries(queries)
    found = shortlist.look(coded, slice(1), queries, codes, k=len(rows))
    return [(p.tolist(), u, b) for p, u, b in zip(found.places, found.uppers, found.best, strict=True)]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 8, 31, 128, 512, 2048]),
    st.sampled_from([0.0, 1e-4, 0.05, 3.0]),
    st.sampled_from([1, 2, 3, 7]),
)
def test_every_cosine_lies_between_its_bounds(seed: int, dimension: int, spread: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    queries = units(rng, count, dimension)
    near = queries[0] + spread * rng.normal(size=(20, dimension)) / np.sqrt(dimension)
    rows = np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)
    rows[0] = 0.0
    rows[1] = np.eye(1, dimension, dtype=np.float32)[0]  # one number holds it all
    found = bounds_of(rows, queries, np.zeros(len(rows), np.bool_))
    for query, (places, upper, lower) in zip(queries, found, strict=True):
        cosines = rows.astype(np.float64) @ query.astype(np.float64)
        assert places == list(range(20))
        assert np.all(upper >= cosines)
        # The lower bounds come sorted; if each were a true bound, sorting both keeps them below.
        assert np.all(lower <= np.sort(cosines)[::-1])
        assert np.all(np.sort(upper)[::-1] - lower < 0.2)


def test_the_absent_are_never_found() -> None:
    rows = units(np.random.default_rng(3), 5, 16)
    absent = np.array([False, True, False, True, False])
    for places, _, best in bounds_of(rows, rows[1:3], absent):
        assert places == [0, 2, 4]
        assert np.isneginf(best).sum() == 2


@pytest.mark.parametrize("count", [1, 5])
def test_sums_of_whole_numbers_do_not_overflow(count: int) -> None:
    """The largest code times the largest query, in every place of a long vector."""
    queries = np.full((count, 4096), 1 / 64, np.float32)
    rows = np.concatenate([queries[:1], -queries[:1]])
    for places, upper, best in bounds_of(rows, queries, np.zeros(2, np.bool_)):
        assert places == [0, 1]
        np.testing.assert_allclose(upper, [1, -1], atol=1e-2)
        np.testing.assert_allclose(best, [1, -1], atol=1e-2)


@pytest.fixture(scope="module")
def crowd() -> tuple[ExactGallery, Float32]:
    """Many people of one template each: a few alike to the last bit, a thousand within a hair of one another."""
    rng = np.random.default_rng(8)
    rows = units(rng, MANY, 32)
    rows[100:1100] = rows[99] + rng.normal(size=(1000, 32)) * 1e-5
    rows[100:1100] /= np.linalg.norm(rows[100:1100], axis=1, keepdims=True)
    rows[5000] = rows[16000] = rows[7]
    gallery = ExactGallery("card-a", 32)
    gallery.upsert([GalleryEntry(f"t-{n:05d}", f"person-{n:05d}", row) for n, row in enumerate(rows)])
    return gallery, rows


def by_sorting(rows: dict[str, Float32], query: Float32, k: int) -> list[str]:
    """The k nearest by float64 cosines of everybody, ties by name."""
    cosines = (np.stack(list(rows.values())).astype(np.float64) * query).sum(axis=1)
    return [who for _, who in sorted(zip((-cosines).tolist(), rows, strict=True))[:k]]


@pytest.mark.parametrize("k", [1, 2, 5, 64, 80])
def test_among_many_people_the_answer_is_that_of_sorting_everybody(crowd: tuple[ExactGallery, Float32], k: int) -> None:
    gallery, rows = crowd
    assert gallery.counts()[0] >= exact._CODED_FROM
    # A single template's direction is the template, normalised once more.
    means = {e.identity_id: _direction(e.vector) for e in gallery.entries()}
    queries = np.concatenate([rows[[7, 99, 600, 16000]], units(np.random.default_rng(k), 4, 32)])
    expected = [by_sorting(means, query, k) for query in queries]
    one_by_one = [gallery.nearest(query[None], k=k)[0] for query in queries]
    assert [[c.identity_id for c in found] for found in one_by_one] == expected
    assert gallery.nearest(queries, k=k) == one_by_one


def gallery_of(rows: Float32, owners: list[str]) -> tuple[ExactGallery, dict[str, Float32]]:
    """The gallery, and everybody's mean direction made another way."""
    gallery = ExactGallery("card-a", rows.shape[1], chunk_places=64, coded_from=1)
    pairs = list(zip(owners, rows, strict=True))
    gallery.upsert([GalleryEntry(f"t-{n:06d}", who, row) for n, (who, row) in enumerate(pairs)])
    held: dict[str, list[Float32]] = {}
    for who, row in pairs:
        held.setdefault(who, []).append(row)
    return gallery, {
        who: _direction(np.stack(each).astype(np.float64).sum(axis=0)) for who, each in sorted(held.items())
    }


def hard_rows(rng: np.random.Generator, kind: str, people: int, dimension: int) -> Float32:
    """Vectors that eight bits cannot tell apart, or that have everything in one number."""
    if kind == "alike":
        rows = rng.normal(size=(1, dimension)) + 10.0 ** -rng.uniform(2, 8) * rng.normal(size=(people, dimension))
    elif kind == "doubles":
        rows = rng.normal(size=(7, dimension))[rng.integers(0, 7, people)]
    elif kind == "axes":
        rows = np.eye(dimension)[rng.integers(0, dimension, people)] * rng.choice([-1.0, 1.0], (people, 1))
        rows += 1e-7 * rng.normal(size=rows.shape)
    else:
        rows = rng.normal(size=(people, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["alike", "doubles", "axes", "random"]), st.sampled_from([3, 16, 70]))
def test_hard_galleries_are_answered_as_by_sorting(seed: int, kind: str, dimension: int) -> None:
    """Ties, doubles and near ties, people with many templates, more asked for than there are, alone and together."""
    rng = np.random.default_rng(seed)
    people = int(rng.integers(1, 150))
    rows = hard_rows(rng, kind, people, dimension)
    owners = [f"person-{n:04d}" for n in rng.integers(0, max(people // 2, 1), people)]
    gallery, means = gallery_of(rows, owners)
    queries = np.concatenate([rows[rng.integers(0, people, 3)], units(rng, 2, dimension)])
    for k in (1, 2, 64):
        expected = [by_sorting(means, query, k) for query in queries]
        assert [[c.identity_id for c in found] for found in gallery.nearest(queries, k=k)] == expected
        assert [[c.identity_id for c in gallery.nearest(q[None], k=k)[0]] for q in queries] == expected


@pytest.mark.parametrize("count", [1, 4])
def test_lists_longer_than_their_first_room_lose_nobody(count: int) -> None:
    """A thousand who cannot be told apart come first, and one who is nearer comes last."""
    rng = np.random.default_rng(5)
    far = np.tile(units(rng, 1, 16), (1000, 1))
    near = units(rng, 1, 16)
    rows = np.concatenate([far, near, far[:200]])
    gallery, means = gallery_of(rows, [f"person-{n:04d}" for n in range(len(rows))])
    coded = shortlist.Coded.of(
        [shortlist.encode(np.stack(list(means.values())), np.zeros(1201, np.bool_))], places=1201
    )
    for query, best in ((far[0], [*range(1000), *range(1001, 1201)]), (near[0], [1000])):
        queries = np.tile(query, (count, 1))
        found = shortlist.look(coded, slice(1), queries, shortlist.encode_queries(queries), k=1)
        for places in shortlist.nearest_places([found]):
            assert places.tolist() == best
    assert gallery.nearest(far[:1], k=2)[0][1].identity_id == "person-0001"


def test_changes_are_found_at_once_among_many_people(crowd: tuple[ExactGallery, Float32]) -> None:
    gallery, rows = crowd
    new = units(np.random.default_rng(21), 3, 32)
    assert gallery.nearest(rows[7:8], k=1)[0][0].identity_id == "person-00007"
    gallery.upsert([GalleryEntry(f"n-{n}", f"new-{n}", row) for n, row in enumerate(new)])
    assert [gallery.nearest(row[None], k=1)[0][0].identity_id for row in new] == ["new-0", "new-1", "new-2"]
    assert gallery.remove(["n-0", "n-2", "t-00007"]) == 3
    assert gallery.nearest(rows[7:8], k=1)[0][0].identity_id == "person-05000"
    assert gallery.nearest(new[:1], k=1)[0][0].identity_id != "new-0"
    gallery.upsert([GalleryEntry("n-9", "new-9", new[0]), GalleryEntry("t-00007", "person-00007", rows[7])])
    gallery.remove(["n-1", "n-9"])
    assert gallery.counts() == (MANY, MANY)


def _direction(vector: Any) -> Float32:
    wide = vector.astype(np.float64)
    length = np.linalg.norm(wide)
    return np.asarray(wide / length if length > 0.0 else wide, np.float32)
