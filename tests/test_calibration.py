"""Calibration: leave-one-out by a plain loop, and rates by the formula worked backwards."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.calibration import calibrate
from attendance.decide import decide
from attendance.embed.card import SimilarityStatistics
from attendance.operating import Chosen, Measured
from attendance.search.exact import ExactGallery
from attendance.types import GalleryEntry, Outcome
from tests.test_operating import BARE, MEASURED, RATES, TAIL, TARGET, crowd, unit

GENUINE = SimilarityStatistics(100, "made up", 0.78, 0.1, {0.01: 0.4, 0.5: 0.8, 0.99: 0.95})


def people(count: int, photos: int, *, noise: float = 0.06) -> list[GalleryEntry]:
    """People at random with some photos each, scattered around them."""
    rng = np.random.default_rng(4)
    entries = []
    for person in range(count):
        centre = rng.standard_normal(64) / 8.0
        entries += [
            GalleryEntry(f"t{person:03d}-{i}", f"p{person:03d}", unit(*(centre + noise * rng.standard_normal(64))))
            for i in range(photos)
        ]
    return entries


def test_each_photo_is_looked_up_by_its_persons_others() -> None:
    entries = people(12, 3)
    found = calibrate(entries, MEASURED, TARGET)
    missed = 0
    for left_out in entries:
        gallery = ExactGallery("made-up", 64)
        gallery.upsert([entry for entry in entries if entry is not left_out])
        decision = decide(gallery.nearest(left_out.vector[None], k=2)[0], found.point.rule)
        right = decision.best is not None and decision.best.identity_id == left_out.identity_id
        missed += not (decision.outcome is Outcome.KNOWN and right)
    assert found.misses is not None and 0 < missed < 36
    assert found.misses.rate.expected == pytest.approx(missed / 36)
    assert found.misses.rate.low <= missed / 36 <= found.misses.rate.high
    assert (found.misses.source, found.misses.photos, found.misses.people) == ("gallery", 36, 12)
    assert found.genuine.counts.sum() == 36
    assert found.impostors.counts.sum() == 36 * 11
    assert found.nearest.counts.sum() == 36


def test_misses_fall_as_more_strangers_are_let_in() -> None:
    found = calibrate(people(12, 3), MEASURED, TARGET)
    rates = [at.misses.expected for at in found.det]
    assert rates == sorted(rates) and rates[0] < rates[-1]
    assert all(at.misses.low <= at.misses.expected <= at.misses.high for at in found.det)
    own = next(at for at in found.det if at.fpir == TARGET.target_fpir)
    assert found.misses is not None and own.misses == found.misses.rate


def test_nothing_missed_has_an_upper_end_by_the_rule_of_three() -> None:
    misses = calibrate(people(12, 3, noise=0.001), MEASURED, TARGET).misses
    assert misses is not None
    assert misses.rate.expected == 0.0
    assert misses.rate.high == pytest.approx(3 / 36)


def test_strangers_are_expected_at_the_target() -> None:
    fpir = calibrate(crowd(100), MEASURED, TARGET).fpir
    assert fpir.expected == pytest.approx(0.01)
    # 1.96 deviations of 0.001 at -0.01 a decade.
    assert fpir.low == pytest.approx(0.01 * 10**-0.196, rel=0.01)
    assert fpir.high == pytest.approx(0.01 * 10**0.196, rel=0.01)


def test_a_card_without_strangers_and_a_fixed_threshold_give_a_bound() -> None:
    bare = calibrate(crowd(10), Measured(0.01, RATES, None, None), TARGET).fpir
    assert [bare.low, bare.expected, bare.high] == pytest.approx([0.001, 0.01, 0.01])
    fixed = calibrate(crowd(10), MEASURED, Chosen(0.01, 0.6, 1))
    assert fixed.target_fpir is None
    assert fixed.fpir.expected == pytest.approx(0.1)


def test_with_single_photos_the_card_tells_of_misses() -> None:
    found = calibrate(crowd(30), BARE, Chosen(0.01, 0.8, 1), genuine=GENUINE)
    assert found.misses is not None
    assert found.misses.source == "card"
    assert found.misses.rate.expected == pytest.approx(0.5)
    # Half of 100 pairs, by the score interval.
    assert (found.misses.rate.low, found.misses.rate.high) == pytest.approx((0.404, 0.596), abs=1e-3)
    assert calibrate(crowd(30), BARE, TARGET).misses is None
    assert found.det == ()


@pytest.mark.parametrize("count", [1, 2])
def test_very_small_galleries(count: int) -> None:
    found = calibrate(crowd(count), MEASURED, TARGET)
    assert found.point.people == count and found.impostors.counts.sum() == count * (count - 1)
    assert TAIL.data == "made up"
