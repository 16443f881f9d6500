"""The error budget: how many wrong punches a month the operating point is expected to make. Pure.

How many people come is asked for, never assumed. A stranger's pass is wrong with the rate of accepted strangers (FPIR).
A known person's pass is wrong when they are missed and, being as good as a stranger to everybody else, taken for one of
them; the two are taken to be independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

DAYS = 30
_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A rate and its 95 % interval, 0..1."""

    expected: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.expected <= self.high <= 1.0:
            raise ValueError(f"expected 0 <= low <= expected <= high <= 1, got {self}")


@dataclass(frozen=True, slots=True)
class Count:
    """An expected number, and between which numbers 95 of 100 months lie."""

    expected: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A month's errors: strangers punched, people punched as somebody else, both together, and known passes missed."""

    days: int
    strangers: Count
    mistaken: Count
    wrong: Count
    missed: Count


def error_budget(
    *, fpir: Uncertain, fnir: Uncertain, people_passes: float, stranger_passes: float, days: int = DAYS, seed: int = 0
) -> Budget:
    """What a month brings.

    The intervals hold what is not known of the rates and the chance of the month itself: rates are drawn (log-normal,
    as wide as their intervals), then counts (Poisson).

    Args:
        fpir: share of strangers' passes accepted as anybody.
        fnir: share of known people's passes missed.
        people_passes: passes of known people a day, 0 or more.
        stranger_passes: passes of strangers a day, 0 or more.
        days: in the month.
        seed: of the draws.

    Raises:
        ValueError: passes or days below 0, or no numbers.
    """
    if not (0.0 <= people_passes < math.inf and 0.0 <= stranger_passes < math.inf and days >= 1):
        raise ValueError(f"passes must be 0 or more and days 1 or more, got {people_passes}, {stranger_passes}, {days}")
    rng = np.random.default_rng(seed)
    accepted, missed = (_drawn(rate, rng) for rate in (fpir, fnir))
    known, unknown = people_passes * days, stranger_passes * days
    strangers = rng.poisson(unknown * accepted)
    mistaken = rng.poisson(known * accepted * missed)
    return Budget(
        days,
        strangers=_count(unknown * fpir.expected, strangers),
        mistaken=_count(known * fpir.expected * fnir.expected, mistaken),
        wrong=_count(unknown * fpir.expected + known * fpir.expected * fnir.expected, strangers + mistaken),
        missed=_count(known * fnir.expected, rng.poisson(known * missed)),
    )


def _drawn(rate: Uncertain, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Draws around the expected rate, each side as wide as its side of the interval."""
    if rate.high == 0.0:
        return np.zeros(_SAMPLES)
    middle = max(rate.expected, rate.high / 100.0)
    up = math.log(max(rate.high, middle) / middle) / 1.96
    down = math.log(middle / min(max(rate.low, middle / 100.0), middle)) / 1.96
    steps = rng.standard_normal(_SAMPLES)
    return np.minimum(middle * np.exp(np.where(steps > 0.0, up, down) * steps), 1.0)


def _count(expected: float, draws: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Count:
    low, high = np.quantile(draws, [0.025, 0.975], method="closest_observation")
    return Count(expected, int(low), int(high))
