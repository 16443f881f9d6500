"""What several kiosks left in their ledger, judged against who walked past. No video, no process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

RECORDED_KINDS = ("punch", "repeat")


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted punch: who, when it was seen, by which camera."""

    identity_id: str
    observed_at: datetime
    camera_id: str


def passes_of(counted: Iterable[Counted], *, begin: datetime, apart: timedelta) -> Counter[tuple[str, int]]:
    """How often each person was counted in each round; rounds begin ``apart`` from each other."""
    return Counter((each.identity_id, int((each.observed_at - begin) / apart)) for each in counted)


def judge(
    counted: Sequence[Counted],
    reference: Sequence[Counted],
    *,
    expected: set[tuple[str, int]],
    events: Sequence[dict[str, Any]],
    stored: set[str],
    begin: datetime,
    apart: timedelta,
) -> dict[str, Any]:
    """Compare what was counted with what one kiosk counts that nobody kills, and with who walked past.

    ``expected``: who passed in which round. ``events``: every line of every events file, those of killed runs too.
    ``stored``: the event ids of all punches in the ledger.
    """
    ours, theirs = (passes_of(each, begin=begin, apart=apart) for each in (counted, reference))
    acknowledged = [event["event_id"] for event in events if event["kind"] in RECORDED_KINDS]
    result = {
        "passes": len(expected),
        "counted": len(set(ours) & expected),
        "counted_by_reference": len(set(theirs) & expected),
        "counted_twice": sum(count > 1 for count in ours.values()),
        "not_counted_but_by_reference": len(set(theirs) - set(ours)),
        "counted_but_not_by_reference": len(set(ours) - set(theirs)),
        "counted_who_did_not_pass": len(set(ours) - expected),
        "same_moments_and_cameras": set(counted) == set(reference),
        "acknowledged": len(acknowledged),
        "acknowledged_but_lost": len(set(acknowledged) - stored),
        "acknowledged_twice": len(acknowledged) - len(set(acknowledged)),
        "punches": len(stored),
        "not_recorded": sum(event["reason"] == "not_recorded" for event in events),
    }
    nothing = ("counted_twice", "not_counted_but_by_reference", "counted_but_not_by_reference", "acknowledged_but_lost",
               "acknowledged_twice", "not_recorded")  # fmt: skip
    result["promises"] = {
        "each pass counted once, as by a kiosk that nobody kills": all(result[name] == 0 for name in nothing[:3]),
        "nothing lost": all(result[name] == 0 for name in nothing[3:]),
    }
    return result
