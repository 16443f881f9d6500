"""The eight-bit bounds, and the exact lookup among many people that rests on them."""

from __future__ import annotations

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


def bounds_of(rows: Float32, query: Float32, absent: np.ndarray) -> tuple[Float32, Float32]:
    codes, code = shortlist.encode(rows, absent), shortlist.encode_query(query)
    numbers = code.numbers(query, codes)
    upper, best = np.empty(len(rows), np.float32), np.full(len(rows), -np.inf, np.float32)
    shortlist.bounds(codes.whole, codes.scales, codes.rests, code.whole, numbers, upper, best)
    return upper, best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 8, 31, 128, 512, 2048]), st.sampled_from([0.0, 1e-4, 0.05, 3.0]))
def test_every_cosine_lies_between_its_bounds(seed: int, dimension: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    query = units(rng, 1, dimension)[0]
    near = query + spread * rng.normal(size=(20, dimension)) / np.sqrt(dimension)
    rows = np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)
    rows[0] = 0.0
    rows[1] = np.eye(1, dimension, dtype=np.float32)[0]  # one number holds it all
    upper, lower = bounds_of(rows, query, np.zeros(len(rows), np.bool_))
    cosines = rows.astype(np.float64) @ query.astype(np.float64)
    assert np.all(upper >= cosines)
    # The lower bounds come sorted; if each were a true bound, sorting both keeps them below.
    assert np.all(lower <= np.sort(cosines)[::-1])
    assert np.all(np.sort(upper)[::-1] - lower < 0.2)


def test_the_absent_are_never_found() -> None:
    rows = units(np.random.default_rng(3), 5, 16)
    absent = np.array([False, True, False, True, False])
    upper, best = bounds_of(rows, rows[1], absent)
    assert np.isnan(upper).tolist() == absent.tolist()
    assert np.isneginf(best).sum() == 2
    assert shortlist.at_least(upper, -9.0).tolist() == [0, 2, 4]


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


def _direction(vector: Float32) -> Float32:
    wide = vector.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide), np.float32)
