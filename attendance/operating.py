"""The operating point of a gallery: its rule, from the card, the target and who is enrolled; anew when they change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from attendance.decide import Rule
from attendance.search.port import Gallery, mean_direction
from attendance.threshold import (
    lead_weight,
    likeness_shift,
    operating_threshold,
    pass_shift,
    stranger_score,
    threshold_at,
)
from attendance.types import Float32, GalleryEntry, StrangerTail

_log = logging.getLogger(__name__)

COMPARED_PEOPLE = 5000
"""Of a larger gallery a sample of this size tells how alike its people are, and its look-alikes are not searched."""

AT_ONCE_PEOPLE = 300
"""Up to so many people are compared within the lookup that first sees a change; more in a thread of their own."""

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """Who is enrolled: ``people`` (N) in order, their mean directions and one photo of each, float32 (N, D).

    ``single_share`` is the mean over people of 1 / templates; ``templates`` how many there are.
    """

    people: tuple[str, ...]
    means: Float32
    photos: Float32
    templates: int
    single_share: float


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two people, in order, and the cosine of their mean directions."""

    one: str
    other: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the operator chose: a target rate or a fixed cosine, and from which good frame on a pass is decided."""

    target_fpir: float
    fixed: float | None
    min_frames: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What of the card the rule is made of; see `ModelCard`. ``margin`` may be the operator's instead."""

    margin: float
    thresholds: Mapping[float, float]
    person_thresholds: Mapping[float, float] | None
    strangers: StrangerTail | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A gallery's rule and what it was computed from.

    ``likeness`` is the median, over people, of the cosine of a photo to the nearest other person, None for fewer than
    two people. ``shift`` is what that adds to the threshold. ``pairs`` are the look-alikes, the most alike first.
    """

    rule: Rule
    people: int
    templates: int
    single_share: float
    likeness: float | None
    shift: float
    pairs: tuple[AlikePair, ...]


def roster_of(entries: Iterable[GalleryEntry]) -> Roster:
    """The people of a gallery's entries; the photo of each is that of the first template by id."""
    held: dict[str, list[GalleryEntry]] = {}
    for entry in entries:
        held.setdefault(entry.identity_id, []).append(entry)
    people = tuple(sorted(held))
    ordered = [sorted(held[who], key=lambda entry: entry.template_id) for who in people]
    if not people:
        empty = np.empty((0, 0), np.float32)
        return Roster((), empty, empty, 0, 1.0)
    return Roster(
        people,
        means=np.stack([mean_direction(np.stack([entry.vector for entry in own])) for own in ordered]),
        photos=np.stack([own[0].vector for own in ordered]),
        templates=sum(len(own) for own in ordered),
        single_share=float(np.mean([1.0 / len(own) for own in ordered])),
    )


def likeness_of(roster: Roster) -> float | None:
    """How near the nearest other person is to an enrolled photo: the median cosine over (a sample of) the people."""
    count = len(roster.people)
    if count < 2:
        return None
    asked = np.unique(np.linspace(0, count - 1, min(count, COMPARED_PEOPLE)).astype(np.int64))
    nearest = []
    for start in range(0, len(asked), _ROWS_AT_ONCE):
        rows = asked[start : start + _ROWS_AT_ONCE]
        cosines = roster.photos[rows] @ roster.means.T
        cosines[np.arange(len(rows)), rows] = -1.0
        nearest.append(cosines.max(axis=1))
    return float(np.median(np.concatenate(nearest)))


def alike_pairs(roster: Roster, line: float) -> tuple[AlikePair, ...]:
    """Pairs of people whose mean directions have a cosine of ``line`` or more, the most alike first."""
    found = []
    for start in range(0, len(roster.people), _ROWS_AT_ONCE):
        cosines = roster.means[start : start + _ROWS_AT_ONCE] @ roster.means.T
        rows, columns = np.nonzero(cosines >= line)
        for row, column in zip((rows + start).tolist(), columns.tolist(), strict=True):
            if row < column:
                found.append(AlikePair(roster.people[row], roster.people[column], float(cosines[row - start, column])))
    return tuple(sorted(found, key=lambda pair: (-pair.similarity, pair.one, pair.other)))


def operating_point(roster: Roster, measured: Measured, chosen: Chosen) -> OperatingPoint:
    """The rule of a gallery.

    The danger line of look-alikes is what a match needs without a lead: beyond it either would pass for the other.

    Raises:
        ValueError: a target outside of 0..1.
        ModelError: a card whose measured numbers are too few or in disorder.
    """
    people = len(roster.people)
    likeness = likeness_of(roster)
    shift = 0.0
    if measured.strangers is not None and likeness is not None and chosen.fixed is None:
        shift = likeness_shift(measured.strangers, likeness, people=people, single_share=roster.single_share)
    rule = rule_for(people, measured, chosen, templates=roster.templates, single_share=roster.single_share, shift=shift)
    pairs = alike_pairs(roster, rule.threshold) if people <= COMPARED_PEOPLE else ()
    return OperatingPoint(
        rule=replace(rule, look_alikes=frozenset((pair.one, pair.other) for pair in pairs)),
        people=people,
        templates=roster.templates,
        single_share=roster.single_share,
        likeness=likeness,
        shift=shift,
        pairs=pairs,
    )


def rule_for(
    people: int, measured: Measured, chosen: Chosen, *, templates: int, single_share: float, shift: float
) -> Rule:
    """The rule of a gallery of so many people, from the card's model of strangers or, without one, from its rates."""
    margin, tail = measured.margin, measured.strangers
    alike = 2.0 * margin if tail is None else max(tail.look_alike_margin, margin)
    if chosen.fixed is not None:
        return Rule(threshold=chosen.fixed, margin=margin, look_alike_margin=alike)
    several = templates > people and measured.person_thresholds is not None
    rates = measured.person_thresholds if several and measured.person_thresholds is not None else measured.thresholds
    if tail is None:
        threshold = operating_threshold(rates, target_fpir=chosen.target_fpir, people=people)
        return Rule(threshold=threshold, margin=margin, look_alike_margin=alike)
    score = stranger_score(tail, chosen.target_fpir, people=people, single_share=single_share) + shift
    frames = range(1, chosen.min_frames + 1)
    return Rule(
        # Several people are never less than one: the rate of one comparison is the least that is asked.
        threshold=min(max(score, threshold_at(rates, chosen.target_fpir)), 2.0),
        margin=margin,
        lead_weight=lead_weight(tail, people),
        lead_cap=tail.lead_cap,
        pass_shifts=tuple(pass_shift(tail, chosen.target_fpir, decided_from) for decided_from in frames),
        look_alike_margin=alike,
    )


class RuleKeeper:
    """The present rule of a gallery that others change. To be asked from any thread, at every decision.

    Numbers of people and templates count at once. Who is like whom is compared within the same question in a small
    gallery, and in a thread of its own in a large one; until that is done, the last comparison stands.
    """

    def __init__(self, gallery: Gallery, measured: Measured, chosen: Chosen) -> None:
        self._gallery = gallery
        self._measured = measured
        self._chosen = chosen
        self._lock = threading.Lock()
        self._state: object = None
        self._point: OperatingPoint | None = None
        self._comparing: threading.Thread | None = None

    def __call__(self) -> Rule:
        """The rule as of now."""
        state, point = self._state, self._point
        if point is not None and state == self._gallery.state():
            return point.rule
        return self.point().rule

    def point(self) -> OperatingPoint:
        """The operating point as of now, with what it was computed from."""
        with self._lock:
            state = self._gallery.state()
            if self._point is not None and state == self._state:
                return self._point
            people, templates = self._gallery.counts()
            if self._point is None or people <= AT_ONCE_PEOPLE:
                self._take(self._compared(), state)
            else:
                self._take(self._resized(self._point, people, templates), state)
                self._compare_beside()
            assert self._point is not None
            return self._point

    def _compared(self) -> OperatingPoint:
        return operating_point(roster_of(self._gallery.entries()), self._measured, self._chosen)

    def _resized(self, last: OperatingPoint, people: int, templates: int) -> OperatingPoint:
        rule = rule_for(
            people,
            self._measured,
            self._chosen,
            templates=templates,
            single_share=last.single_share,
            shift=last.shift,
        )
        rule = replace(rule, look_alikes=last.rule.look_alikes)
        return replace(last, rule=rule, people=people, templates=templates)

    def _compare_beside(self) -> None:
        if self._comparing is not None and self._comparing.is_alive():
            # What it reads may be older than this change: it will find the state moved, and is begun again.
            self._state = None
            return
        self._comparing = threading.Thread(target=self._compare, name="operating point", daemon=True)
        self._comparing.start()

    def _compare(self) -> None:
        state = self._gallery.state()
        point = self._compared()
        with self._lock:
            self._take(point, state)

    def _take(self, point: OperatingPoint, state: object) -> None:
        before, self._point, self._state = self._point, point, state
        rule = point.rule
        if before is None or before.rule != rule:
            _log.info(
                "threshold %.4f at no lead, %.4f at a full one, for %d people with %d templates (%.4f of it for people "
                "who are more alike than usual), %d pairs of look-alikes, margin %.4f",
                rule.required(0.0),
                rule.required(None),
                point.people,
                point.templates,
                point.shift,
                len(point.pairs),
                rule.margin,
            )
