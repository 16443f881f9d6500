"""Step 6: the open-set rule. Pure: no I/O, no clock, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attendance.types import Candidate, Decision, Outcome

MATCH = "match"
BELOW_THRESHOLD = "below_threshold"
MARGIN = "margin"
EMPTY_GALLERY = "empty_gallery"


def decide(candidates: Sequence[Candidate], *, threshold: float, margin: float) -> Decision:
    """Say who it is, that it is nobody known, or that it cannot be told.

    The nearest person is known when their similarity is at least ``threshold`` and leads the runner-up's by at least
    ``margin``. A lead below ``margin`` makes it ambiguous, and so does an exact tie at any margin: nobody is ever
    picked by the order of their names. Below ``threshold`` it is unknown, however far ahead of the others.

    Args:
        candidates: different people of the gallery, each with their cosine to the query, in any order; empty for an
            empty gallery. Only the best two count.
        threshold: cosine, -1..1; a similarity equal to it is accepted.
        margin: lead in cosine, 0..2; a lead equal to it is enough.

    Raises:
        ValueError: a similarity, threshold or margin that is no number or out of range, or a person given twice.
    """
    _require_numbers(candidates, threshold, margin)
    ordered = sorted(candidates, key=lambda candidate: (-candidate.similarity, candidate.identity_id))
    best = ordered[0] if ordered else None
    runner_up = ordered[1] if len(ordered) > 1 else None
    lead = best.similarity - runner_up.similarity if best is not None and runner_up is not None else None
    outcome, reason = _judge(best, lead, threshold=threshold, margin=margin)
    return Decision(
        outcome=outcome, best=best, runner_up=runner_up, margin=lead, threshold=float(threshold), reason=reason
    )


def _judge(best: Candidate | None, lead: float | None, *, threshold: float, margin: float) -> tuple[Outcome, str]:
    if best is None:
        return Outcome.UNKNOWN, EMPTY_GALLERY
    if best.similarity < threshold:
        return Outcome.UNKNOWN, BELOW_THRESHOLD
    if lead is not None and (lead < margin or lead == 0.0):
        return Outcome.AMBIGUOUS, MARGIN
    return Outcome.KNOWN, MATCH


def _require_numbers(candidates: Sequence[Candidate], threshold: float, margin: float) -> None:
    # Written as "not inside", because every comparison with NaN is false.
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be a cosine from -1 to 1, got {threshold}")
    if not 0.0 <= margin <= 2.0:
        raise ValueError(f"margin must be from 0 to 2, got {margin}")
    if any(not math.isfinite(candidate.similarity) for candidate in candidates):
        raise ValueError("similarities must be finite numbers, got NaN or infinity: embeddings must be of unit length")
    if len({candidate.identity_id for candidate in candidates}) != len(candidates):
        raise ValueError("candidates must be different people, got one twice: search for people, not for templates")
