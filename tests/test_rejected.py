"""Faces that are not somebody's: found by person and space, compared with the query, gone when they are forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attendance.rejected import beside_rejected, nobody_rejected, rejected_of
from attendance.types import Candidate, Float32, Person
from tests.enrolled import CARD, person, template, vector


def with_faces(number: int, *vectors: Float32, card_id: str = CARD) -> Person:
    faces = tuple(template(f"not-{place}", each, card_id=card_id) for place, each in enumerate(vectors))
    return replace(person(number), rejected=faces)


def test_the_nearest_of_a_persons_rejected_faces_counts() -> None:
    faces = [vector(seed) for seed in (1, 2, 3)]
    people = {"person-01": with_faces(1, *faces), "person-02": person(2)}
    query = vector(9)
    told = beside_rejected(
        [Candidate("person-01", 0.5), Candidate("person-02", 0.25), Candidate("person-03", 0.125)],
        query,
        rejected_of(lambda: people, CARD),
    )
    nearest = max(sum(float(a) * float(b) for a, b in zip(face, query, strict=True)) for face in faces)
    assert told[0].rejected == pytest.approx(nearest, abs=1e-6)
    assert [(c.identity_id, c.similarity) for c in told] == [
        ("person-01", 0.5),
        ("person-02", 0.25),
        ("person-03", 0.125),
    ]
    assert [c.rejected for c in told[1:]] == [None, None]


def test_faces_of_another_space_are_left_out() -> None:
    people = {"person-01": with_faces(1, vector(1), card_id="other")}
    assert len(rejected_of(lambda: people, CARD)("person-01")) == 0
    assert (
        beside_rejected([Candidate("person-01", 0.5)], vector(1), rejected_of(lambda: people, CARD))[0].rejected is None
    )


def test_the_people_are_asked_for_at_each_query() -> None:
    people = {"person-01": with_faces(1, vector(1))}
    faces_of = rejected_of(lambda: people, CARD)
    assert faces_of("person-01").dtype == np.float32
    assert len(faces_of("person-01")) == 1
    people = {"person-01": person(1)}
    assert len(faces_of("person-01")) == 0
    assert len(nobody_rejected("person-01")) == 0
