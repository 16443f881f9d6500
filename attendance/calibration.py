"""How well the operating point of this very gallery is expected to work: its errors, with intervals, and why.

Of people with several photos each photo is left out in turn and looked up by the others (leave one out), which tells
how often the people of this gallery are missed. How often strangers are taken for somebody is told by the card, which
was measured on people outside of it: nobody here is known to be a stranger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.decide import Rule, decide
from attendance.embed.card import SimilarityStatistics
from attendance.metrics import bootstrap_intervals, wilson_interval
from attendance.operating import Chosen, Measured, OperatingPoint, operating_point, roster_of
from attendance.search.port import mean_direction
from attendance.threshold import far_at, stranger_rate
from attendance.types import Candidate, Float64, GalleryEntry, Outcome

RESAMPLES = 500
BINS = 60
DET_RATES = (1e-1, 5e-2, 2e-2, 1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4)
FEW_PHOTOS = 20
"""Photos that can be left out, below which the card's same-person pairs tell more than the gallery's own."""

_MOST_CROSS = 2_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """An expected rate with its 95 % interval, all 0..1."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Misses:
    """How often known people are missed on one photo, from ``photos`` of ``people`` left out in turn.

    ``source`` is ``gallery``, or ``card`` where the gallery has too few people with several photos: the interval then
    holds the rates at no lead and at a full one, and what the card's pairs, each taken for an independent one, leave
    open. ``wrong`` photos were taken for somebody else.
    """

    rate: Rate
    source: str
    photos: int
    people: int
    wrong: int


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """``counts`` (B,) between ``edges`` (B + 1,) of cosines."""

    edges: Float64
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DetPoint:
    """The misses at the operating point of another target."""

    fpir: float
    misses: Rate


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The operating point and what is expected of it.

    ``target_fpir`` is None with a fixed threshold. ``fpir`` is of strangers' photos. ``genuine`` are the photos left
    out against their own people, ``impostors`` all photos against all other people. ``det`` goes from loose to strict.
    """

    point: OperatingPoint
    target_fpir: float | None
    fpir: Rate
    misses: Misses | None
    genuine: Histogram
    impostors: Histogram
    nearest: Histogram
    det: tuple[DetPoint, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _LeftOut:
    """Photos left out (n): their ``people``, how near these are, and the nearest two of all, best first."""

    people: tuple[str, ...]
    own: Float64
    candidates: tuple[tuple[Candidate, Candidate], ...]


def calibrate(
    entries: Iterable[GalleryEntry],
    measured: Measured,
    chosen: Chosen,
    *,
    genuine: SimilarityStatistics | None = None,
) -> Calibration:
    """Measure a gallery.

    Args:
        entries: its templates.
        measured: the card's numbers.
        chosen: the operator's.
        genuine: the card's pairs of one person.
    """
    held = list(entries)
    roster = roster_of(held)
    point = operating_point(roster, measured, chosen)
    left_out, cross, nearest = _compared(held)
    misses = _misses(left_out, point.rule, genuine)
    edges = _edges(np.concatenate([left_out.own, cross]))
    return Calibration(
        point=point,
        target_fpir=None if chosen.fixed is not None else chosen.target_fpir,
        fpir=_strangers(point, measured),
        misses=misses,
        genuine=Histogram(edges, np.histogram(left_out.own, edges)[0].astype(np.int64)),
        impostors=Histogram(edges, np.histogram(cross, edges)[0].astype(np.int64)),
        nearest=Histogram(edges, np.histogram(nearest, edges)[0].astype(np.int64)),
        det=_det(left_out, held, measured, chosen) if misses is not None and misses.source == "gallery" else (),
    )


def _compared(entries: Sequence[GalleryEntry]) -> tuple[_LeftOut, Float64, Float64]:
    """Each photo of people with several against the others of its person and against everybody else.

    Also (a sample of) all cosines of photos to other people, and the nearest of each photo.
    """
    people = sorted({entry.identity_id for entry in entries})
    place = {who: index for index, who in enumerate(people)}
    nothing = np.empty(0)
    if len(people) < 2:
        return _LeftOut((), nothing, ()), nothing, nothing
    owner = np.array([place[entry.identity_id] for entry in entries], np.int64)
    vectors = np.stack([entry.vector for entry in entries])
    rows = [np.flatnonzero(owner == index) for index in range(len(people))]
    means = np.stack([mean_direction(vectors[own]) for own in rows])
    every = max(len(entries) * len(people) // _MOST_CROSS, 1)
    whose, own_cosines, candidates, cross, nearest = [], [], [], [], []
    for row, person in enumerate(owner.tolist()):
        cosines = (means @ vectors[row]).astype(np.float64)
        others = np.delete(cosines, person)
        nearest.append(float(others.max()))
        if row % every == 0:
            cross.append(others)
        if len(rows[person]) < 2:
            continue
        rest = rows[person][rows[person] != row]
        own = float(mean_direction(vectors[rest]) @ vectors[row])
        cosines[person] = own
        first, second = np.argsort(-cosines, kind="stable")[:2].tolist()
        candidates.append((Candidate(people[first], cosines[first]), Candidate(people[second], cosines[second])))
        whose.append(people[person])
        own_cosines.append(own)
    left_out = _LeftOut(tuple(whose), np.array(own_cosines, np.float64), tuple(candidates))
    return left_out, np.concatenate(cross), np.array(nearest)


def _missed(left_out: _LeftOut, rule: Rule) -> tuple[NDArray[np.bool_], int]:
    """Which photos the rule misses, and how many of these it takes for somebody else."""
    missed, wrong = [], 0
    for person, pair in zip(left_out.people, left_out.candidates, strict=True):
        found = decide(pair, rule)
        known = found.outcome is Outcome.KNOWN and found.best is not None
        right = known and found.best is not None and found.best.identity_id == person
        missed.append(not right)
        wrong += known and not right
    return np.array(missed, np.bool_), wrong


def _misses(left_out: _LeftOut, rule: Rule, genuine: SimilarityStatistics | None) -> Misses | None:
    if len(left_out.people) < FEW_PHOTOS:
        return None if genuine is None else _misses_by_card(rule, genuine)
    missed, wrong = _missed(left_out, rule)
    return Misses(_rate(left_out, missed), "gallery", len(missed), len(set(left_out.people)), wrong)


def _rate(left_out: _LeftOut, missed: NDArray[np.bool_]) -> Rate:
    """The share that is missed, with its interval by drawing people anew."""
    _, person = np.unique(left_out.people, return_inverse=True)

    def statistic(draws: NDArray[np.int64]) -> list[float]:
        weights = draws[person].astype(np.float64)
        return [float(weights @ missed / weights.sum()) if weights.sum() else math.nan]

    low, high = bootstrap_intervals(statistic, [int(person.max()) + 1], resamples=RESAMPLES, seed=0)[0].tolist()
    # Where nothing was missed the bootstrap shows no spread: the rule of three bounds it.
    high = max(high, 3.0 / len(missed)) if not missed.any() else high
    return Rate(float(missed.mean()), low, min(high, 1.0))


def _misses_by_card(rule: Rule, genuine: SimilarityStatistics) -> Misses:
    """The share of the card's same-person pairs below what is needed, at no lead and at a full one."""
    shares = sorted(genuine.quantiles)
    cosines = [genuine.quantiles[share] for share in shares]
    strict, loose = (float(np.interp(rule.required(lead), cosines, shares)) for lead in (0.0, None))
    low, high = wilson_interval(loose, genuine.pairs)[0], wilson_interval(strict, genuine.pairs)[1]
    return Misses(Rate((strict + loose) / 2.0, low, high), "card", 0, 0, 0)


def _strangers(point: OperatingPoint, measured: Measured) -> Rate:
    """The expected rate of strangers' photos that are accepted; without the card's model of strangers a bound."""
    rule, tail = point.rule, measured.strangers
    if tail is None or rule.lead_cap == 0.0:
        one = far_at(measured.thresholds, rule.threshold)
        most = min(one * max(point.people, 1), 1.0)
        return Rate(most, min(one, most), most)
    score = rule.threshold - point.shift

    def rate_at(needed: float) -> float:
        return stranger_rate(tail, needed, people=point.people, single_share=point.single_share)

    expected = rate_at(score)
    away = 1.96 * _deviation(tail.deviations, expected)
    return Rate(expected, rate_at(score + away), rate_at(score - away))


def _deviation(deviations: Mapping[float, float], rate: float) -> float:
    """The deviation at the nearest measured rate."""
    if not deviations:
        return 0.0
    return deviations[min(deviations, key=lambda measured: abs(math.log(measured) - math.log(max(rate, 1e-12))))]


def _det(
    left_out: _LeftOut, entries: Sequence[GalleryEntry], measured: Measured, chosen: Chosen
) -> tuple[DetPoint, ...]:
    """FNIR of the photos left out at the operating points of other targets."""
    if measured.strangers is None:
        return ()
    roster, points = roster_of(entries), []
    for rate in DET_RATES:
        rule = operating_point(roster, measured, Chosen(rate, None, chosen.min_frames)).rule
        points.append(DetPoint(rate, _rate(left_out, _missed(left_out, rule)[0])))
    return tuple(points)


def _edges(values: Float64) -> Float64:
    if len(values) == 0:
        return np.linspace(0.0, 1.0, BINS + 1)
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, max(high, low + 1e-3), BINS + 1)
