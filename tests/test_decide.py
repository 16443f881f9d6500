"""The open-set rule against a hand-made table and a slow restatement."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attendance.decide import Rule, decide
from attendance.types import Candidate, Outcome

KNOWN, UNKNOWN, AMBIGUOUS = Outcome.KNOWN, Outcome.UNKNOWN, Outcome.AMBIGUOUS
COSINES = st.integers(-64, 64).map(lambda step: step / 64.0)


def people(*similarities: float) -> list[Candidate]:
    return [Candidate(f"person-{index:02d}", similarity) for index, similarity in enumerate(similarities)]


@pytest.mark.parametrize(
    ("similarities", "threshold", "margin", "outcome", "reason", "lead"),
    [
        ((), 0.5, 0.1, UNKNOWN, "empty_gallery", None),
        ((), -1.0, 0.0, UNKNOWN, "empty_gallery", None),
        ((0.75,), 0.5, 0.125, KNOWN, "match", None),
        ((0.5,), 0.5, 0.125, KNOWN, "match", None),
        ((0.4375,), 0.5, 0.125, UNKNOWN, "below_threshold", None),
        ((0.75, 0.25), 0.5, 0.125, KNOWN, "match", 0.5),
        ((0.75, 0.625), 0.5, 0.125, KNOWN, "match", 0.125),
        ((0.75, 0.6875), 0.5, 0.125, AMBIGUOUS, "margin", 0.0625),
        ((0.5625, 0.4375), 0.5, 0.25, AMBIGUOUS, "margin", 0.125),
        ((0.25, 0.25), 0.5, 0.125, UNKNOWN, "below_threshold", 0.0),
        ((0.25, -0.75), 0.5, 0.125, UNKNOWN, "below_threshold", 1.0),
        ((0.75, 0.75), 0.5, 0.0, AMBIGUOUS, "margin", 0.0),
        ((0.75, 0.734375), 0.5, 0.0, KNOWN, "match", 0.015625),
        ((0.25, 0.75, 0.5), 0.5, 0.25, KNOWN, "match", 0.25),
        ((-1.0,), -1.0, 0.0, KNOWN, "match", None),
    ],
)
def test_the_rule_as_a_table(
    similarities: tuple[float, ...],
    threshold: float,
    margin: float,
    outcome: Outcome,
    reason: str,
    lead: float | None,
) -> None:
    decision = decide(people(*similarities), Rule(threshold, margin))
    assert (decision.outcome, decision.reason, decision.margin) == (outcome, reason, lead)
    assert decision.threshold == threshold


def test_best_and_runner_up_are_named_also_when_nobody_is_accepted() -> None:
    decision = decide(people(0.1, 0.3, 0.2), Rule(0.9, 0.0))
    assert decision.best == Candidate("person-01", 0.3)
    assert decision.runner_up == Candidate("person-02", 0.2)


@given(st.lists(COSINES, max_size=5), COSINES, st.integers(0, 64).map(lambda step: step / 64.0))
def test_against_a_plain_restatement_and_any_order(similarities: list[float], threshold: float, margin: float) -> None:
    candidates = people(*similarities)
    decision = decide(candidates, Rule(threshold, margin))
    accepted = [c for c in candidates if c.similarity >= threshold]
    clear = [c for c in accepted if all(c.similarity - o.similarity >= margin for o in candidates if o != c)]
    alone = [c for c in clear if all(o.similarity != c.similarity for o in candidates if o != c)]
    if not accepted:
        assert decision.outcome is UNKNOWN
    elif alone and max(c.similarity for c in candidates) == alone[0].similarity:
        assert decision.outcome is KNOWN
        assert decision.best == alone[0]
    else:
        assert decision.outcome is AMBIGUOUS
    for order in itertools.islice(itertools.permutations(candidates), 6):
        assert decide(order, Rule(threshold, margin)) == decision


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_similarity_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        decide(people(0.9, bad), Rule(0.5, 0.0))


@pytest.mark.parametrize(
    ("threshold", "margin", "word"),
    [(math.nan, 0.0, "threshold"), (2.5, 0.0, "threshold"), (0.5, math.nan, "margin"), (0.5, -0.1, "margin")],
)
def test_threshold_and_margin_are_checked(threshold: float, margin: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        decide(people(0.9), Rule(threshold, margin))


def test_one_person_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="different people"):
        decide([Candidate("a", 0.9), Candidate("a", 0.8)], Rule(0.5, 0.1))


LEADING = Rule(0.75, 0.0625, lead_weight=0.5, lead_cap=0.25, pass_shifts=(0.125, 0.0625))


@pytest.mark.parametrize(
    ("similarities", "frames", "needed", "outcome"),
    [
        ((0.75, 0.625), 0, 0.6875, KNOWN),  # a lead of 1/8 at weight 1/2 takes 1/16 off
        ((0.6875, 0.5625), 0, 0.6875, KNOWN),
        ((0.671875, 0.5625), 0, 0.6953125, UNKNOWN),
        ((0.625, 0.25), 0, 0.625, KNOWN),  # of a lead of 3/8 no more than 1/4 counts
        ((0.625, -0.5), 0, 0.625, KNOWN),
        ((0.625,), 0, 0.625, KNOWN),  # nobody else: the widest lead
        ((0.625, 0.25), 1, 0.75, UNKNOWN),
        ((0.75, 0.25), 1, 0.75, KNOWN),
        ((0.6875, 0.25), 2, 0.6875, KNOWN),
        ((0.6875, 0.25), 9, 0.6875, KNOWN),  # as many as the last number, and more
        ((0.78125, 0.75), 0, 0.734375, AMBIGUOUS),
    ],
)
def test_a_lead_lowers_and_a_pass_raises_what_is_needed(
    similarities: tuple[float, ...], frames: int, needed: float, outcome: Outcome
) -> None:
    decision = decide(people(*similarities), LEADING, frames=frames)
    assert (decision.outcome, decision.threshold) == (outcome, needed)


def test_the_enrolled_photo_itself_is_accepted_however_large_the_gallery() -> None:
    assert decide(people(1.0, 0.98), Rule(1.08, 0.01, lead_weight=1.0, lead_cap=0.06)).outcome is KNOWN


TWINS = Rule(
    0.75,
    0.0625,
    lead_weight=0.5,
    lead_cap=0.25,
    look_alikes=frozenset({("person-00", "person-01")}),
    look_alike_margin=0.1875,
)


@pytest.mark.parametrize(
    ("similarities", "outcome", "reason"),
    [
        ((0.875, 0.75), AMBIGUOUS, "look_alike"),  # a lead that is enough for others
        ((0.75, 0.875), AMBIGUOUS, "look_alike"),
        ((0.875, 0.6875), KNOWN, "match"),
        ((0.6875, 0.671875), AMBIGUOUS, "look_alike"),  # nearer than a full lead would need: asked, not unknown
        ((0.609375, 0.59375), UNKNOWN, "below_threshold"),
        ((0.75, 0.0, 0.875), KNOWN, "match"),  # the nearest two are no pair
    ],
)
def test_look_alikes_need_a_margin_of_their_own(similarities: tuple[float, ...], outcome: Outcome, reason: str) -> None:
    decision = decide(people(*similarities), TWINS)
    assert (decision.outcome, decision.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("similarities", "rejected", "outcome", "reason"),
    [
        ((0.75, 0.25), 0.875, AMBIGUOUS, "rejected"),
        ((0.75, 0.25), 0.75, AMBIGUOUS, "rejected"),
        ((0.75, 0.25), 0.7421875, KNOWN, "match"),
        ((0.75, 0.25), -1.0, KNOWN, "match"),
        ((0.75,), 0.875, AMBIGUOUS, "rejected"),
        # Never more than was there: neither the near-by stranger nor the tie becomes anything else.
        ((0.4375, 0.25), 0.875, UNKNOWN, "below_threshold"),
        ((0.75, 0.6875), 0.5, AMBIGUOUS, "margin"),
        ((0.75, 0.6875), 0.875, AMBIGUOUS, "rejected"),
    ],
)
def test_who_is_nearer_to_a_rejected_face_is_asked(
    similarities: tuple[float, ...], rejected: float, outcome: Outcome, reason: str
) -> None:
    first, *others = people(*similarities)
    decision = decide([replace(first, rejected=rejected), *others], Rule(0.5, 0.125))
    assert (decision.outcome, decision.reason) == (outcome, reason)


def test_a_rejected_face_of_the_runner_up_lets_nobody_in() -> None:
    first, second = people(0.75, 0.6875)
    decision = decide([first, replace(second, rejected=1.0)], Rule(0.5, 0.125))
    assert (decision.outcome, decision.reason) == (AMBIGUOUS, "margin")


@given(
    st.lists(COSINES, min_size=1, max_size=4, unique=True),
    st.lists(st.none() | COSINES, min_size=4, max_size=4),
    COSINES,
)
def test_rejected_faces_never_make_anybody_known(
    similarities: list[float], rejected: list[float | None], threshold: float
) -> None:
    rule = Rule(threshold, 0.03125)
    bare = decide(people(*similarities), rule)
    told = [replace(c, rejected=r) for c, r in zip(people(*similarities), rejected, strict=False)]
    with_faces = decide(told, rule)
    assert with_faces.outcome in (bare.outcome, AMBIGUOUS)
    assert (with_faces.outcome is KNOWN) <= (bare.outcome is KNOWN)
    if bare.outcome is UNKNOWN:
        assert with_faces.outcome is UNKNOWN


def test_a_rejected_similarity_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        decide([Candidate("person-01", 0.5, rejected=math.nan)], Rule(0.5, 0.0))
