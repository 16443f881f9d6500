"""MegaFace's protocol (Kemelmacher-Shlizerman et al. 2016): is the own person nearer than every distractor?

Each photo of a person in turn is the gallery together with all distractors, and every other photo of the person is a
probe. The refined figures leave out the photos of published noise lists, of both kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.errors import UsageError
from attendance.types import Float32
from lab.evaluate.shared import rate_key, rates_for
from lab.evaluate.streamed import BINS, ScoreCounts

ROWS = 1024


def read_noise(paths: Sequence[Path]) -> set[str]:
    """Photos by their path relative to their folder, one a line; ``#`` begins a comment."""
    try:
        lines = [line.strip() for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--noise: expected a readable list, got: {error}") from error
    return {line for line in lines if line and not line.startswith("#")}


def judge_distractors(
    probes: Float32,
    people: np.ndarray,
    distractors: Float32,
    *,
    resamples: int = 100,
    seed: int = 0,
    counts: ScoreCounts | None = None,
) -> dict[str, Any]:
    """``rank1`` and ``tar_at_far`` against so many distractors, with 95 % intervals over the probes' people.

    Args:
        probes: float32 (N, D) of unit length or zero for unread, two of each person or more.
        people: (N,) whom each shows, numbers from 0.
        distractors: float32 (M, D) of unit length, of nobody among ``people``; compared some rows at a time.
        resamples: draws of people; the distractors stay.
        seed: of the draws.
        counts: empty; filled with the pairs, for who draws their curves.
    """
    first, second = _own_pairs(people)
    if len(first) == 0:
        raise UsageError("expected two photos of a person or more among the probes, got one of each: give more")
    own = np.einsum("nd,nd->n", probes[first], probes[second]).astype(np.float64)
    read = np.asarray(probes.any(axis=1), dtype=bool)
    own[~(read[first] & read[second])] = metrics.FAILED
    counts = ScoreCounts() if counts is None else counts
    counts.add(own, np.ones(len(own), dtype=bool), people[first], people[second])
    nearest = np.full(len(probes), metrics.FAILED)
    for start in range(0, len(distractors), ROWS):
        scores = (probes @ distractors[start : start + ROWS].T).astype(np.float64)
        nearest = np.maximum(nearest, scores.max(axis=1))
        counts.add(scores.ravel(), np.zeros(scores.size, dtype=bool), (), ())
    curve = counts.curve()
    rates = rates_for(counts.different)
    # The distractors stay in every draw, so the thresholds do.
    reachable = [(curve.thresholds > -np.inf) & (curve.far <= rate + metrics.ULP_SLACK) for rate in rates]
    limits = [curve.thresholds[points][-1] for points in reachable]
    hits = [own > nearest[second], *(own >= limit - 1.0 / BINS for limit in limits)]

    def measure(draws: metrics.Ints) -> list[float]:
        return [metrics.top_k(hit, 1, weights=draws[people[second]]) for hit in hits]

    drawn = metrics.bootstrap_intervals(measure, [int(people.max()) + 1], resamples=resamples, seed=seed)
    intervals = [[float(low), float(high)] for low, high in drawn]
    keys = [rate_key(rate) for rate in rates]
    return {
        "rank1": metrics.top_k(hits[0], 1),
        "tar_at_far": {key: metrics.tar_at_far(curve, rate) for key, rate in zip(keys, rates, strict=True)},
        "probes": len(own),
        "distractors": len(distractors),
        "intervals": {"rank1": intervals[0], "tar_at_far": dict(zip(keys, intervals[1:], strict=True))},
    }


def _own_pairs(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every ordered pair of two photos of one person: the one in the gallery, and the probe."""
    pairs = []
    for person in np.unique(people):
        places = np.flatnonzero(people == person)
        one, two = np.meshgrid(places, places, indexing="ij")
        pairs.append(np.stack([one[one != two], two[one != two]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second
