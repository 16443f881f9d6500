"""Which faces are trained on, which are held out of known people, and which people are held out altogether. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attendance.errors import UsageError
from lab.data.source import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Places in a source, int64 and rising: ``train``, ``validation`` (other photos of the same people), ``strangers``.

    ``classes`` (P,) holds each person's class, -1 for a stranger; ``class_people`` (C,) the classes' people.
    """

    train: Ints
    validation: Ints
    strangers: Ints
    classes: Ints
    class_people: tuple[str, ...]


def split_people(
    people: Sequence[str],
    labels: Ints,
    *,
    seed: int = 0,
    most_people: int | None = None,
    validation_photos: int = 0,
    strangers: float = 0.0,
) -> Split:
    """Divide faces.

    Args:
        people: (P,) names.
        labels: (N,) each face's place among them.
        seed: another seed holds out other people; a person's side depends on the seed and the name alone.
        most_people: how many people take part, the first by that same order; all by default.
        validation_photos: the last so many photos of each known person are held out, never the only one.
        strangers: share of the people who are held out with all their photos, 0 to 1.

    Raises:
        UsageError: fewer than two people are left to train on.
    """
    order = sorted(range(len(people)), key=lambda place: (_draw(seed, people[place]), people[place]))[:most_people]
    held_out = order[: round(strangers * len(order))]
    known = sorted(order[len(held_out) :])
    if len(known) < 2:
        raise UsageError(f"expected two people or more to train on, got {len(known)}: give more, or hold out fewer")
    classes = np.full(len(people), -1, dtype=np.int64)
    classes[known] = np.arange(len(known))
    last = _photos_from_the_end(labels)
    counts = np.bincount(labels, minlength=len(people))
    kept_back = np.minimum(validation_photos, counts - 1)[labels]
    of_known = classes[labels] >= 0
    return Split(
        train=np.flatnonzero(of_known & (last >= kept_back)),
        validation=np.flatnonzero(of_known & (last < kept_back)),
        strangers=np.flatnonzero(np.isin(labels, held_out)),
        classes=classes,
        class_people=tuple(people[place] for place in known),
    )


def _photos_from_the_end(labels: Ints) -> Ints:
    """(N,) how many later photos each face's person has."""
    order = np.argsort(labels, kind="stable")[::-1]
    ends = np.flatnonzero(np.diff(labels[order], prepend=-1))
    starts = np.repeat(ends, np.diff(np.append(ends, len(labels))))
    later = np.empty(len(labels), dtype=np.int64)
    later[order] = np.arange(len(labels)) - starts
    return later


def _draw(seed: int, person: str) -> bytes:
    return hashlib.sha256(f"{seed} {person}".encode()).digest()
