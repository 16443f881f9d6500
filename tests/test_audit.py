"""A gallery looked at as a whole: doubles, misfits, and whether it works, on vectors made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attendance.audit import double_pairs, everybody, misfits, self_test
from attendance.consistency import OutlierLimits
from attendance.duplicates import Standing
from attendance.types import Candidate, Decision, Float32, Outcome, Person
from tests.enrolled import CARD, person, template

DIMENSION = 16
RULE = Standing(lead_weight=0.5, lead_cap=0.1, crowd_weight=0.3, from_people=3, least=0.75)


def direction(seed: int) -> Float32:
    row = np.random.default_rng(seed).normal(size=DIMENSION)
    return np.asarray(row / np.linalg.norm(row), np.float32)


def near(seed: int, variant: int, noise: float = 0.25) -> Float32:
    row = direction(seed) + noise * np.random.default_rng(1000 * seed + variant).normal(size=DIMENSION) / 4
    return np.asarray(row / np.linalg.norm(row), np.float32)


def somebody(number: int, *rows: Float32) -> Person:
    templates = tuple(template(f"{number}-{place}", row) for place, row in enumerate(rows))
    return replace(person(number, templates=0), templates=templates)


def crowd(count: int = 12) -> list[Person]:
    return [somebody(n, *(near(n, v) for v in range(3))) for n in range(count)]


def judge(candidates: Sequence[Candidate]) -> Decision:
    """Known from 0.8 on."""
    best = max(candidates, key=lambda candidate: candidate.similarity)
    known = best.similarity >= 0.8
    return Decision(Outcome.KNOWN if known else Outcome.UNKNOWN, best, None, None, 0.8, "x")


def test_nobody_has_nothing() -> None:
    empty = everybody([], CARD)
    assert double_pairs(empty, threshold=0.9, standing=RULE) == []
    assert (misfits(empty, OutlierLimits(0.5, 0.5)), self_test(empty, judge)) == ([], [])


def test_who_is_there_twice_is_found_by_cosine_or_by_standing_out() -> None:
    people = crowd()
    twice = somebody(50, near(4, 9), near(4, 8))
    gallery = everybody([*people, twice], CARD)
    ids = (people[4].identity_id, twice.identity_id)
    for threshold, standing in ((0.9, None), (1.01, RULE)):
        (pair,) = double_pairs(gallery, threshold=threshold, standing=standing)
        assert {pair.one, pair.other} == set(ids)
        assert pair.one < pair.other
        cosines = [float(t.vector @ m) for t in twice.templates for m in [gallery.means[4]]]
        assert pair.similarity >= max(cosines) - 1e-5
    assert double_pairs(everybody(people, CARD), threshold=0.95, standing=RULE) == []


def test_people_of_another_model_or_deactivated_are_left_out() -> None:
    people = crowd(3)
    gone = replace(people[0], deactivated_at=people[0].created_at)
    other = replace(people[1], templates=tuple(replace(t, card_id="other") for t in people[1].templates))
    assert [p.identity_id for p in everybody([gone, other, people[2]], CARD).people] == [people[2].identity_id]


def test_a_misfit_is_told_with_whom_it_looks_like() -> None:
    people = crowd(6)
    people[2] = somebody(2, near(2, 0), near(2, 1), near(5, 7), near(2, 2))
    (found,) = misfits(everybody(people, CARD), OutlierLimits(0.7, 0.7))
    assert (found.identity_id, found.path) == (people[2].identity_id, people[2].templates[2].path)
    assert found.looks_like == people[5].identity_id


def test_the_self_test_says_for_whom_it_works_and_from_which_photos() -> None:
    people = [
        somebody(0, near(0, 0), near(0, 1), near(0, 2)),
        somebody(1, near(1, 0)),
        somebody(2, near(2, 0), near(2, 1), near(2, 2), direction(77)),
        somebody(3, direction(60), direction(61)),
        somebody(4, near(0, 5), near(4, 1)),
    ]
    tests = self_test(everybody(people, CARD), judge)
    assert [test.works for test in tests] == [True, None, True, False, False]
    assert [photo.outcome for photo in tests[2].photos] == [Outcome.KNOWN] * 3 + [Outcome.UNKNOWN]
    assert people[2].templates[3].path in tests[2].needs
    assert "second photo" in tests[1].needs
    # Somebody else's face under this id finds that person, and counts as a miss.
    assert tests[4].photos[0].reason == f"found_{people[0].identity_id}"
    own = people[2].templates
    others = np.sum([t.vector for t in own[1:]], axis=0)
    assert abs(tests[2].photos[0].similarity - float(own[0].vector @ others) / float(np.linalg.norm(others))) < 1e-5


def test_who_is_taken_for_a_look_alike_needs_no_photo_but_a_look_at_the_other() -> None:
    def asked(candidates: Sequence[Candidate]) -> Decision:
        return replace(judge(candidates), outcome=Outcome.AMBIGUOUS, reason="look_alike")

    twins = [somebody(1, near(1, 0), near(1, 1)), somebody(2, near(1, 2), near(1, 3)), somebody(3, near(7, 0))]
    one, other, _ = self_test(everybody(twins, CARD), asked)
    assert (one.works, other.works) == (False, False)
    assert f"a look at {other.identity_id}:" in one.needs
    assert f"a look at {one.identity_id}:" in other.needs
    assert "new photos" not in one.needs + other.needs
