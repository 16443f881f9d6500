"""Suppression and box arithmetic against plain loops."""

import math

import numpy as np
import pytest

from attendance.detect import boxes
from attendance.types import Float32


def plain_suppression(scored: Float32, most: float, *, by_smaller: bool) -> list[int]:
    """Take the best, strike out what overlaps it, repeat: in double precision."""
    extra = 1.0 if by_smaller else 0.0
    later_first = -1 if by_smaller else 1
    left = sorted(range(len(scored)), key=lambda i: (-scored[i, 4], later_first * i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        a = scored[best].astype(float)
        survivors = []
        for other in left:
            b = scored[other].astype(float)
            wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + extra)
            high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + extra)
            area_a = (a[2] - a[0] + extra) * (a[3] - a[1] + extra)
            area_b = (b[2] - b[0] + extra) * (b[3] - b[1] + extra)
            whole = min(area_a, area_b) if by_smaller else area_a + area_b - wide * high
            if wide * high / whole <= most:
                survivors.append(other)
        left = survivors
    return kept


def random_boxes(count: int, seed: int) -> Float32:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (count, 2))
    side = rng.uniform(10, 50, (count, 2))
    scores = rng.choice([0.7, 0.8, 0.9, 1.0], (count, 1))
    return np.concatenate((corner, corner + side, scores), axis=1).astype(np.float32)


@pytest.mark.parametrize("most", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_by_union(seed: int, most: float) -> None:
    scored = random_boxes(120, seed)
    assert boxes.keep_by_union(scored, most).tolist() == plain_suppression(scored, most, by_smaller=False)


@pytest.mark.parametrize("most", [0.3, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_by_smaller(seed: int, most: float) -> None:
    scored = random_boxes(120, seed)
    assert boxes.keep_by_smaller(scored, most).tolist() == plain_suppression(scored, most, by_smaller=True)


def test_suppression_of_nothing_is_nothing() -> None:
    nothing = np.empty((0, 5), np.float32)
    assert len(boxes.keep_by_union(nothing, 0.5)) == len(boxes.keep_by_smaller(nothing, 0.5)) == 0


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.6, 0.99])
def test_logit_is_where_the_probability_is_reached(probability: float) -> None:
    difference = boxes.logit(probability)
    assert math.exp(difference) / (1 + math.exp(difference)) == pytest.approx(probability)
    logits = np.array([[1.0, 1.0 + difference]], np.float32)
    assert boxes.probability(logits)[0] == pytest.approx(probability, abs=1e-6)


def test_probability_at_its_ends() -> None:
    assert boxes.logit(0.0) == -math.inf and boxes.logit(1.0) == math.inf
    assert boxes.probability(np.array([[200.0, -200.0], [-200.0, 200.0]], np.float32)).tolist() == [0.0, 1.0]


def test_proposals_stand_where_their_windows_do() -> None:
    windows = np.full((3, 4, 5), -9, np.float32)
    windows[1, 2] = (2.0, 0.1, 0.2, 0.3, 0.4)
    found = boxes.window_proposals(windows, 0.5, 0.0)
    # Column 2, row 1: pixels 4..16 and 2..14 of the level, plus one, doubled.
    assert found[:, :4].tolist() == [[10, 6, 32, 28]]
    assert found[0, 4] == pytest.approx(1 / (1 + math.exp(-2)))
    assert found[0, 5:] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_squares_share_the_centre_and_the_longer_side() -> None:
    assert boxes.squared(np.array([[10, 20, 30, 80]], np.float32)).tolist() == [[-10, 20, 50, 80]]


def test_offsets_and_points_are_shares_of_the_box() -> None:
    box = np.array([[10, 20, 29, 59]], np.float32)
    offsets = np.array([[0.1, -0.1, 0.5, 0.0]], np.float32)
    assert boxes.shifted(box, offsets, 1) == pytest.approx(np.array([[12, 16, 39, 59]]))
    points = np.array([[0, 0.5, 1, 0, 0, 0, 0.5, 1, 0, 0]], np.float32)
    assert boxes.placed(box, points)[0, :3] == pytest.approx(np.array([[9, 19], [19, 39], [29, 59]]))
