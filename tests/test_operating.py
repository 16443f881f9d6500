"""A gallery's operating point: what it is made of, by hand, and that it follows the gallery."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from attendance.operating import (
    AT_ONCE_PEOPLE,
    Chosen,
    Measured,
    RuleKeeper,
    alike_pairs,
    likeness_of,
    operating_point,
    roster_of,
    rule_for,
)
from attendance.search.exact import ExactGallery
from attendance.types import Float32, GalleryEntry, StrangerTail

TAIL = StrangerTail(
    data="made up",
    galleries=1,
    base=0.8,
    per_people=0.02,
    per_rate=-0.01,
    per_single=-0.01,
    lead_base=-0.5,
    lead_per_people=0.5,
    lead_cap=0.06,
    likeness_base=0.5,
    likeness_per_people=0.0,
    likeness_per_single=0.0,
    likeness_deviation=0.1,
    look_alike_margin=0.03,
    frames={1: 0.006, 4: 0.002},
    deviations={1e-2: 0.001},
)
RATES = {1e-1: 0.5, 1e-2: 0.6, 1e-3: 0.7}
MEASURED = Measured(margin=0.01, thresholds=RATES, person_thresholds=None, strangers=TAIL)
BARE = Measured(margin=0.01, thresholds=RATES, person_thresholds={1e-1: 0.55, 1e-2: 0.65, 1e-3: 0.75}, strangers=None)
TARGET = Chosen(target_fpir=0.01, fixed=None, min_frames=2)


def unit(*numbers: float) -> Float32:
    vector = np.array(numbers, np.float64)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def entries(**people: list[Float32]) -> list[GalleryEntry]:
    return [GalleryEntry(f"{who}-{i}", who, vector) for who, own in people.items() for i, vector in enumerate(own)]


def crowd(count: int, *, seed: int = 0, common: float = 0.0, dimension: int = 64) -> list[GalleryEntry]:
    """Unrelated people with one photo each; with ``common`` they share a direction and look alike."""
    rng = np.random.default_rng(seed)
    shared = np.ones(dimension) / np.sqrt(dimension)
    rows = rng.standard_normal((count, dimension)) / np.sqrt(dimension) + common * shared
    return [GalleryEntry(f"t{i:05d}", f"p{i:05d}", unit(*row)) for i, row in enumerate(rows)]


def test_a_roster_is_its_people_with_their_means() -> None:
    roster = roster_of(entries(b=[unit(1, 0), unit(0, 1)], a=[unit(0, -1)]))
    assert roster.people == ("a", "b")
    assert roster.means == pytest.approx(np.array([[0, -1], [0.70711, 0.70711]]), abs=1e-4)
    assert roster.photos == pytest.approx(np.array([[0, -1], [1, 0]]))
    assert (roster.templates, roster.single_share) == (3, 0.75)


def test_nobody_is_a_roster_too() -> None:
    point = operating_point(roster_of([]), MEASURED, TARGET)
    assert (point.people, point.likeness, point.pairs) == (0, None, ())


@pytest.mark.parametrize(
    ("people", "single_share", "threshold", "weight"),
    [
        (100, 1.0, 0.8 + 0.04 - 0.01 * np.log10(-np.log(0.99)) - 0.01, 0.5),
        (1000, 0.2, 0.8 + 0.06 - 0.01 * np.log10(-np.log(0.99)) - 0.002, 1.0),
        (10, 1.0, 0.8 + 0.02 - 0.01 * np.log10(-np.log(0.99)) - 0.01, 0.0),
        (100_000, 1.0, 0.8 + 0.1 - 0.01 * np.log10(-np.log(0.99)) - 0.01, 1.0),
    ],
)
def test_the_threshold_grows_with_people_and_templates(
    people: int, single_share: float, threshold: float, weight: float
) -> None:
    rule = rule_for(people, MEASURED, TARGET, templates=people, single_share=single_share, shift=0.0)
    assert rule.threshold == pytest.approx(threshold, abs=1e-9)
    assert rule.lead_weight == pytest.approx(weight)
    assert (rule.lead_cap, rule.margin, rule.look_alike_margin) == (0.06, 0.01, 0.03)
    assert rule.pass_shifts == pytest.approx((0.006, 0.004))  # half way from 1 to 4 frames in their logarithm


def test_the_rate_of_one_comparison_is_the_least() -> None:
    strict = Measured(0.01, {1e-1: 0.9, 1e-2: 0.95}, None, TAIL)
    assert rule_for(5, strict, TARGET, templates=5, single_share=1.0, shift=0.0).threshold == pytest.approx(0.95)


def test_a_card_without_strangers_divides_the_rate_by_the_people() -> None:
    one = rule_for(10, BARE, TARGET, templates=10, single_share=1.0, shift=0.0)
    assert one.threshold == pytest.approx(0.7)
    assert one.lead_weight == 0.0 and one.pass_shifts == ()
    several = rule_for(10, BARE, TARGET, templates=20, single_share=0.5, shift=0.0)
    assert several.threshold == pytest.approx(0.75)
    assert several.look_alike_margin == pytest.approx(0.02)


def test_a_fixed_threshold_is_left_alone() -> None:
    rule = rule_for(100, MEASURED, Chosen(0.01, 0.42, 2), templates=100, single_share=1.0, shift=0.02)
    assert (rule.threshold, rule.lead_weight, rule.pass_shifts) == (0.42, 0.0, ())


def test_likeness_is_the_median_of_the_nearest_others() -> None:
    roster = roster_of(entries(a=[unit(1, 0, 0)], b=[unit(0.8, 0.6, 0)], c=[unit(0, 0, 1)]))
    # a and b are each other's nearest at 0.8, c's nearest is at 0.
    assert likeness_of(roster) == pytest.approx(0.8)
    assert likeness_of(roster_of(entries(a=[unit(1, 0)]))) is None


def test_people_more_alike_than_usual_raise_the_threshold_and_less_alike_people_change_nothing() -> None:
    usual = operating_point(roster_of(crowd(100)), MEASURED, TARGET)
    alike = operating_point(roster_of(crowd(100, common=1.3)), MEASURED, TARGET)
    assert usual.likeness is not None and usual.likeness < 0.5 and usual.shift == 0.0
    assert alike.likeness is not None and alike.likeness > 0.517
    expected = min(alike.likeness - 0.5 - 1.7 * 0.1 / 10, 0.03)
    assert alike.shift == pytest.approx(expected) and alike.shift > 0.0
    assert alike.rule.threshold == pytest.approx(usual.rule.threshold + alike.shift)


def test_look_alikes_are_found_by_a_plain_comparison_of_all() -> None:
    roster = roster_of(crowd(700, dimension=8))
    found = alike_pairs(roster, 0.8)
    cosines = roster.means.astype(np.float64) @ roster.means.T.astype(np.float64)
    plain = {
        (roster.people[i], roster.people[j]) for i in range(700) for j in range(i + 1, 700) if cosines[i, j] >= 0.8
    }
    assert {(pair.one, pair.other) for pair in found} == plain and len(plain) > 10
    assert [pair.similarity for pair in found] == sorted((pair.similarity for pair in found), reverse=True)


def test_twins_are_look_alikes_in_the_rule() -> None:
    point = operating_point(roster_of([*crowd(20), *entries(z=[unit(1, *[0] * 63)], y=[unit(1, 0.1, *[0] * 62)])]),
                            MEASURED, TARGET)  # fmt: skip
    assert [(pair.one, pair.other) for pair in point.pairs] == [("y", "z")]
    assert point.pairs[0].similarity == pytest.approx(1 / np.sqrt(1.01), abs=1e-5)
    assert point.rule.are_alike("z", "y") and not point.rule.are_alike("z", "p00001")


def gallery_with(people: list[GalleryEntry]) -> ExactGallery:
    gallery = ExactGallery("made-up", len(people[0].vector))
    gallery.upsert(people)
    return gallery


def test_the_rule_follows_a_small_gallery_at_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    people = crowd(40)
    gallery = gallery_with(people[:20])
    keeper = RuleKeeper(gallery, MEASURED, TARGET)
    with caplog.at_level(logging.INFO):
        before = keeper()
        assert keeper() is before
        gallery.upsert(people[20:])
        after = keeper()
    assert after.threshold == pytest.approx(before.threshold + 0.02 * np.log10(2))
    assert [record.getMessage().split(" for ")[1].split(" with")[0] for record in caplog.records] == [
        "20 people",
        "40 people",
    ]
    # As many people and templates as before, but one of them is another's twin now.
    gallery.upsert([GalleryEntry(people[0].template_id, people[0].identity_id, people[1].vector)])
    assert keeper().are_alike("p00000", "p00001")


def test_a_large_gallery_is_compared_beside_the_lookups() -> None:
    people = crowd(AT_ONCE_PEOPLE + 30)
    gallery = gallery_with(people[:-1])
    keeper = RuleKeeper(gallery, MEASURED, TARGET)
    before = keeper()
    twin = GalleryEntry("twin", "twin", people[3].vector)
    gallery.upsert([twin])
    assert keeper().threshold > before.threshold
    deadline = time.monotonic() + 20.0
    while not keeper().are_alike("p00003", "twin") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert keeper().are_alike("p00003", "twin")
