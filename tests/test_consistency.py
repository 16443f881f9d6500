"""Outliers among a person's photos, and covering choices: by hand in the plane."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attendance.consistency import OutlierLimits, covering, outliers, similarity_to_others
from attendance.types import Float32

LIMITS = OutlierLimits(pair=math.cos(math.radians(40)), mean=math.cos(math.radians(30)))


def at(*degrees: float) -> Float32:
    """Unit vectors in these directions of the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def places(*degrees: float) -> list[int]:
    return [outlier.place for outlier in outliers(at(*degrees), LIMITS)]


def test_photos_that_agree_have_no_outlier_and_one_alone_has_none() -> None:
    assert places(0, 10, 20) == []
    assert places(0) == []


def test_the_one_that_is_far_is_found_with_what_it_missed() -> None:
    (outlier,) = outliers(at(0, 90, 10), LIMITS)
    assert outlier.place == 1
    assert outlier.similarity == pytest.approx(math.cos(math.radians(85)), abs=1e-6)
    assert outlier.least == LIMITS.mean


def test_one_bad_photo_does_not_condemn_the_good_ones() -> None:
    # With the far one among them the others' mean lies 36 degrees from the first.
    assert places(0, 8, 110) == [2]
    assert places(0, 5, 10, 100, 105) == [3, 4] or places(0, 5, 10, 100, 105) == [4, 3]


def test_of_two_that_disagree_nothing_tells_which_is_right() -> None:
    assert sorted(places(0, 50)) == [0, 1]
    assert places(0, 39) == []


def test_the_answer_does_not_depend_on_the_order_and_stands_when_asked_again() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        degrees = rng.uniform(0, 120, rng.integers(2, 9))
        order = rng.permutation(len(degrees))
        first = {float(degrees[p]) for p in places(*degrees)}
        assert first == {float(degrees[order][p]) for p in places(*degrees[order])}
        left = [d for d in degrees.tolist() if d not in first]
        assert places(*left) == [] if len(left) > 1 else True


def test_similarity_to_the_others_is_that_to_their_mean_direction() -> None:
    vectors = at(0, 30, 75, 80)
    for place, similarity in enumerate(similarity_to_others(vectors)):
        others = np.delete(vectors.astype(np.float64), place, axis=0).sum(axis=0)
        assert similarity == pytest.approx(float(vectors[place] @ others) / np.linalg.norm(others), abs=1e-6)


def test_a_choice_covers_and_leaves_doubles_out() -> None:
    vectors = at(0, 1, 2, 45, 90)
    chosen = covering(vectors, at()[:0].reshape(0, 2), 3)
    assert chosen[0] == 3  # the nearest to the middle, at 27 degrees
    assert set(chosen) == {0, 3, 4}


def test_what_is_taken_already_needs_no_double() -> None:
    assert covering(at(0, 44, 90), at(1, 46), 1) == [2]
    assert covering(at(0, 44, 90), at(1, 46), 0) == []
    assert covering(at(0, 44, 90), at(1), 7) == [0, 1, 2]
