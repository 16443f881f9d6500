"""Step 6: the operating point, from what the model's card measured. Pure.

A gallery of N people gives a stranger N chances to be near to somebody, so what a match needs grows with N. How fast is
measured: the card carries a model of how near strangers come to galleries of any size (`StrangerTail`), and the
threshold of a target false-positive identification rate (FPIR) is read from it. A card without that model has the
false-accept rates (FAR) of one comparison alone; then the threshold of FAR = target FPIR / N keeps the target, and is
stricter than it must be, because the N chances are not independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from attendance.errors import ModelError
from attendance.types import StrangerTail

VERIFY_FAR = 1e-3
"""The false-accept rate at which two photos are compared: one pair of different people in a thousand is accepted."""

HIGHEST = 1.0 - 1e-6
"""Ceiling of an extrapolated threshold: below 1, so that the very photo that was enrolled is still accepted."""

LIKENESS_FROM = 10
"""People from which on a gallery's own likeness is taken to say something of who comes to its door."""

HIGHEST_SHIFT = 0.03
"""Most that a gallery's likeness may add: a quarter of the way from an average stranger to the same photo."""


def threshold_at(thresholds: Mapping[float, float], far: float) -> float:
    """The cosine at which one comparison of two different people is accepted with probability ``far``.

    Between the card's measured points the cosine is linear in log10(far). Below the smallest measured rate the line
    through the two smallest ones goes on (the tail rule), never above `HIGHEST`. Above the largest measured rate the
    largest one's cosine stands: the rule never becomes looser than what was measured. The result never falls when
    ``far`` does.

    Args:
        thresholds: the card's: false-accept rate, 0 < rate <= 1, to cosine; two points at least.
        far: 0 < far <= 1.

    Raises:
        ValueError: ``far`` is outside that range.
        ModelError: the points are too few, no numbers, or fall where the rate falls.
    """
    if not 0.0 < far <= 1.0:
        raise ValueError(f"the false-accept rate must be above 0 and at most 1, got {far}")
    points = _points(thresholds)
    wanted = math.log10(far)
    if wanted >= points[0][0]:
        return points[0][1]
    for left, right in itertools.pairwise(points):
        if wanted >= right[0]:
            return _on_line(left, right, wanted)
    return max(points[-1][1], min(HIGHEST, _on_line(points[-2], points[-1], wanted)))


def far_at(thresholds: Mapping[float, float], cosine: float) -> float:
    """The inverse of `threshold_at`: the rate at which one comparison of two different people reaches ``cosine``.

    Above the card's largest rate, and where the card cannot tell two rates apart, it is the larger one.
    """
    points = _points(thresholds)
    if cosine <= points[0][1]:
        return float(10.0 ** points[0][0])
    for left, right in itertools.pairwise(points):
        if cosine <= right[1] and right[1] > left[1]:
            return float(10.0 ** (left[0] + (right[0] - left[0]) * (cosine - left[1]) / (right[1] - left[1])))
    (log_looser, looser), (log_rate, stricter) = points[-2:]
    if stricter <= looser:
        return float(10.0**log_rate)
    return float(10.0 ** max(log_rate + (log_rate - log_looser) * (cosine - stricter) / (stricter - looser), -30.0))


def operating_threshold(thresholds: Mapping[float, float], *, target_fpir: float, people: int) -> float:
    """The card's threshold at FAR = ``target_fpir`` / number of people.

    Args:
        thresholds: the card's, as for `threshold_at`.
        target_fpir: share of strangers' passes that may be accepted, 0 < target_fpir < 1.
        people: people in the gallery; fewer than 1 count as 1.

    Raises:
        ValueError: ``target_fpir`` is outside that range.
        ModelError: as for `threshold_at`.
    """
    if not 0.0 < target_fpir < 1.0:
        raise ValueError(f"target_fpir must lie between 0 and 1, got {target_fpir}")
    return threshold_at(thresholds, target_fpir / max(people, 1))


def lead_weight(tail: StrangerTail, people: int) -> float:
    """How much of the lead over the runner-up counts in a gallery of so many people, 0 to 1."""
    return min(max(tail.lead_base + tail.lead_per_people * math.log10(max(people, 1)), 0.0), 1.0)


def stranger_score(tail: StrangerTail, rate: float, *, people: int, single_share: float) -> float:
    """The score that a share ``rate`` of strangers' photos reaches: cosine plus the lead's part.

    Args:
        tail: the card's.
        rate: 0 < rate < 1.
        people: in the gallery; fewer than 1 count as 1.
        single_share: mean over people of 1 / templates: 1 with one photo each, 0.2 with five.

    Raises:
        ValueError: ``rate`` or ``single_share`` is out of range.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a share of strangers must lie between 0 and 1, got {rate}")
    if not 0.0 < single_share <= 1.0:
        raise ValueError(f"the mean of 1 / templates lies above 0 and is at most 1, got {single_share}")
    size = tail.per_people * math.log10(max(people, 1))
    return tail.base + size + tail.per_rate * _log_rate(rate) + tail.per_single * single_share


def stranger_rate(tail: StrangerTail, score: float, *, people: int, single_share: float) -> float:
    """The inverse of `stranger_score`: the share of strangers' photos that reaches ``score``, 0 to 1."""
    if tail.per_rate == 0.0:
        raise ModelError("a card's strangers need a per_rate below 0: measure the card again")
    size = tail.base + tail.per_people * math.log10(max(people, 1)) + tail.per_single * single_share
    exponent = (score - size) / tail.per_rate
    return -math.expm1(-(10.0 ** min(exponent, 3.0)))


def likeness_shift(tail: StrangerTail, likeness: float, *, people: int, single_share: float) -> float:
    """What is added where the people of a gallery are more alike than those the card was measured on.

    Strangers at the same door are then likely to be as alike. What a random gallery may show by chance (1.7 deviations)
    adds nothing, and a gallery of people less alike takes nothing away.

    Args:
        tail: the card's.
        likeness: median over people of the cosine of one of their photos to the nearest other person.
        people: in the gallery; fewer than `LIKENESS_FROM` tell nothing.
        single_share: as for `stranger_score`.
    """
    if people < LIKENESS_FROM:
        return 0.0
    usual = tail.likeness_base + tail.likeness_per_people * math.log10(people - 1)
    excess = likeness - usual - tail.likeness_per_single * single_share
    return min(max(excess - 1.7 * tail.likeness_deviation / math.sqrt(people), 0.0), HIGHEST_SHIFT)


def pass_shift(tail: StrangerTail, rate: float, decided_from: int) -> float:
    """What is added where a pass is decided from this good frame on: between the card's points on a line in log frames.

    0 for a card that has no points. Below a rate of 0.1 % it stays what it is there: smaller ones are not measured.
    """
    if not tail.frames:
        return 0.0
    return _by_frames(tail.frames, decided_from) + tail.frames_per_rate * (_log_rate(max(rate, 1e-3)) - _log_rate(1e-2))


def _by_frames(frames: Mapping[int, float], decided_from: int) -> float:
    points = sorted(frames.items())
    if decided_from <= points[0][0]:
        return points[0][1]
    for (few, looser), (many, stricter) in itertools.pairwise(points):
        if decided_from <= many:
            return looser + (stricter - looser) * math.log(decided_from / few) / math.log(many / few)
    return points[-1][1]


def _log_rate(rate: float) -> float:
    return math.log10(-math.log1p(-rate))


def _points(thresholds: Mapping[float, float]) -> list[tuple[float, float]]:
    """(log10 rate, cosine), the largest rate first."""
    if len(thresholds) < 2:
        raise ModelError(
            f"a model card needs thresholds at two rates or more, got {len(thresholds)}: measure the model with "
            "`python -m lab.measure_card`, or set decide.threshold, and enrol.outliers to off to enrol with it"
        )
    for rate, cosine in thresholds.items():
        if not (0.0 < rate <= 1.0 and -1.0 <= cosine <= 1.0):
            raise ModelError(f"a card's thresholds map rates in (0, 1] to cosines in [-1, 1], got {rate}: {cosine}")
    points = [(math.log10(rate), float(thresholds[rate])) for rate in sorted(thresholds, reverse=True)]
    for (log_looser, looser), (log_rate, stricter) in itertools.pairwise(points):
        if stricter < looser or log_rate == log_looser:
            raise ModelError(
                f"a card's thresholds need different rates and must not fall with them, got {stricter} at "
                f"{10.0**log_rate:g} after {looser} at {10.0**log_looser:g}: measure the card again"
            )
    return points


def _on_line(left: tuple[float, float], right: tuple[float, float], at: float) -> float:
    share = (at - left[0]) / (right[0] - left[0])
    inside = left[1] + share * (right[1] - left[1])
    # Rounding must not carry a point between two measured ones outside them: the order of thresholds is a promise.
    return min(max(inside, left[1]), right[1]) if share <= 1.0 else max(inside, right[1])
