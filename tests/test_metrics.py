"""The measures against slow plain loops, hand-made tables and known identities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attendance import metrics
from attendance.types import Candidate

# Few distinct values, so that ties are common; -1 is a failed read.
SCORES = st.integers(-8, 8).map(lambda step: step / 8.0)
PAIRS = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 3)), min_size=2, max_size=24).filter(
    lambda pairs: any(w for _, s, w in pairs if s) and any(w for _, s, w in pairs if not s)
)
RATES = st.sampled_from([0.0, 0.1, 0.25, 0.29, 0.5, 0.9, 1.0])


def accept(score: float, threshold: float) -> bool:
    return score >= threshold and score > -1.0


def expand(pairs: Sequence[tuple[float, bool, int]]) -> tuple[list[float], list[float]]:
    """Weights spelled out as copies: same scores, different scores."""
    same = [score for score, is_same, weight in pairs for _ in range(weight) if is_same]
    different = [score for score, is_same, weight in pairs for _ in range(weight) if not is_same]
    return same, different


def curve_of(pairs: Sequence[tuple[float, bool, int]]) -> metrics.Roc:
    scores, same, weights = zip(*pairs, strict=True)
    return metrics.roc(scores, same, weights=weights)


@given(PAIRS)
def test_roc_points_are_the_shares_counted_one_by_one(pairs: list[tuple[float, bool, int]]) -> None:
    same, different = expand(pairs)
    curve = curve_of(pairs)
    assert list(curve.thresholds[1:-1]) == sorted({s for s, _, _ in pairs if s > -1.0}, reverse=True)
    for threshold, far, tar in list(zip(curve.thresholds, curve.far, curve.tar, strict=True))[:-1]:
        assert far == pytest.approx(sum(accept(s, threshold) for s in different) / len(different))
        assert tar == pytest.approx(sum(accept(s, threshold) for s in same) / len(same))
    assert (curve.far[-1], curve.tar[-1]) == (1.0, 1.0)


@given(PAIRS)
def test_auc_is_the_chance_that_a_same_pair_wins_ties_counting_half(pairs: list[tuple[float, bool, int]]) -> None:
    same, different = expand(pairs)
    wins = sum(1.0 if s > d else 0.5 if s == d else 0.0 for s in same for d in different)
    assert metrics.auc(curve_of(pairs)) == pytest.approx(wins / (len(same) * len(different)))


@given(PAIRS)
def test_auc_and_eer_turn_over_when_the_scores_do(pairs: list[tuple[float, bool, int]]) -> None:
    turned = [(-score / 2.0, same, weight) for score, same, weight in pairs]
    halved = [(score / 2.0, same, weight) for score, same, weight in pairs]
    assert metrics.auc(curve_of(turned)) == pytest.approx(1.0 - metrics.auc(curve_of(halved)))
    assert metrics.eer(curve_of(turned)) == pytest.approx(1.0 - metrics.eer(curve_of(halved)))


@given(PAIRS, RATES)
def test_tar_at_far_tries_every_threshold(pairs: list[tuple[float, bool, int]], far: float) -> None:
    same, different = expand(pairs)
    best = 0.0
    for threshold in [2.0, *(score for score, _, _ in pairs)]:
        false_accepts = sum(accept(s, threshold) for s in different)
        if false_accepts <= far * len(different) + 1e-9:
            best = max(best, sum(accept(s, threshold) for s in same) / len(same))
    assert metrics.tar_at_far(curve_of(pairs), far) == pytest.approx(best)


def test_tar_at_far_rejects_all_of_a_tie_that_would_be_too_many() -> None:
    scores = [0.9, 0.8, 0.5, 0.5, 0.5, 0.1]
    same = [1, 1, 1, 0, 0, 0]
    curve = metrics.roc(scores, same)
    assert metrics.tar_at_far(curve, 1 / 3) == pytest.approx(2 / 3)
    assert metrics.tar_at_far(curve, 2 / 3) == pytest.approx(1.0)


def test_targets_are_met_where_the_share_is_not_a_binary_fraction() -> None:
    different = [(i + 1) / 200.0 for i in range(100)]
    for allowed in range(101):
        threshold_score = different[100 - allowed] if allowed else 0.6
        curve = metrics.roc([*different, threshold_score], [0] * 100 + [1])
        assert metrics.tar_at_far(curve, allowed / 100.0) == 1.0


@pytest.mark.parametrize(
    ("same", "different", "expected"),
    [
        ([0.9, 0.8], [0.2, 0.1], 0.0),
        ([0.1, 0.2], [0.8, 0.9], 1.0),
        ([0.5], [0.5], 0.5),
        ([0.9, 0.8, 0.7, 0.2], [0.6, 0.3, 0.1, 0.0], 0.25),
        # At 0.5 FAR 0 and FRR 1/2, at 0.4 FAR 1/2 and FRR 1/2.
        ([0.9, 0.1], [0.4, 0.2], 0.5),
        # From (FAR 0, FRR 1/3) straight to (1/2, 1/3): they meet at 1/3.
        ([0.9, 0.8, 0.1], [0.4, 0.0], 1 / 3),
        ([-1.0], [-1.0], 0.5),
    ],
)
def test_eer_by_hand(same: list[float], different: list[float], expected: float) -> None:
    curve = metrics.roc(same + different, [1] * len(same) + [0] * len(different))
    assert metrics.eer(curve) == pytest.approx(expected)


@given(PAIRS)
def test_eer_lies_between_the_two_rates_on_either_side(pairs: list[tuple[float, bool, int]]) -> None:
    curve = curve_of(pairs)
    rate = metrics.eer(curve)
    above = min(max(f, 1.0 - t) for f, t in zip(curve.far, curve.tar, strict=True))
    below = max(min(f, 1.0 - t) for f, t in zip(curve.far, curve.tar, strict=True))
    assert below - 1e-12 <= rate <= above + 1e-12


@given(PAIRS)
def test_best_threshold_is_as_good_as_any(pairs: list[tuple[float, bool, int]]) -> None:
    same, different = expand(pairs)

    def right(threshold: float) -> int:
        return sum(accept(s, threshold) for s in same) + sum(not accept(s, threshold) for s in different)

    scores, kinds, weights = zip(*pairs, strict=True)
    chosen = metrics.best_threshold(scores, kinds, weights=weights)
    counted = [score for score, _, weight in pairs if weight]
    assert right(chosen) == max(right(t) for t in [2.0, *counted])
    assert not any(right(t) == right(chosen) and t > chosen for t in counted if _separates(counted, t, chosen))


@given(PAIRS, st.integers(0, 2**32))
def test_weights_are_copies_for_thresholds_and_folds(pairs: list[tuple[float, bool, int]], seed: int) -> None:
    folds = list(np.random.default_rng(seed).integers(0, 2, size=len(pairs)))
    scores, kinds, weights = zip(*pairs, strict=True)
    copies = [(s, k, f) for (s, k, w), f in zip(pairs, folds, strict=True) for _ in range(w)]
    spelled_out = [list(part) for part in zip(*copies, strict=True)]
    whole = metrics.best_threshold(spelled_out[0], spelled_out[1])
    assert metrics.best_threshold(scores, kinds, weights=weights) == whole
    if len(set(spelled_out[2])) == 2:
        weighted = metrics.fold_accuracy(scores, kinds, folds, weights=weights)
        copied = metrics.fold_accuracy(*spelled_out)
        assert list(weighted.thresholds) == list(copied.thresholds)
        assert list(weighted.accuracies) == pytest.approx(list(copied.accuracies))


def _separates(scores: Sequence[float], one: float, other: float) -> bool:
    return {s for s in scores if accept(s, one)} != {s for s in scores if accept(s, other)}


@pytest.mark.parametrize(
    ("scores", "same", "expected"),
    [
        ([0.8, 0.2], [1, 0], 0.5),
        ([0.8, 0.6, 0.2], [1, 1, 0], 0.4),
        ([0.2, 0.8], [1, 0], math.inf),
        ([0.5, 0.1], [1, 1], -0.45),
        ([0.5, -1.0], [1, 1], -0.25),
        ([-1.0, -1.0], [1, 0], math.inf),
        ([np.nextafter(0.5, 1.0), 0.5], [1, 0], np.nextafter(0.5, 1.0)),
    ],
)
def test_best_threshold_by_hand(scores: list[float], same: list[int], expected: float) -> None:
    assert metrics.best_threshold(scores, same) == pytest.approx(expected, abs=0)


@settings(max_examples=60)
@given(st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 2)), min_size=4, max_size=20))
def test_each_fold_is_judged_by_the_others(pairs: list[tuple[float, bool, int]]) -> None:
    scores, same, folds = (list(part) for part in zip(*pairs, strict=True))
    if len(set(folds)) < 2:
        with pytest.raises(ValueError, match="two folds"):
            metrics.fold_accuracy(scores, same, folds)
        return
    result = metrics.fold_accuracy(scores, same, folds)
    accuracies = []
    for fold in sorted(set(folds)):
        outside = [(s, k) for s, k, f in zip(scores, same, folds, strict=True) if f != fold]
        threshold = metrics.best_threshold([s for s, _ in outside], [k for _, k in outside])
        inside = [(s, k) for s, k, f in zip(scores, same, folds, strict=True) if f == fold]
        accuracies.append(sum(accept(s, threshold) == k for s, k in inside) / len(inside))
    assert list(result.accuracies) == pytest.approx(accuracies)
    assert result.mean == pytest.approx(sum(accuracies) / len(accuracies))
    variance = sum((a - result.mean) ** 2 for a in accuracies) / len(accuracies)
    assert result.std == pytest.approx(math.sqrt(variance), abs=1e-9)


def test_failed_reads_lose_same_pairs_and_win_different_ones() -> None:
    scores, same, folds = [0.9, 0.1] * 4, [1, 0] * 4, [0, 0, 1, 1, 2, 2, 3, 3]
    assert metrics.fold_accuracy(scores, same, folds).mean == 1.0
    assert metrics.fold_accuracy([-1.0, *scores[1:]], same, folds).mean == 7 / 8
    assert metrics.fold_accuracy([0.9, -1.0, *scores[2:]], same, folds).mean == 1.0
    nothing_read = metrics.roc([-1.0, -1.0], [1, 0])
    assert metrics.tar_at_far(nothing_read, 1.0) == 0.0
    assert metrics.auc(nothing_read) == 0.5


def test_rank_and_top_k() -> None:
    listed = [Candidate("b", 0.9), Candidate("a", 0.8), Candidate("c", 0.1)]
    assert [metrics.rank_of(listed, who) for who in "abcd"] == [2, 1, 3, 0]
    assert metrics.rank_of([], "a") == 0
    ranks = [1, 2, 0, 4, 1]
    assert [metrics.top_k(ranks, k) for k in (1, 2, 3, 4, 5)] == pytest.approx([0.4, 0.6, 0.6, 0.8, 0.8])
    assert metrics.top_k(ranks, 1, weights=[0, 1, 1, 0, 2]) == pytest.approx(0.5)


PROBES = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 3)), min_size=1, max_size=12).filter(
    lambda rows: any(w for _, _, w in rows)
)
STRANGERS = st.lists(st.tuples(SCORES, st.integers(0, 3)), min_size=1, max_size=12).filter(
    lambda rows: any(w for _, w in rows)
)


@given(PROBES, STRANGERS, RATES)
def test_fnir_at_fpir_tries_every_threshold(
    probes: list[tuple[float, bool, int]], strangers: list[tuple[float, int]], fpir: float
) -> None:
    known = [(score, right) for score, right, weight in probes for _ in range(weight)]
    others = [score for score, weight in strangers for _ in range(weight)]
    lowest = 1.0
    scores = [s for s, _, _ in probes] + [s for s, _ in strangers]
    for threshold in [2.0, *scores, *(s + 1e-6 for s in scores)]:
        if sum(accept(s, threshold) for s in others) <= fpir * len(others) + 1e-9:
            missed = sum(not (right and accept(score, threshold)) for score, right in known)
            lowest = min(lowest, missed / len(known))
    result = metrics.fnir_at_fpir(
        [s for s, _, _ in probes],
        [r for _, r, _ in probes],
        [s for s, _ in strangers],
        fpir,
        weights=[w for _, _, w in probes],
        stranger_weights=[w for _, w in strangers],
    )
    assert result == pytest.approx(lowest)


def test_fnir_at_fpir_by_hand() -> None:
    best = [0.9, 0.8, 0.7, 0.6, -1.0]
    correct = [True, True, False, True, False]
    strangers = [0.75, 0.65, 0.5, -1.0]
    by_target = {0.0: 3 / 5, 0.25: 3 / 5, 0.5: 2 / 5, 1.0: 2 / 5}
    for target, expected in by_target.items():
        assert metrics.fnir_at_fpir(best, correct, strangers, target) == pytest.approx(expected)


def test_open_set_rates() -> None:
    assert metrics.open_set_rates([True, True, False], [True, False, False, False]) == pytest.approx((1 / 3, 0.25))
    fnir, fpir = metrics.open_set_rates([True], [])
    assert (fnir, fpir) == (0.0, None)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(0, 2**32))
def test_draws_are_as_many_as_each_group_has_and_repeat_with_their_seed(groups: list[int], seed: int) -> None:
    draws = metrics.resample_people(groups, resamples=7, seed=seed)
    assert draws.shape == (7, sum(groups))
    start = 0
    for size in groups:
        assert (draws[:, start : start + size].sum(axis=1) == size).all()
        start += size
    assert np.array_equal(draws, metrics.resample_people(groups, resamples=7, seed=seed))


def test_pair_weights_are_what_drawn_copies_would_form() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "c"), ("c", "c"), ("a", "c")]
    names = ["a", "b", "c"]
    drawn = {"a": 2, "b": 3, "c": 0}
    copies = [(name, copy) for name in names for copy in range(drawn[name])]
    expected = []
    for one, two in pairs:
        if one == two:
            expected.append(sum(1 for name, _ in copies if name == one))
        else:
            expected.append(sum(1 for x, _ in copies for y, _ in copies if (x, y) == (one, two)))
    first, second = ([names.index(pair[side]) for pair in pairs] for side in (0, 1))
    assert list(metrics.pair_weights([drawn[n] for n in names], first, second)) == expected


def test_intervals_of_a_mean_match_its_standard_error_and_follow_the_seed() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, size=400)

    def mean(draws: metrics.Ints) -> list[float]:
        return [float((values * draws).sum() / draws.sum())]

    ((low, high),) = metrics.bootstrap_intervals(mean, [400], resamples=2000, seed=1)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    again = metrics.bootstrap_intervals(mean, [400], resamples=2000, seed=1)
    other = metrics.bootstrap_intervals(mean, [400], resamples=2000, seed=2)
    assert again[0].tolist() == [low, high]
    assert other[0].tolist() != [low, high]


def test_drawing_people_is_wider_than_drawing_photos_where_photos_go_together() -> None:
    person = np.repeat(np.arange(20), 10)
    value = np.repeat(np.random.default_rng(0).normal(size=20), 10)

    def mean_over(groups: np.ndarray, size: int) -> float:
        def mean(draws: metrics.Ints) -> list[float]:
            weights = draws[groups]
            return [float((value * weights).sum() / weights.sum())]

        ((low, high),) = metrics.bootstrap_intervals(mean, [size], resamples=500, seed=0)
        return float(high - low)

    assert mean_over(person, 20) > 2.0 * mean_over(np.arange(200), 200)


def test_draws_that_leave_nothing_to_measure_are_left_out() -> None:
    intervals = metrics.bootstrap_intervals(
        lambda draws: [math.nan, math.nan if draws[0] == 0 else 1.0], [3], resamples=50, seed=0
    )
    assert np.isnan(intervals[0]).all()
    assert intervals[1].tolist() == [1.0, 1.0]


def test_weights_that_sum_to_zero_give_nan() -> None:
    curve = metrics.roc([0.9, 0.1], [1, 0], weights=[1, 0])
    assert math.isnan(metrics.auc(curve))
    assert math.isnan(metrics.eer(curve))
    assert math.isnan(metrics.tar_at_far(curve, 0.1))
    assert math.isnan(metrics.fnir_at_fpir([0.9], [True], [0.1], 0.1, stranger_weights=[0]))
    assert math.isnan(metrics.fold_accuracy([0.9, 0.1], [1, 0], [0, 1], weights=[0, 0]).mean)
    assert metrics.fold_accuracy([0.9, 0.1], [1, 0], [0, 1], weights=[1, 0]).accuracies.shape == (1,)


@pytest.mark.parametrize(
    ("scores", "same", "weights", "word"),
    [
        ([0.1, math.nan], [1, 0], None, "NaN"),
        ([0.1], [1, 0], None, "one length"),
        ([], [], None, "one length"),
        ([0.1, 0.2], [1, 1], None, "one kind"),
        ([0.1, 0.2], [1, 0], [1, -1], "weights"),
        ([0.1, 0.2], [1, 0], [1, math.nan], "weights"),
        ([0.1, 0.2], [1, 0], [1], "weights"),
    ],
)
def test_faulty_input_is_refused(scores: list[float], same: list[int], weights: list[float] | None, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        metrics.roc(scores, same, weights=weights)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_targets_outside_zero_to_one_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        metrics.tar_at_far(metrics.roc([0.9, 0.1], [1, 0]), rate)
    with pytest.raises(ValueError, match="rate"):
        metrics.fnir_at_fpir([0.9], [True], [0.1], rate)


def test_other_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="k of 1"):
        metrics.top_k([1], 0)
    with pytest.raises(ValueError, match="one result"):
        metrics.top_k([], 1)
    with pytest.raises(ValueError, match="people and resamples"):
        metrics.resample_people([3, 0], resamples=5, seed=0)
    with pytest.raises(ValueError, match="level"):
        metrics.bootstrap_intervals(lambda draws: [0.0], [3], resamples=5, seed=0, level=1.0)
    with pytest.raises(ValueError, match="folds must be as long"):
        metrics.fold_accuracy([0.1, 0.2], [1, 0], [1])


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("trials", [20, 400])
def test_the_score_intervals_ends_lie_1_96_deviations_from_the_share(share: float, trials: int) -> None:
    low, high = metrics.wilson_interval(share, trials)
    assert 0.0 <= low <= share <= high <= 1.0
    # By definition: at either end the share is so many of that end's own deviations away.
    for end in {low, high} - {0.0, 1.0}:
        assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1.0 - end) / trials))
    with pytest.raises(ValueError, match="a share of 0 to 1"):
        metrics.wilson_interval(share, 0)
