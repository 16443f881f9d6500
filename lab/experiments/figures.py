"""What the finished rows say together: means over seeds, intervals over people, differences pair by pair. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attendance import metrics
from lab.experiments.judge import unpacked

RESAMPLES, SEED = 1000, 0
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A share with its 95 % interval over people; ``low`` and ``high`` are None where none can be given."""

    mean: float
    low: float | None
    high: float | None

    def text(self) -> str:
        """In per cent: ``82.31 [80.90, 83.75]``."""
        if self.low is None or self.high is None:
            return f"{100.0 * self.mean:.2f}"
        return f"{100.0 * self.mean:.2f} [{100.0 * self.low:.2f}, {100.0 * self.high:.2f}]"

    def excludes_zero(self) -> bool:
        """Whether a difference is one."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True, slots=True)
class _Judgement:
    accuracy: float
    low: float
    high: float
    right: str

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high


class PairPeople:
    """Which people each pair of the report half shows, and draws of them."""

    def __init__(self, people: Mapping[str, Any], *, resamples: int = RESAMPLES) -> None:
        self.first, self.second = np.array(people["first"]), np.array(people["second"])
        draws = metrics.resample_people([int(people["people"])], resamples=resamples, seed=SEED)
        self._weights = np.stack([metrics.pair_weights(draw, self.first, self.second) for draw in draws])

    def share(self, right: np.ndarray) -> Value:
        """(N,) how right each pair is, 0 to 1, or a difference of such: the mean and its interval."""
        sums = self._weights.sum(axis=1)
        drawn = (self._weights @ right)[sums > 0] / sums[sums > 0]
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Value(float(right.mean()), float(low), float(high))

    def right(self, judgements: Sequence[_Judgement]) -> np.ndarray:
        """(N,) the share of the seeds that judged each pair right."""
        shares: np.ndarray = np.mean([unpacked(it.right, len(self.first)) for it in judgements], axis=0)
        return shares


def judged(rows: Sequence[Row]) -> list[Row]:
    """The rows that did not diverge."""
    return [row for row in rows if not row.get("diverged")]


def accuracy(rows: Sequence[Row], people: PairPeople | None, condition: str | None = None) -> Value | None:
    """Of one entry's seeds together: the mean of their accuracies with an interval over people; None without a row.

    With ``condition`` on probes degraded so.
    """
    whole = _judgements(rows, condition)
    if not whole:
        return None
    mean = float(np.mean([it.accuracy for it in whole]))
    if len(whole) == 1:
        return Value(mean, *whole[0].interval)
    if people is None:
        return Value(mean, None, None)
    value = people.share(people.right(whole))
    assert value.low is not None and value.high is not None
    # The folds are not all as long as each other: the interval is moved to the folds' mean.
    return Value(mean, value.low + mean - value.mean, value.high + mean - value.mean)


def difference(
    rows: Sequence[Row], others: Sequence[Row], people: PairPeople | None, condition: str | None = None
) -> Value | None:
    """How much better one entry is than another, pair by pair, which is surer than two intervals beside each other."""
    one, two = _judgements(rows, condition), _judgements(others, condition)
    if not one or not two or people is None or not all(it.right for it in (*one, *two)):
        return None
    return people.share(people.right(one) - people.right(two))


def _judgements(rows: Sequence[Row], condition: str | None) -> list[_Judgement]:
    if condition is None:
        whole = [row for row in judged(rows) if "pairs" in row]  # trials have none
        found = [(row["pairs"]["accuracy"], row["pairs"]["intervals"]["accuracy"], row) for row in whole]
    else:
        cross = [row["cross"][condition] for row in judged(rows) if "cross" in row]
        found = [(it["accuracy"], it["interval"], it) for it in cross]
    return [_Judgement(value, interval[0], interval[1], it.get("right", "")) for value, interval, it in found]


def spread(rows: Sequence[Row]) -> float | None:
    """Largest minus smallest accuracy over the seeds."""
    values = [row["pairs"]["accuracy"] for row in judged(rows)]
    return max(values) - min(values) if len(values) > 1 else None
