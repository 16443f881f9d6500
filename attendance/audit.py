"""The gallery looked at as a whole: who is in it twice, which photos do not belong, for whom it does not work.

Every person is compared with everybody else, exactly, a few hundred templates at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.consistency import OutlierLimits, outliers
from attendance.decide import REJECTED
from attendance.duplicates import Standing
from attendance.search.port import mean_direction
from attendance.types import Candidate, Decision, Float32, Float64, Outcome, Person, Template

_ROWS_AT_ONCE = 512

Judge = Callable[[Sequence[Candidate]], Decision]
"""The rule: different people with their cosines -> the decision."""


@dataclass(frozen=True, slots=True, eq=False)
class Everybody:
    """Who is in the gallery: the people in order of their ids, their mean directions (N, D), and every template.

    ``vectors`` is float32 (M, D), ``owner`` (M) the place of each one's person.
    """

    people: tuple[Person, ...]
    means: Float32
    templates: tuple[Template, ...]
    vectors: Float32
    owner: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class DoublePair:
    """Two ids that look like one person: in order, with the highest cosine and the score by which they stand out."""

    one: str
    other: str
    similarity: float
    score: float | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        score = None if self.score is None else round(self.score, 6)
        return {"one": self.one, "other": self.other, "similarity": round(self.similarity, 6), "score": score}


@dataclass(frozen=True, slots=True)
class Misfit:
    """A template that does not fit its person's others; ``looks_like`` is whom it fits instead, if anybody."""

    identity_id: str
    path: str
    similarity: float
    least: float
    looks_like: str | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "identity_id": self.identity_id,
            "file": self.path,
            "similarity": round(self.similarity, 6),
            "least": round(self.least, 6),
            "looks_like": self.looks_like,
        }


@dataclass(frozen=True, slots=True)
class PhotoTest:
    """One enrolled photo looked up in a gallery without it."""

    path: str
    similarity: float
    runner_up: str | None
    outcome: Outcome
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "file": self.path,
            "similarity": round(self.similarity, 6),
            "runner_up": self.runner_up,
            "outcome": str(self.outcome),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class PersonTest:
    """Whether the gallery works for a person: every photo of theirs looked up by the others.

    ``works`` is None where there is one photo only, which nothing can be said by. ``needs`` says which photo would
    help, empty where none is needed.
    """

    identity_id: str
    works: bool | None
    photos: tuple[PhotoTest, ...]
    needs: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "identity_id": self.identity_id,
            "works": self.works,
            "photos": [photo.to_json() for photo in self.photos],
            "needs": self.needs,
        }


def everybody(people: Iterable[Person], card_id: str) -> Everybody:
    """Who has templates of this model and is not deactivated."""
    kept = tuple(
        sorted(
            (p for p in people if p.deactivated_at is None and any(t.card_id == card_id for t in p.templates)),
            key=lambda person: person.identity_id,
        )
    )
    told = [(place, t) for place, person in enumerate(kept) for t in person.templates if t.card_id == card_id]
    if not told:
        return Everybody((), np.empty((0, 0), np.float32), (), np.empty((0, 0), np.float32), np.empty(0, np.intp))
    vectors = np.stack([template.vector for _, template in told])
    owner = np.array([place for place, _ in told], np.intp)
    starts = np.searchsorted(owner, np.arange(len(kept) + 1))
    means = np.stack([mean_direction(vectors[a:b]) for a, b in itertools.pairwise(starts)])
    return Everybody(kept, means, tuple(template for _, template in told), vectors, owner)


def double_pairs(gallery: Everybody, *, threshold: float, standing: Standing | None) -> list[DoublePair]:
    """Pairs of ids that look like one person, as a newcomer is judged: each person against the others.

    A pair is listed from the cosine ``threshold`` of one's photo to the other on, or where one stands out to the other.
    """
    if len(gallery.people) < 2:
        return []
    places, cosines = _nearest(gallery, gallery.vectors, gallery.owner)
    found: dict[tuple[str, str], DoublePair] = {}
    for row, column in zip(*np.nonzero(cosines >= threshold), strict=True):
        _note(found, gallery, int(gallery.owner[row]), int(places[row, column]), float(cosines[row, column]), None)
    if standing is not None and len(gallery.people) > max(standing.from_people, 2):
        for one, other, similarity, score in _who_stand_out(gallery, standing, places, cosines):
            _note(found, gallery, one, other, similarity, score)
    return sorted(found.values(), key=lambda pair: (-pair.similarity, pair.one, pair.other))


def misfits(gallery: Everybody, limits: OutlierLimits) -> list[Misfit]:
    """The templates that do not fit their person's others, by person."""
    found = []
    for place, person in enumerate(gallery.people):
        rows = np.flatnonzero(gallery.owner == place) if len(person.templates) > 1 else np.empty(0, np.intp)
        for outlier in outliers(gallery.vectors[rows], limits) if len(rows) > 1 else []:
            row = int(rows[outlier.place])
            places, cosines = _nearest(gallery, gallery.vectors[row : row + 1], gallery.owner[row : row + 1])
            like = gallery.people[int(places[0, 0])].identity_id if cosines[0, 0] >= outlier.least else None
            path = gallery.templates[row].path
            found.append(Misfit(person.identity_id, path, outlier.similarity, outlier.least, like))
    return found


def self_test(gallery: Everybody, judge: Judge) -> list[PersonTest]:
    """Look every photo up in a gallery that lacks it: whether the rule finds its person by the other photos.

    Args:
        gallery: everybody.
        judge: the gallery's rule.
    """
    if not gallery.people:
        return []
    places, cosines = _nearest(gallery, gallery.vectors, gallery.owner)
    sums = np.zeros(gallery.means.shape, np.float64)
    np.add.at(sums, gallery.owner, gallery.vectors.astype(np.float64))
    starts = np.searchsorted(gallery.owner, np.arange(len(gallery.people) + 1))
    tests = []
    for place, person in enumerate(gallery.people):
        rows = range(int(starts[place]), int(starts[place + 1]))
        photos = []
        for row in rows if len(rows) > 1 else ():
            others = sums[place] - gallery.vectors[row]
            length = max(float(np.linalg.norm(others)), 1e-12)
            own = Candidate(person.identity_id, float(gallery.vectors[row] @ others) / length)
            near = [
                Candidate(gallery.people[int(p)].identity_id, float(c))
                for p, c in zip(places[row], cosines[row], strict=True)
                if c > -2.0
            ]
            photos.append(_tested(gallery.templates[row].path, own, near, judge))
        tests.append(_person_test(person.identity_id, photos))
    return tests


def _tested(path: str, own: Candidate, near: Sequence[Candidate], judge: Judge) -> PhotoTest:
    decision = judge([own, *near])
    assert decision.best is not None
    right = decision.best.identity_id == own.identity_id
    runner_up = next((candidate.identity_id for candidate in near), None)
    # Somebody else who is found is worse than nobody.
    reason = decision.reason if right else f"found_{decision.best.identity_id}"
    if decision.outcome is Outcome.KNOWN and not right:
        return PhotoTest(path, own.similarity, runner_up, Outcome.UNKNOWN, reason)
    return PhotoTest(path, own.similarity, runner_up, decision.outcome, decision.reason if right else reason)


def _person_test(identity_id: str, photos: Sequence[PhotoTest]) -> PersonTest:
    if not photos:
        return PersonTest(identity_id, None, (), "a second photo, from another day: one alone cannot be tested")
    missed = [photo for photo in photos if photo.outcome is not Outcome.KNOWN]
    works = 2 * len(missed) < len(photos)
    needs = ""
    if missed and works:
        needs = "another photo like " + ", ".join(photo.path for photo in missed)
    elif missed:
        needs = _what_helps(missed)
    return PersonTest(identity_id, works, tuple(photos), needs)


def _what_helps(missed: Sequence[PhotoTest]) -> str:
    """No further photo tells people apart who look alike: then it is the other id that must be looked at."""
    asked = [photo for photo in missed if photo.outcome is Outcome.AMBIGUOUS and photo.reason != REJECTED]
    alike = sorted({photo.runner_up for photo in asked if photo.runner_up is not None})
    if alike and 2 * len(asked) > len(missed):
        return f"no photo, but a look at {', '.join(alike)}: so alike that it may be the same person under two ids"
    return "new photos, frontal and sharp: those enrolled do not find each other"


def _nearest(gallery: Everybody, vectors: Float32, owner: NDArray[np.intp]) -> tuple[NDArray[np.intp], Float64]:
    """The three nearest people to each vector, but for its owner: places (M, 3) and cosines; -3 where there is none."""
    width = min(3, len(gallery.people))
    places = np.zeros((len(vectors), width), np.intp)
    cosines = np.full((len(vectors), width), -3.0)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        products = (vectors[rows] @ gallery.means.T).astype(np.float64)
        products[np.arange(len(products)), owner[rows]] = -3.0
        some = np.argpartition(-products, width - 1, axis=1)[:, :width]
        values = np.take_along_axis(products, some, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places[rows] = np.take_along_axis(some, order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
    return places, cosines


def _who_stand_out(
    gallery: Everybody, rule: Standing, places: NDArray[np.intp], cosines: Float64
) -> Iterable[tuple[int, int, float, float]]:
    """Person, whom they stand out to, the highest cosine, the score."""
    count = len(gallery.people)
    neighbours, alike = _nearest(gallery, gallery.means, np.arange(count))
    nearest = neighbours[:, 0]
    to_nearest = np.einsum("md,md->m", gallery.vectors, gallery.means[nearest[gallery.owner]]).astype(np.float64)
    first = places[:, 0] == nearest[gallery.owner]
    lead = to_nearest - np.where(first, cosines[:, 1], cosines[:, 0])
    own = np.einsum("md,md->m", gallery.vectors, gallery.means[gallery.owner]).astype(np.float64)
    everybody = (gallery.vectors @ gallery.means.sum(axis=0) - own - to_nearest) / max(count - 2, 1)
    crowd = np.where(neighbours[nearest, 0] == np.arange(count), alike[nearest, 1], alike[nearest, 0])
    scores = np.array(
        [
            rule.score(float(s), lead=float(ahead), crowd=float(crowd[who]), everybody=float(mean))
            for s, ahead, who, mean in zip(to_nearest, lead, gallery.owner, everybody, strict=True)
        ]
    )
    weights = np.bincount(gallery.owner, minlength=count)
    means = np.bincount(gallery.owner, weights=scores, minlength=count) / weights
    for person in np.flatnonzero(means >= rule.least).tolist():
        highest = float(to_nearest[gallery.owner == person].max())
        yield person, int(nearest[person]), highest, float(means[person])


def _note(
    found: dict[tuple[str, str], DoublePair],
    gallery: Everybody,
    one: int,
    other: int,
    similarity: float,
    score: float | None,
) -> None:
    """Keep a pair with the highest of what is said of it."""
    ids = sorted((gallery.people[one].identity_id, gallery.people[other].identity_id))
    before = found.get((ids[0], ids[1]))
    if before is not None:
        similarity = max(similarity, before.similarity)
        score = before.score if score is None else score if before.score is None else max(score, before.score)
    found[ids[0], ids[1]] = DoublePair(ids[0], ids[1], similarity, score)
