"""The measures of recognition, once for everybody: the lab, build_database.py and the benchmarks. Pure NumPy.

A score is a cosine, accepted when it is at least the threshold; equal scores are accepted or rejected together. A face
that could not be read scores `FAILED`, which no threshold accepts. Weights are how often a pair or probe counts: the
bootstrap draws people, so a pair of two people counts the product of how often each was drawn.

A measure whose weights sum to zero (a bootstrap draw without a single different pair) is NaN; one that is asked of no
data at all is a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attendance.types import Candidate

FAILED = -1.0
"""Score of a face that could not be read: rejected at every threshold."""

ULP_SLACK = 1e-12
"""Added to a target rate, because a share such as 29 / 100 may lie an ulp above the number that means it."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """The exact curve: one point for each distinct score, strictest first.

    ``thresholds`` (T,) falls from +inf (nothing accepted) to the lowest score and ends with -inf, the closing point
    (1, 1) that no threshold reaches when faces failed. ``far`` (T,) is the accepted share of different pairs, ``tar``
    (T,) that of same pairs.
    """

    thresholds: Floats
    far: Floats
    tar: Floats


def roc(scores: ArrayLike, same: ArrayLike, *, weights: ArrayLike | None = None) -> Roc:
    """Sweep the threshold over all scores.

    Args:
        scores: (N,) cosines, `FAILED` for pairs with an unread face.
        same: (N,) true where both images show one person.
        weights: (N,) not negative, default 1 each.

    Raises:
        ValueError: NaN, other lengths, or pairs of one kind only.
    """
    values, kinds, counts = _pairs(scores, same, weights)
    if kinds.all() or not kinds.any():
        raise ValueError("a ROC needs same pairs and different pairs, got one kind only")
    values, kinds, counts, ends = _by_falling_score(values, kinds, counts)
    accepted_same = np.cumsum(np.where(kinds, counts, 0.0))[ends]
    accepted_different = np.cumsum(np.where(kinds, 0.0, counts))[ends]
    return Roc(
        thresholds=np.concatenate(([np.inf], values[ends], [-np.inf])),
        far=np.concatenate(([0.0], _share(accepted_different, float(counts[~kinds].sum())), [1.0])),
        tar=np.concatenate(([0.0], _share(accepted_same, float(counts[kinds].sum())), [1.0])),
    )


def auc(curve: Roc) -> float:
    """Area under the curve: the chance that a same pair outscores a different one, a tie counting one half."""
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2.0))


def eer(curve: Roc) -> float:
    """The rate at which false accepts equal false rejects, on the straight line between the two nearest points."""
    if np.isnan(curve.far).any() or np.isnan(curve.tar).any():
        return math.nan
    gap = curve.far - (1.0 - curve.tar)  # rises from -1 to 1
    right = int(np.argmax(gap >= 0.0))
    left = right - 1
    share = -gap[left] / (gap[right] - gap[left])
    return float(curve.far[left] + share * (curve.far[right] - curve.far[left]))


def tar_at_far(curve: Roc, far: float) -> float:
    """The accepted share of same pairs at the loosest threshold whose FAR does not exceed ``far``.

    Conservative: where equal scores would carry the FAR beyond the target, all of them are rejected, and nothing is
    interpolated. With fewer than 1 / ``far`` different pairs this is the rate at no false accept.
    """
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"a false-accept rate lies between 0 and 1, got {far}")
    if np.isnan(curve.far).any() or np.isnan(curve.tar).any():
        return math.nan
    reachable = (curve.thresholds > -np.inf) & (curve.far <= far + ULP_SLACK)
    return float(curve.tar[reachable][-1])


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """``mean`` and ``std`` (population, over the folds, unweighted) of ``accuracies`` (F,) at ``thresholds`` (F,)."""

    mean: float
    std: float
    accuracies: Floats
    thresholds: Floats


def fold_accuracy(
    scores: ArrayLike, same: ArrayLike, folds: ArrayLike, *, weights: ArrayLike | None = None
) -> FoldAccuracy:
    """LFW's protocol: each fold is judged at the threshold that is best on all the others.

    The threshold is found by an exact sweep over the other folds' scores and lies midway between the two scores it
    separates; of several equally good ones the strictest is taken.

    Args:
        scores: (N,), `FAILED` for pairs with an unread face: wrong if same, right if different, at any threshold.
        same: (N,) truth.
        folds: (N,) labels, two different ones at least.
        weights: (N,) not negative; a fold whose weights sum to zero is left out.

    Raises:
        ValueError: NaN, other lengths, or fewer than two folds.
    """
    values, kinds, counts = _pairs(scores, same, weights)
    labels = np.asarray(folds)
    if labels.shape != values.shape:
        raise ValueError(f"folds must be as long as the scores, got {labels.shape} for {values.shape}")
    names = np.unique(labels)
    if len(names) < 2:
        raise ValueError("fold accuracy needs two folds or more, got one: number the folds or give more pairs")
    accuracies, thresholds = [], []
    for name in names:
        held_out = labels == name
        total = counts[held_out].sum()
        if total == 0.0:
            continue
        threshold = best_threshold(values[~held_out], kinds[~held_out], weights=counts[~held_out])
        accepted = (values[held_out] >= threshold) & (values[held_out] > FAILED)
        accuracies.append(float(counts[held_out][accepted == kinds[held_out]].sum() / total))
        thresholds.append(threshold)
    means = np.asarray(accuracies, dtype=np.float64)
    empty = len(means) == 0
    return FoldAccuracy(
        mean=math.nan if empty else float(means.mean()),
        std=math.nan if empty else float(means.std()),
        accuracies=means,
        thresholds=np.asarray(thresholds, dtype=np.float64),
    )


def best_threshold(scores: ArrayLike, same: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """The threshold with the most right answers, +inf where rejecting everything is best; as in `fold_accuracy`."""
    values, kinds, counts = _pairs(scores, same, weights)
    # A pair that does not count must not place the threshold either: weights are copies, and this one has none.
    counted = counts > 0.0
    values, kinds, counts, ends = _by_falling_score(values[counted], kinds[counted], counts[counted])
    # Accepting one more same pair is one right answer more, accepting a different one is one less.
    gains = np.concatenate(([0.0], np.cumsum(np.where(kinds, counts, -counts))[ends]))
    best = int(np.argmax(gains))
    if best == 0:
        return math.inf
    lowest_accepted = values[ends[best - 1]]
    following = ends[best - 1] + 1
    highest_rejected = values[following] if following < len(values) else FAILED
    middle = (lowest_accepted + highest_rejected) / 2.0
    # Between two neighbouring floats there is no middle: rounding must not accept the rejected one.
    return float(middle if middle > highest_rejected else lowest_accepted)


def rank_of(candidates: Sequence[Candidate], identity_id: str) -> int:
    """The place, from 1, at which a person stands among candidates ordered best first; 0 where they do not stand."""
    for place, candidate in enumerate(candidates, start=1):
        if candidate.identity_id == identity_id:
            return place
    return 0


def top_k(ranks: ArrayLike, k: int, *, weights: ArrayLike | None = None) -> float:
    """Share of probes whose own person is among the first ``k``: one point of the cumulative match curve.

    Args:
        ranks: (N,) places from `rank_of`; 0 (not found, or a failed read) is a miss at any ``k``.
        k: 1 or more.
        weights: (N,) not negative.
    """
    if k < 1:
        raise ValueError(f"top-k needs k of 1 or more, got {k}")
    places = np.asarray(ranks, dtype=np.int64)
    return _rate((places >= 1) & (places <= k), weights)


def fnir_at_fpir(
    best: ArrayLike,
    correct: ArrayLike,
    strangers: ArrayLike,
    fpir: float,
    *,
    weights: ArrayLike | None = None,
    stranger_weights: ArrayLike | None = None,
) -> float:
    """Share of known probes missed at the loosest threshold that accepts at most ``fpir`` of the strangers.

    The margin rule is left aside. A probe is found when its best similarity passes and belongs to the right person; a
    wrong first person is a miss. Conservative as `tar_at_far`: strangers of equal score are rejected together. With
    fewer than 1 / ``fpir`` strangers this is the rate at which none is accepted.

    Args:
        best: (N,) best similarity of each known probe, `FAILED` for a failed read.
        correct: (N,) true where that best is the probe's own person.
        strangers: (M,) best similarity of each stranger.
        fpir: target, 0..1.
        weights: (N,) and ``stranger_weights`` (M,), not negative.

    Raises:
        ValueError: no probe, no stranger, NaN, or a target out of range.
    """
    if not 0.0 <= fpir <= 1.0:
        raise ValueError(f"a false-positive identification rate lies between 0 and 1, got {fpir}")
    values, right, counts = _pairs(best, correct, weights)
    others, _, other_counts = _pairs(strangers, np.zeros(np.shape(np.asarray(strangers)), dtype=bool), stranger_weights)
    total = float(other_counts.sum())
    if total == 0.0:
        return math.nan
    others, _, other_counts, ends = _by_falling_score(others, np.zeros(others.shape, dtype=bool), other_counts)
    over = np.cumsum(other_counts)[ends] / total > fpir + ULP_SLACK
    # The threshold lies just above the first stranger's score that would be one too many.
    limit = float(others[ends][over][0]) if over.any() else FAILED
    return _rate(~(right & (values > limit) & (values > FAILED)), counts)


def open_set_rates(
    found: ArrayLike,
    accepted: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    stranger_weights: ArrayLike | None = None,
) -> tuple[float, float | None]:
    """(FNIR, FPIR) of decisions already made, at the system's own point; FPIR is None without strangers.

    Args:
        found: (N,) true where a known probe was accepted as the right person; refused, asked and taken for somebody
            else are misses.
        accepted: (M,) true where a stranger was accepted as anybody; a stranger who is asked is not accepted.
        weights: (N,) and ``stranger_weights`` (M,), not negative.
    """
    fpir = _rate(accepted, stranger_weights) if np.size(np.asarray(accepted)) else None
    return _rate(~np.asarray(found).astype(bool), weights), fpir


def resample_people(groups: Sequence[int], *, resamples: int, seed: int) -> Ints:
    """How often each person is drawn, (resamples, sum of groups).

    The cluster bootstrap: photos of one person rise and fall together, so people are drawn, with replacement, and not
    pairs or photos. From each group (enrolled people, strangers) as many are drawn as it has.

    Args:
        groups: sizes of the groups, in the order of the columns.
        resamples: rows.
        seed: of the draws.
    """
    if not groups or min(groups) < 1 or resamples < 1:
        raise ValueError(f"a bootstrap needs people and resamples, got {list(groups)} and {resamples}")
    generator = np.random.default_rng(seed)
    parts = [generator.multinomial(size, np.full(size, 1.0 / size), size=resamples) for size in groups]
    return np.concatenate(parts, axis=1).astype(np.int64)


def pair_weights(draws: ArrayLike, first: ArrayLike, second: ArrayLike) -> Floats:
    """How often each pair counts in one draw of people.

    A pair of two people counts the product of both their draws, a pair of one person's photos that person's draws:
    each drawn copy of a person brings its own same pairs, and meets every copy of the other person.

    Args:
        draws: (P,) how often each person was drawn.
        first: (N,) index of the first image's person; ``second`` (N,) of the second's.
    """
    counts = np.asarray(draws, dtype=np.float64)
    one, two = np.asarray(first), np.asarray(second)
    return np.asarray(np.where(one == two, counts[one], counts[one] * counts[two]), dtype=np.float64)


def bootstrap_intervals(
    statistic: Callable[[Ints], ArrayLike], groups: Sequence[int], *, resamples: int, seed: int, level: float = 0.95
) -> Floats:
    """Percentile intervals of several measures over people, (S, 2) as low, high.

    Args:
        statistic: maps the draws (P,) of one resample to S numbers; NaN where a draw leaves nothing to measure, and
            such draws are left out. An interval without any draw is NaN.
        groups: sizes of the groups that people are drawn from, P in sum.
        resamples: how many draws; ``seed`` makes them.
        level: share of draws inside.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"an interval's level lies between 0 and 1, got {level}")
    draws = resample_people(groups, resamples=resamples, seed=seed)
    values = np.asarray([statistic(draw) for draw in draws], dtype=np.float64)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    intervals = np.full((values.shape[1], 2), np.nan)
    for index, column in enumerate(values.T):
        defined = column[~np.isnan(column)]
        if len(defined):
            intervals[index] = np.quantile(defined, tails)
    return intervals


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """95 % interval of a share of independent trials, 0..1; holds its level where the share is near 0 or 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.

    Raises:
        ValueError: fewer than one trial, or a share outside of 0 to 1.
    """
    if trials < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"expected a share of 0 to 1 of 1 trial or more, got {share} of {trials}")
    z = 1.959964
    centre = share + z * z / (2.0 * trials)
    away = z * math.sqrt(share * (1.0 - share) / trials + z * z / (4.0 * trials * trials))
    whole = 1.0 + z * z / trials
    return max((centre - away) / whole, 0.0), min((centre + away) / whole, 1.0)


def _pairs(scores: ArrayLike, flags: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, NDArray[np.bool_], Floats]:
    values = np.asarray(scores, dtype=np.float64)
    kinds = np.asarray(flags).astype(bool)
    if values.ndim != 1 or values.size == 0 or kinds.shape != values.shape:
        raise ValueError(f"expected two lists of one length above 0, got shapes {values.shape} and {kinds.shape}")
    if np.isnan(values).any():
        raise ValueError("scores must be numbers, got NaN: a face that could not be read scores -1")
    return values, kinds, _weights(weights, values.shape)


def _weights(weights: ArrayLike | None, shape: tuple[int, ...]) -> Floats:
    counts = np.ones(shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape != shape or not (counts >= 0.0).all():
        raise ValueError(f"weights must be {shape} numbers of 0 or more, got shape {counts.shape}")
    return counts


def _by_falling_score(
    values: Floats, kinds: NDArray[np.bool_], counts: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats, NDArray[np.intp]]:
    """Sorted, with the last place of each run of equal scores above `FAILED`."""
    order = np.argsort(-values, kind="stable")
    values, kinds, counts = values[order], kinds[order], counts[order]
    last_of_run = np.append(values[1:] != values[:-1], True)
    return values, kinds, counts, np.flatnonzero(last_of_run & (values > FAILED))


def _share(amounts: NDArray[Any], total: float) -> Floats:
    return np.asarray(amounts / total if total > 0.0 else np.full(amounts.shape, np.nan), dtype=np.float64)


def _rate(hits: ArrayLike, weights: ArrayLike | None) -> float:
    flags = np.asarray(hits).astype(bool)
    if flags.ndim != 1 or flags.size == 0:
        raise ValueError(f"a rate needs a list of one result or more, got shape {flags.shape}")
    counts = _weights(weights, flags.shape)
    total = float(counts.sum())
    return float(counts[flags].sum() / total) if total > 0.0 else math.nan
