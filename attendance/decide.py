"""Step 6: the open-set rule. Pure: no I/O, no clock, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attendance.types import Candidate, Decision, Outcome

MATCH = "match"
BELOW_THRESHOLD = "below_threshold"
MARGIN = "margin"
LOOK_ALIKE = "look_alike"
REJECTED = "rejected"
EMPTY_GALLERY = "empty_gallery"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a match needs.

    The nearest person needs a similarity of ``threshold``, less ``lead_weight`` times their lead over the next person,
    of which ``lead_cap`` counts at most: the face of somebody enrolled is near to one person alone, that of a stranger
    near to several. A lead below ``margin`` makes it ambiguous, and so does one below ``look_alike_margin`` between two
    people who are one of ``look_alikes`` (pairs of identity ids, each in order).

    ``pass_shifts`` is what is added where several frames of a pass are fused: its first number for one frame, its last
    for as many and more. A pass is decided again and again, so it needs more than a photo.
    """

    threshold: float
    margin: float
    lead_weight: float = 0.0
    lead_cap: float = 0.0
    pass_shifts: tuple[float, ...] = ()
    look_alikes: frozenset[tuple[str, str]] = frozenset()
    look_alike_margin: float = 0.0

    def __post_init__(self) -> None:
        # Written as "not inside", because every comparison with NaN is false.
        if not -1.0 <= self.threshold <= 2.0:
            raise ValueError(f"threshold must be from -1 to 2 (similarity and lead), got {self.threshold}")
        if not (0.0 <= self.margin <= 2.0 and 0.0 <= self.look_alike_margin <= 2.0):
            raise ValueError(f"margins must be from 0 to 2, got {self.margin} and {self.look_alike_margin}")
        if not (0.0 <= self.lead_weight <= 1.0 and 0.0 <= self.lead_cap <= 2.0):
            raise ValueError(f"the lead's weight is 0 to 1, its cap 0 to 2, got {self.lead_weight}, {self.lead_cap}")

    def required(self, lead: float | None, *, frames: int = 0) -> float:
        """The similarity that is needed at this lead; None, where there is nobody else, counts as the widest.

        Args:
            lead: 0 or more.
            frames: good frames fused of a pass; 0 for a photo.
        """
        counted = self.lead_cap if lead is None else min(lead, self.lead_cap)
        shift = self.pass_shifts[min(frames, len(self.pass_shifts)) - 1] if frames and self.pass_shifts else 0.0
        needed = self.threshold + shift - self.lead_weight * counted
        # A lead may carry the threshold beyond 1, which no face reaches: the very photo that was enrolled must.
        return min(needed, 1.0 - 1e-6) if self.lead_weight > 0.0 else needed

    def are_alike(self, one: str, other: str) -> bool:
        """Whether two people are a pair of look-alikes."""
        return (min(one, other), max(one, other)) in self.look_alikes


def decide(candidates: Sequence[Candidate], rule: Rule, *, frames: int = 0) -> Decision:
    """Say who it is, that it is nobody known, or that it cannot be told.

    The nearest person is known when they are as near as the rule requires at their lead over the runner-up, and lead by
    its margin. A smaller lead makes it ambiguous, and so does an exact tie at any margin: nobody is ever picked by the
    order of their names. Two look-alikes need a margin of their own. Whoever is less near is unknown. Who would be
    known, but is as near or nearer to a face of which was said that it is not that person's, is ambiguous too: such a
    face never lets anybody in, and never turns anybody away unasked.

    Args:
        candidates: different people of the gallery, each with their cosine to the query, in any order; empty for an
            empty gallery. Only the best two count.
        rule: what a match needs; a similarity, or lead, equal to what is needed is enough.
        frames: good frames that were fused into the query, 0 for a photo.

    Raises:
        ValueError: a similarity that is no number, or a person given twice.
    """
    _require_numbers(candidates)
    ordered = sorted(candidates, key=lambda candidate: (-candidate.similarity, candidate.identity_id))
    best = ordered[0] if ordered else None
    runner_up = ordered[1] if len(ordered) > 1 else None
    lead = best.similarity - runner_up.similarity if best is not None and runner_up is not None else None
    required = rule.required(lead, frames=frames)
    outcome, reason = _judge(best, runner_up, lead, rule=rule, required=required, frames=frames)
    return Decision(outcome=outcome, best=best, runner_up=runner_up, margin=lead, threshold=required, reason=reason)


def _judge(
    best: Candidate | None,
    runner_up: Candidate | None,
    lead: float | None,
    *,
    rule: Rule,
    required: float,
    frames: int,
) -> tuple[Outcome, str]:
    if best is None:
        return Outcome.UNKNOWN, EMPTY_GALLERY
    alike = runner_up is not None and rule.are_alike(best.identity_id, runner_up.identity_id)
    # A twin takes the lead from the right person. That must not make them unknown: they are asked.
    if alike and lead is not None and lead < rule.look_alike_margin:
        near = best.similarity >= rule.required(None, frames=frames)
        return (Outcome.AMBIGUOUS, LOOK_ALIKE) if near else (Outcome.UNKNOWN, BELOW_THRESHOLD)
    if best.similarity < required:
        return Outcome.UNKNOWN, BELOW_THRESHOLD
    if best.rejected is not None and best.rejected >= best.similarity:
        return Outcome.AMBIGUOUS, REJECTED
    if lead is not None and (lead < rule.margin or lead == 0.0):
        return Outcome.AMBIGUOUS, MARGIN
    return Outcome.KNOWN, MATCH


def _require_numbers(candidates: Sequence[Candidate]) -> None:
    told = [c.similarity for c in candidates] + [c.rejected for c in candidates if c.rejected is not None]
    if not all(math.isfinite(similarity) for similarity in told):
        raise ValueError("similarities must be finite numbers, got NaN or infinity: embeddings must be of unit length")
    if len({candidate.identity_id for candidate in candidates}) != len(candidates):
        raise ValueError("candidates must be different people, got one twice: search for people, not for templates")
