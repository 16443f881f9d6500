"""Figures of millions of pairs, whose scores are counted in narrow bins instead of kept.

A bin is 1 / 32768 of a cosine wide, and scores of one bin are accepted or rejected together, as equal ones are: a rate
at a target is never flattered. What is measured of the counts is measured in attendance/metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attendance import metrics
from attendance.types import Float32
from lab.evaluate.shared import rate_key, rates_for

BINS = 1 << 16
CHUNK = 1 << 18
ROWS = 512

Part = tuple[metrics.Floats, np.ndarray, np.ndarray, np.ndarray]
"""Cosines, truth, and the people of the first and of the second side, (n,) each."""


class ScoreCounts:
    """Counts of cosines of same and different pairs, plain and for each of R draws of the people."""

    def __init__(self, draws: metrics.Ints | None = None) -> None:
        """``draws`` (R, P): how often each person counts."""
        self.draws = np.empty((0, 0), dtype=np.int64) if draws is None else draws
        self.pairs = 0
        self.different = 0
        self._counts = np.zeros((1 + len(self.draws), 2 * BINS))

    def add(self, scores: ArrayLike, same: ArrayLike, first: ArrayLike, second: ArrayLike) -> None:
        """Count pairs: cosines (n,), truth (n,), and each side's person (n,)."""
        kinds = np.asarray(same, dtype=bool)
        place = np.clip((np.asarray(scores, dtype=np.float64) + 1.0) * (BINS / 2), 0, BINS - 1).astype(np.int64)
        place += BINS * kinds
        self.pairs += len(place)
        self.different += int(np.count_nonzero(~kinds))
        self._counts[0] += np.bincount(place, minlength=2 * BINS)
        for row, draw in enumerate(self.draws, start=1):
            self._counts[row] += np.bincount(place, metrics.pair_weights(draw, first, second), minlength=2 * BINS)

    def curve(self, draw: int | None = None) -> metrics.Roc:
        """The curve of all pairs, or of one draw."""
        middles, same, numbers = self.binned(draw)
        return metrics.roc(middles, same, weights=numbers)

    def binned(self, draw: int | None = None) -> tuple[metrics.Floats, np.ndarray, metrics.Floats]:
        """Cosine and truth of every bin that holds a pair, and how many it holds in all or in one draw, (B,) each."""
        filled = np.flatnonzero(self._counts[0])
        bins = filled % BINS
        middles = np.where(bins == 0, metrics.FAILED, (bins + 0.5) / (BINS / 2) - 1.0)
        return middles, filled >= BINS, self._counts[0 if draw is None else draw + 1][filled]

    def result(self, level: float = 0.95) -> dict[str, Any]:
        """``auc``, ``eer``, ``tar_at_far`` where the pairs allow it, ``pairs``, and ``intervals`` of the draws."""
        rates = rates_for(self.different)
        found = np.array([_measures(self.curve(draw), rates) for draw in range(len(self.draws))])
        result = {**_named(_measures(self.curve(), rates), rates), "pairs": self.pairs}
        if len(found):
            tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
            result["intervals"] = _named([np.nanquantile(column, tails).tolist() for column in found.T], rates)
        return result


def listed_pairs(
    vectors: Float32, one: np.ndarray, two: np.ndarray, *, same: np.ndarray, people: np.ndarray
) -> Iterator[Part]:
    """Pairs of places ``one`` and ``two`` (M,) in ``vectors`` (N, D) of ``people`` (N,), a chunk at a time."""
    for start in range(0, len(one), CHUNK):
        first, second = one[start : start + CHUNK], two[start : start + CHUNK]
        scores = np.einsum("nd,nd->n", vectors[first], vectors[second]).astype(np.float64)
        yield scores, same[start : start + CHUNK], people[first], people[second]


def all_pairs(vectors: Float32, people: np.ndarray) -> Iterator[Part]:
    """Every pair of N photos once, some rows at a time: (N, D) of unit length, and whom each shows (N,)."""
    for start in range(0, len(vectors), ROWS):
        rows = np.arange(start, min(start + ROWS, len(vectors)))
        scores = vectors[rows] @ vectors[start:].T
        row, column = np.nonzero(np.arange(start, len(vectors))[None, :] > rows[:, None])
        first, second = people[rows[row]], people[start + column]
        yield scores[row, column].astype(np.float64), first == second, first, second


def counted(parts: Iterator[Part], *, people: int, resamples: int = 100, seed: int = 0) -> ScoreCounts:
    """Count all parts, with draws of ``people`` people for intervals; 0 resamples: none."""
    draws = metrics.resample_people([people], resamples=resamples, seed=seed) if resamples else None
    counts = ScoreCounts(draws)
    for part in parts:
        counts.add(*part)
    return counts


def _measures(curve: metrics.Roc, rates: Sequence[float]) -> list[float]:
    return [metrics.auc(curve), metrics.eer(curve), *(metrics.tar_at_far(curve, rate) for rate in rates)]


def _named(values: Sequence[Any], rates: Sequence[float]) -> dict[str, Any]:
    auc, eer, *accepted = values
    return {"auc": auc, "eer": eer, "tar_at_far": {rate_key(r): v for r, v in zip(rates, accepted, strict=True)}}
