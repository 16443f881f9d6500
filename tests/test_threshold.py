"""The operating point against hand-computed values and its promises."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attendance.errors import ModelError
from attendance.threshold import HIGHEST, far_at, likeness_shift, operating_threshold, pass_shift, threshold_at
from attendance.types import StrangerTail

CARD = {1e-1: 0.5, 1e-2: 0.7, 1e-3: 0.8, 1e-4: 0.85}
RATES = st.floats(1e-12, 1.0)


@st.composite
def cards(draw: st.DrawFn) -> dict[float, float]:
    steps = draw(st.lists(st.integers(-56, 0), min_size=2, max_size=6, unique=True))
    rates = [10.0 ** (step / 8.0) for step in steps]
    cosines = draw(st.lists(st.floats(-1.0, 1.0), min_size=len(rates), max_size=len(rates)))
    return dict(zip(sorted(rates, reverse=True), sorted(cosines), strict=True))


@pytest.mark.parametrize(
    ("far", "cosine"),
    [
        (1e-1, 0.5),
        (1e-2, 0.7),
        (1e-4, 0.85),
        (10**-1.5, 0.6),
        (10**-2.25, 0.725),
        (10**-3.5, 0.825),
        (1e-5, 0.9),
        (1e-6, 0.95),
        (10**-4.5, 0.875),
        (1e-7, HIGHEST),
        (1e-30, HIGHEST),
        (0.5, 0.5),
        (1.0, 0.5),
    ],
)
def test_hand_computed_points(far: float, cosine: float) -> None:
    assert threshold_at(CARD, far) == pytest.approx(cosine, abs=1e-12)


def test_the_order_of_the_cards_points_does_not_matter() -> None:
    shuffled = {rate: CARD[rate] for rate in (1e-3, 1e-1, 1e-4, 1e-2)}
    assert threshold_at(shuffled, 3e-3) == threshold_at(CARD, 3e-3)


@given(cards())
def test_measured_points_are_met_exactly(card: dict[float, float]) -> None:
    for rate, cosine in card.items():
        assert threshold_at(card, rate) == pytest.approx(cosine, abs=1e-12)


@given(cards(), RATES, RATES)
def test_a_smaller_rate_never_has_a_lower_threshold(card: dict[float, float], one: float, other: float) -> None:
    assert threshold_at(card, min(one, other)) >= threshold_at(card, max(one, other))


@given(cards(), RATES)
def test_the_result_is_a_cosine_not_below_the_loosest_measured_one(card: dict[float, float], far: float) -> None:
    assert min(card.values()) <= threshold_at(card, far) <= max(HIGHEST, *card.values())


@pytest.mark.parametrize(
    ("target", "people", "cosine"),
    [(1e-2, 1, 0.7), (1e-2, 0, 0.7), (1e-2, -3, 0.7), (1e-2, 10, 0.8), (1e-3, 10, 0.85), (1e-3, 100, 0.9)],
)
def test_the_operating_point_divides_the_target_by_the_people(target: float, people: int, cosine: float) -> None:
    assert operating_threshold(CARD, target_fpir=target, people=people) == pytest.approx(cosine, abs=1e-12)


@given(cards(), st.floats(1e-6, 0.5), st.integers(-2, 10**6), st.integers(0, 10**6))
def test_more_people_never_lower_the_threshold(card: dict[float, float], target: float, people: int, more: int) -> None:
    few = operating_threshold(card, target_fpir=target, people=people)
    assert operating_threshold(card, target_fpir=target, people=people + more) >= few


@pytest.mark.parametrize("far", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_that_is_none_is_refused(far: float) -> None:
    with pytest.raises(ValueError, match="false-accept rate"):
        threshold_at(CARD, far)


@pytest.mark.parametrize("target", [0.0, 1.0, math.nan])
def test_a_target_that_is_none_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target_fpir"):
        operating_threshold(CARD, target_fpir=target, people=3)


@pytest.mark.parametrize(
    ("card", "word"),
    [
        ({}, "two rates"),
        ({1e-2: 0.5}, "two rates"),
        ({1e-2: 0.5, 1e-3: 0.4}, "fall"),
        ({1e-2: 0.5, 1.0000000000000001e-2 + 2e-18: 0.5}, "different rates"),
        ({1e-2: 0.5, 0.0: 0.6}, "rates"),
        ({1e-2: 0.5, 1e-3: math.nan}, "cosines"),
        ({1e-2: 0.5, 1e-3: 1.2}, "cosines"),
    ],
)
def test_a_card_without_usable_points_is_refused(card: dict[float, float], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        threshold_at(card, 1e-3)


@pytest.mark.parametrize("far", [1e-1, 3e-2, 1e-2, 5e-4, 1e-4, 1e-5])
def test_the_rate_of_a_threshold_is_its_inverse(far: float) -> None:
    assert far_at(CARD, threshold_at(CARD, far)) == pytest.approx(far)


def test_the_rate_of_a_threshold_beyond_the_cards() -> None:
    assert far_at(CARD, -1.0) == pytest.approx(1e-1)
    assert far_at({1e-1: 0.5, 1e-2: 0.5}, 0.9) == pytest.approx(1e-2)


TAIL = StrangerTail(
    "made up", 1, 0.8, 0.02, -0.01, -0.01, 0.0, 0.0, 0.06, 0.5, 0.02, 0.0, 0.05, 0.03, frames={}, deviations={}
)


@pytest.mark.parametrize(
    ("frames", "shift"), [(1, 0.008), (2, 0.007), (4, 0.006), (8, 0.005), (16, 0.004), (100, 0.004)]
)
def test_what_a_pass_needs_lies_on_a_line_in_log_frames(frames: int, shift: float) -> None:
    tail = dataclasses.replace(TAIL, frames={1: 0.008, 16: 0.004})
    assert pass_shift(tail, 1e-2, frames) == pytest.approx(shift)
    assert pass_shift(dataclasses.replace(TAIL, frames_per_rate=0.002), 1e-2, frames) == 0.0
    steep = dataclasses.replace(tail, frames_per_rate=0.002)
    decade = math.log10(math.log(1 - 1e-2) / math.log(1 - 1e-3))
    assert pass_shift(steep, 1e-3, frames) == pytest.approx(shift - 0.002 * decade)
    assert pass_shift(steep, 1e-5, frames) == pass_shift(steep, 1e-3, frames)


@pytest.mark.parametrize(
    ("likeness", "people", "shift"),
    [
        (0.56, 101, 0.56 - 0.54 - 1.7 * 0.05 / math.sqrt(101)),
        (0.9, 101, 0.03),  # bounded
        (0.5, 101, 0.0),  # less alike than usual gives nothing back
        (0.545, 101, 0.0),  # chance
        (0.9, 9, 0.0),  # too few to tell
    ],
)
def test_likeness_adds_within_bounds(likeness: float, people: int, shift: float) -> None:
    assert likeness_shift(TAIL, likeness, people=people, single_share=1.0) == pytest.approx(shift)
