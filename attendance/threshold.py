"""Step 6: the operating point, from what the model's card measured. Pure.

Accepting whoever reaches the threshold, a gallery of N people gives a stranger N chances. So the false-positive
identification rate (FPIR) of a stranger's pass is at most N times the false-accept rate (FAR) of one comparison, and
the threshold of FAR = target FPIR / N keeps the target.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from attendance.errors import ModelError

VERIFY_FAR = 1e-3
"""The false-accept rate at which two photos are compared: one pair of different people in a thousand is accepted."""

HIGHEST = 1.0 - 1e-6
"""Ceiling of an extrapolated threshold: below 1, so that the very photo that was enrolled is still accepted."""


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


def _points(thresholds: Mapping[float, float]) -> list[tuple[float, float]]:
    """(log10 rate, cosine), the largest rate first."""
    if len(thresholds) < 2:
        raise ModelError(f"a model card needs thresholds at two rates or more, got {len(thresholds)}: measure the card")
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
