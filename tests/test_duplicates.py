"""How a newcomer's nearest person stands out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from attendance.audit import double_pairs, everybody
from attendance.duplicates import Standing, least_score
from attendance.enrol.duplicates import Crowd, DuplicatePolicy
from attendance.search.exact import ExactGallery
from attendance.types import Float32, GalleryEntry, Template
from tests.enrolled import CARD, DIMENSION, WHEN, person, vector

RULE = Standing(lead_weight=0.5, lead_cap=0.1, crowd_weight=0.25, from_people=3, least=0.7, everybody_weight=0.125)


def test_lead_adds_and_a_crowd_takes_away() -> None:
    assert RULE.score(0.9, lead=0.04, crowd=0.8, everybody=0.0) == pytest.approx(0.9 + 0.02 - 0.2)
    assert RULE.score(0.9, lead=0.5, crowd=0.0, everybody=0.0) == pytest.approx(0.95)
    assert RULE.score(0.9, lead=-0.5, crowd=0.0, everybody=0.0) == pytest.approx(0.85)
    assert RULE.score(0.9, lead=0.04, crowd=0.8, everybody=0.4) == pytest.approx(0.9 + 0.02 - 0.2 + 0.05)


def test_between_measured_rates_the_score_is_linear_in_the_log_and_beyond_it_stands() -> None:
    scores = {0.1: 0.60, 0.001: 0.64}
    assert least_score(scores, 0.01) == pytest.approx(0.62)
    assert (least_score(scores, 0.5), least_score(scores, 1e-5)) == (0.60, 0.64)
    assert least_score(scores, 0.002) > least_score(scores, 0.02)
    with pytest.raises(ValueError, match="between 0 and 1"):
        least_score(scores, 0.0)


def look(who: int, variant: int) -> Float32:
    row = vector(who) + 0.6 * vector(1000 * who + variant + 1)
    return np.asarray(row / np.linalg.norm(row), np.float32)


def slow_score(newcomer: Float32, people: dict[str, list[Float32]]) -> tuple[str, float]:
    """The score by its definition, person by person."""
    totals = {who: np.sum(own, axis=0, dtype=np.float64) for who, own in people.items()}
    means = {who: total / np.linalg.norm(total) for who, total in totals.items()}
    cosines = sorted(((float(mean @ newcomer), who) for who, mean in means.items()), reverse=True)
    nearest = cosines[0][1]
    crowd = max(float(np.dot(means[nearest], mean)) for who, mean in means.items() if who != nearest)
    everybody = float(np.mean([float(mean @ newcomer) for who, mean in means.items() if who != nearest]))
    lead = cosines[0][0] - cosines[1][0]
    return nearest, RULE.score(cosines[0][0], lead=lead, crowd=crowd, everybody=everybody)


def test_a_newcomer_and_an_audit_are_judged_by_the_definition() -> None:
    people = {f"person-{who:04d}": [look(who, 0), look(who, 1)] for who in range(8)}
    gallery = ExactGallery(CARD, DIMENSION)
    gallery.upsert([GalleryEntry(f"{who}-{n}", who, v) for who, own in people.items() for n, v in enumerate(own)])
    crowd = Crowd(gallery, DuplicatePolicy(None, RULE))
    crowd.survey(gallery, without=["person-0000-1"])
    crowd.add([GalleryEntry("person-0000-1", "person-0000", people["person-0000"][1])])
    newcomer = look(3, 2)
    told = crowd.standing_of("newcomer", [newcomer])
    assert told is not None
    nearest, score = slow_score(newcomer, people)
    assert told[0].identity_id == nearest
    assert told[1] == pytest.approx(score, abs=1e-6)
    template = partial(Template, card_id=CARD, source_label="", path="", sha256="", batch="", created_at=WHEN)
    documents = []
    for who, own in {**people, "person-0099": [newcomer]}.items():
        photos = tuple(template(f"{who}-{number}", row) for number, row in enumerate(own))
        documents.append(replace(person(int(who[-4:]), templates=0), templates=photos))
    found = double_pairs(everybody(documents, CARD), threshold=2.0, standing=replace(RULE, least=score - 1e-6))
    assert [(pair.one, pair.other) for pair in found] == [(nearest, "person-0099")]
    assert found[0].score is not None
    assert found[0].score >= score - 1e-6
