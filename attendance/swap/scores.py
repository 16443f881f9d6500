"""How well each person is told apart by the templates in force and by those to come, from the templates alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attendance.search.port import mean_direction
from attendance.types import Float32, Person

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class PersonScores:
    """Of one person's templates in one space.

    ``genuine``: the mean cosine of each template to the mean direction of the person's others, None below two
    templates. ``other``: the highest cosine of a template to the mean direction of somebody else, and ``nearest`` who
    that is; None where nobody else is enrolled.
    """

    templates: int
    genuine: float | None
    other: float | None
    nearest: str | None


NOBODY = PersonScores(0, None, None, None)


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """One person before and after."""

    identity_id: str
    before: PersonScores
    after: PersonScores

    def to_json(self) -> dict[str, Any]:
        """As plain values, similarities to six digits."""
        found: dict[str, Any] = {"identity_id": self.identity_id}
        for name, scores in (("before", self.before), ("after", self.after)):
            found[f"templates_{name}"] = scores.templates
            found[f"genuine_{name}"] = None if scores.genuine is None else round(scores.genuine, 6)
            found[f"other_{name}"] = None if scores.other is None else round(scores.other, 6)
            found[f"nearest_{name}"] = scores.nearest
        return found


def scores_of(people: Iterable[Person], *, space: str) -> dict[str, PersonScores]:
    """The scores of everybody who has templates of a space and is not deactivated, by identity id."""
    vectors = {}
    for person in people:
        mine = [t.vector for t in (*person.templates, *person.shelved) if t.card_id == space]
        if mine and person.deactivated_at is None:
            vectors[person.identity_id] = np.stack(mine)
    names = sorted(vectors)
    if not names:
        return {}
    means = np.stack([mean_direction(vectors[name]) for name in names])
    others = _nearest_others([vectors[name] for name in names], means)
    return {
        name: PersonScores(
            templates=len(vectors[name]),
            genuine=_leave_one_out(vectors[name]),
            other=None if other is None else other[0],
            nearest=None if other is None else names[other[1]],
        )
        for name, other in zip(names, others, strict=True)
    }


def changes_of(before: Mapping[str, PersonScores], after: Mapping[str, PersonScores]) -> list[ScoreChange]:
    """Everybody of either, in order."""
    names = sorted(before.keys() | after.keys())
    return [ScoreChange(name, before.get(name, NOBODY), after.get(name, NOBODY)) for name in names]


def _leave_one_out(vectors: Float32) -> float | None:
    if len(vectors) < 2:
        return None
    wide = vectors.astype(np.float64)
    rest = wide.sum(axis=0) - wide
    lengths = np.linalg.norm(rest, axis=1)
    return float(np.mean(np.sum(wide * rest, axis=1) / np.where(lengths > 0.0, lengths, 1.0)))


def _nearest_others(vectors: Sequence[Float32], means: Float32) -> list[tuple[float, int] | None]:
    """For each person the highest cosine of a template to somebody else's mean direction, and whose."""
    if len(means) < 2:
        return [None] * len(means)
    owners = np.repeat(np.arange(len(vectors)), [len(each) for each in vectors])
    stacked = np.concatenate(vectors)
    best: list[tuple[float, int] | None] = [None] * len(means)
    for start in range(0, len(stacked), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        cosines = stacked[rows] @ means.T
        cosines[np.arange(len(cosines)), owners[rows]] = -2.0
        for owner, place, value in zip(owners[rows].tolist(), cosines.argmax(axis=1).tolist(),
                                       cosines.max(axis=1).tolist(), strict=True):  # fmt: skip
            found = best[owner]
            if found is None or value > found[0]:
                best[owner] = (value, place)
    return best
