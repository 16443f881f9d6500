"""The error budget against plain multiplication, and its intervals against a simulation by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.budget import Uncertain, error_budget

SURE = Uncertain(0.001, 0.001, 0.001)
NEVER = Uncertain(0.0, 0.0, 0.0)


def test_expected_numbers_are_passes_times_rates() -> None:
    budget = error_budget(fpir=SURE, fnir=Uncertain(0.1, 0.05, 0.2), people_passes=200.0, stranger_passes=50.0, days=30)
    assert budget.strangers.expected == pytest.approx(50 * 30 * 0.001)
    assert budget.mistaken.expected == pytest.approx(200 * 30 * 0.001 * 0.1)
    assert budget.wrong.expected == pytest.approx(1.5 + 0.6)
    assert budget.missed.expected == pytest.approx(600.0)


def test_with_sure_rates_the_interval_is_poissons() -> None:
    budget = error_budget(fpir=Uncertain(0.01, 0.01, 0.01), fnir=NEVER, people_passes=0.0, stranger_passes=100.0)
    counts = np.random.default_rng(5).poisson(30.0, 200_000)
    low, high = np.quantile(counts, [0.025, 0.975])
    assert abs(budget.strangers.low - low) <= 1 and abs(budget.strangers.high - high) <= 1
    assert (budget.mistaken.low, budget.mistaken.high, budget.missed.high) == (0, 0, 0)


def test_what_is_not_known_of_the_rate_widens_the_interval() -> None:
    sure = error_budget(fpir=Uncertain(0.01, 0.01, 0.01), fnir=NEVER, people_passes=0.0, stranger_passes=100.0)
    unsure = error_budget(fpir=Uncertain(0.01, 0.005, 0.02), fnir=NEVER, people_passes=0.0, stranger_passes=100.0)
    assert unsure.strangers.low < sure.strangers.low and unsure.strangers.high > sure.strangers.high
    assert 12 <= unsure.strangers.low <= 16 and 55 <= unsure.strangers.high <= 66


def test_a_rate_never_seen_still_has_an_upper_end() -> None:
    budget = error_budget(fpir=NEVER, fnir=Uncertain(0.0, 0.0, 0.03), people_passes=100.0, stranger_passes=0.0)
    assert budget.missed.expected == 0.0 and budget.missed.high > 30


def test_nobody_passes() -> None:
    budget = error_budget(fpir=SURE, fnir=SURE, people_passes=0.0, stranger_passes=0.0)
    assert (budget.wrong.expected, budget.wrong.low, budget.wrong.high) == (0.0, 0, 0)


@pytest.mark.parametrize("passes", [-1.0, float("nan"), float("inf")])
def test_passes_must_be_numbers(passes: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        error_budget(fpir=SURE, fnir=SURE, people_passes=passes, stranger_passes=1.0)


def test_an_interval_holds_its_rate() -> None:
    with pytest.raises(ValueError, match="low <= expected"):
        Uncertain(0.1, 0.2, 0.3)
