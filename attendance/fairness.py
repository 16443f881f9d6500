"""Whether the gallery works equally well for groups of its people: misses and false matches by group, with intervals.

Every enrolled photo is looked up twice: by its person's other photos in the gallery (is the person missed?), and in the
gallery without its person, as if they had never been enrolled (is the stranger taken for somebody?). The rule is the
gallery's own, at its own target and at others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.calibration import Rate
from attendance.decide import Rule, decide
from attendance.metrics import bootstrap_intervals
from attendance.search.port import mean_direction
from attendance.types import Candidate, Float32, Float64, GalleryEntry, Outcome

RESAMPLES = 1000
FEWEST_PEOPLE = 10
"""Of a smaller group nothing is told: its rates would be those of single people, who could be recognised by them."""
FEW_PEOPLE = 30
"""Of a smaller group rates are marked: their intervals are wide, and by the bootstrap rather too narrow."""
NOT_STATED = "(not stated)"
CLUSTERS = 4
_CLUSTER_PEOPLE = 30
_ROUNDS = 30

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GroupRates:
    """Of one group at one rule.

    ``missed``: share of photos whose person was not found by their others, None where nobody has two photos. ``taken``:
    share of photos that were taken for somebody else when their person was not enrolled. ``missed_more`` and
    ``taken_more`` are how much higher both are than everybody else's, None without anybody else.
    """

    missed: Rate | None
    taken: Rate | None
    missed_more: Rate | None
    taken_more: Rate | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group: how many people and photos, and its rates by target FPIR; empty where it is too small to tell.

    ``few`` marks groups whose intervals are to be read with care.
    """

    name: str
    people: int
    photos: int
    few: bool
    rates: Mapping[float, GroupRates]


@dataclass(frozen=True, slots=True)
class Fairness:
    """The report: ``by`` is ``group`` (as people stated it) or ``cluster`` (people who look alike)."""

    by: str
    people: int
    photos: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _LookedUp:
    """Per photo: its person's place, the candidates with them enrolled (None: a single photo) and without them."""

    owner: Ints
    enrolled: tuple[tuple[Candidate, Candidate] | None, ...]
    strange: tuple[tuple[Candidate, ...], ...]
    people: tuple[str, ...]


def fairness(
    entries: Sequence[GalleryEntry], stated: Mapping[str, str], rules: Mapping[float, Callable[[], Rule]]
) -> Fairness:
    """Compare the groups of a gallery.

    Args:
        entries: its templates.
        stated: identity id to the group that the person stated; empty or missing: none. Where nobody stated any,
            people who look alike are put together instead.
        rules: target FPIR to the gallery's rule at it.
    """
    people = tuple(sorted({entry.identity_id for entry in entries}))
    place = {who: index for index, who in enumerate(people)}
    owner = np.array([place[entry.identity_id] for entry in entries], np.int64)
    vectors = np.stack([entry.vector for entry in entries]) if entries else np.empty((0, 0), np.float32)
    if len(people) < 3:
        return Fairness("group", len(people), len(entries), ())
    by, names = groups_of(people, stated, vectors, owner)
    looked_up = _look_up(vectors, owner, people)
    found = {target: _outcomes(looked_up, rule()) for target, rule in rules.items()}
    ordered = sorted(set(names), key=lambda name: (name == NOT_STATED, name))
    groups = [_group(name, np.array([each == name for each in names]), owner, found) for name in ordered]
    return Fairness(by, len(people), len(entries), tuple(groups))


def groups_of(
    people: Sequence[str], stated: Mapping[str, str], vectors: Float32, owner: Ints
) -> tuple[str, tuple[str, ...]]:
    """By what people are grouped, and the group of each."""
    told = tuple(stated.get(who, "").strip() for who in people)
    if any(told):
        return "group", tuple(name if name else NOT_STATED for name in told)
    means = np.stack([mean_direction(vectors[owner == place]) for place in range(len(people))])
    return "cluster", tuple(f"cluster {number + 1}" for number in _clusters(means))


def _clusters(means: Float32) -> list[int]:
    """k-means by cosine from a fixed start: the largest cluster is 0."""
    count = max(min(CLUSTERS, len(means) // _CLUSTER_PEOPLE), 1)
    # The first is the most typical person, each next one the least like all before (Gonzalez 1985).
    chosen = [int(np.argmax(means @ means.sum(axis=0)))]
    while len(chosen) < count:
        chosen.append(int(np.argmin((means @ means[chosen].T).max(axis=1))))
    centres = means[chosen]
    nearest = np.zeros(len(means), np.int64)
    for _ in range(_ROUNDS):
        nearest = np.argmax(means @ centres.T, axis=1).astype(np.int64)
        centres = np.stack(
            [mean_direction(means[nearest == c]) if (nearest == c).any() else centres[c] for c in range(count)]
        )
    sizes = np.bincount(nearest, minlength=count)
    rank = {int(cluster): place for place, cluster in enumerate(np.argsort(-sizes, kind="stable"))}
    return [rank[int(cluster)] for cluster in nearest]


def _look_up(vectors: Float32, owner: Ints, people: Sequence[str]) -> _LookedUp:
    sums = np.zeros((len(people), vectors.shape[1]), np.float64)
    np.add.at(sums, owner, vectors.astype(np.float64))
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    several = np.bincount(owner, minlength=len(people)) > 1
    enrolled: list[tuple[Candidate, Candidate] | None] = []
    strange: list[tuple[Candidate, ...]] = []
    for row, person in enumerate(owner.tolist()):
        cosines: Float64 = means @ vectors[row].astype(np.float64)
        cosines[person] = -2.0
        first, second = np.argsort(-cosines, kind="stable")[:2].tolist()
        others = (Candidate(people[first], float(cosines[first])), Candidate(people[second], float(cosines[second])))
        strange.append(others)
        rest = sums[person] - vectors[row]
        own = float(rest @ vectors[row]) / max(float(np.linalg.norm(rest)), 1e-12)
        enrolled.append((Candidate(people[person], own), others[0]) if several[person] else None)
        if several[person] and own < others[1].similarity:
            enrolled[-1] = others
    return _LookedUp(owner, tuple(enrolled), tuple(strange), tuple(people))


def _outcomes(looked_up: _LookedUp, rule: Rule) -> tuple[Float64, Float64]:
    """Per photo: missed (1, 0, NaN where it could not be asked) and taken for somebody else (1 or 0)."""
    missed, taken = [], []
    for person, own, others in zip(looked_up.owner.tolist(), looked_up.enrolled, looked_up.strange, strict=True):
        if own is None:
            missed.append(math.nan)
        else:
            found = decide(own, rule)
            right = found.best is not None and found.best.identity_id == looked_up.people[person]
            missed.append(float(not (right and found.outcome is Outcome.KNOWN)))
        taken.append(float(decide(others, rule).outcome is Outcome.KNOWN))
    return np.array(missed, np.float64), np.array(taken, np.float64)


def _group(name: str, members: Bools, owner: Ints, found: Mapping[float, tuple[Float64, Float64]]) -> Group:
    people, photos = int(members.sum()), int(members[owner].sum())
    rates = {}
    if people >= FEWEST_PEOPLE:
        for target, (missed, taken) in found.items():
            one, more = _compared(missed, members, owner)
            two, two_more = _compared(taken, members, owner)
            rates[target] = GroupRates(one, two, more, two_more)
    return Group(name, people, photos, people < FEW_PEOPLE, rates)


def _compared(outcomes: Float64, members: Bools, owner: Ints) -> tuple[Rate | None, Rate | None]:
    """The group's rate, and how much higher it is than the rate of everybody else; people are drawn for both."""
    asked = ~np.isnan(outcomes)
    trials = np.bincount(owner[asked], minlength=len(members)).astype(np.float64)
    hits = np.bincount(owner[asked], weights=outcomes[asked], minlength=len(members))
    inside, outside = np.flatnonzero(members & (trials > 0)), np.flatnonzero(~members & (trials > 0))
    if len(inside) < FEWEST_PEOPLE:
        return None, None

    def rate_of(places: NDArray[np.intp], draws: Float64) -> float:
        total = float(draws @ trials[places])
        return float(draws @ hits[places]) / total if total > 0.0 else math.nan

    def statistic(draws: Ints) -> list[float]:
        counts = draws.astype(np.float64)
        own = rate_of(inside, counts[: len(inside)])
        return [own, own - rate_of(outside, counts[len(inside) :]) if len(outside) else math.nan]

    sizes = [len(inside), len(outside)] if len(outside) else [len(inside)]
    at = statistic(np.ones(sum(sizes), np.int64))
    low_high = bootstrap_intervals(statistic, sizes, resamples=RESAMPLES, seed=0)
    # Where nothing happened the bootstrap shows no spread: the rule of three, over people, bounds it.
    least = 3.0 / len(inside) if at[0] == 0.0 else 0.0
    own = Rate(at[0], float(low_high[0, 0]), min(max(float(low_high[0, 1]), least), 1.0))
    if len(outside) < FEWEST_PEOPLE:
        return own, None
    return own, Rate(at[1], float(low_high[1, 0]), max(float(low_high[1, 1]), at[1] + least))
