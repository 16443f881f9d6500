"""How the ledger of several kiosks is judged, by hand-made cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.kiosks_judging import Counted, judge

BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
APART = timedelta(minutes=10)


def at(who: str, seconds: float, camera: str = "a") -> Counted:
    return Counted(who, BEGIN + timedelta(seconds=seconds), camera)


def event(number: int, kind: str = "punch", reason: str = "match") -> dict[str, Any]:
    return {"event_id": f"event-{number}", "kind": kind, "reason": reason}


REFERENCE = [at("one", 5), at("two", 9), at("one", 605)]
EXPECTED = {("one", 0), ("two", 0), ("one", 1), ("two", 1)}
EVENTS = [event(1), event(2, "repeat"), event(3), event(4), event(5, "unknown", "below_threshold")]
STORED = {"event-1", "event-2", "event-3", "event-4", "event-of-a-killed-run"}


def judged(counted: list[Counted], events: list[dict[str, Any]] = EVENTS) -> dict[str, Any]:
    return judge(counted, REFERENCE, expected=EXPECTED, events=events, stored=STORED, begin=BEGIN, apart=APART)


def test_the_same_attendance_keeps_both_promises_though_a_pass_was_missed_by_all() -> None:
    found = judged([*REFERENCE[::-1]])
    assert (found["passes"], found["counted"], found["counted_by_reference"]) == (4, 3, 3)
    assert found["same_moments_and_cameras"]
    assert (found["acknowledged"], found["acknowledged_but_lost"], found["punches"]) == (4, 0, 5)
    assert list(found["promises"].values()) == [True, True]


@pytest.mark.parametrize(("counted", "events", "name", "kept"), [
    ([*REFERENCE, at("one", 20, "b")], EVENTS, "counted_twice", [False, True]),
    (REFERENCE[1:], EVENTS, "not_counted_but_by_reference", [False, True]),
    ([*REFERENCE, at("two", 609)], EVENTS, "counted_but_not_by_reference", [False, True]),
    (REFERENCE, [*EVENTS, event(9)], "acknowledged_but_lost", [True, False]),
    (REFERENCE, [*EVENTS, event(1)], "acknowledged_twice", [True, False]),
    (REFERENCE, [*EVENTS, event(8, "refused", "not_recorded")], "not_recorded", [True, False]),
])  # fmt: skip
def test_each_fault_is_counted_and_breaks_its_promise(
    counted: list[Counted], events: list[dict[str, Any]], name: str, kept: list[bool]
) -> None:
    found = judged(counted, events)
    assert found[name] == 1
    assert list(found["promises"].values()) == kept


def test_another_moment_of_the_same_pass_is_told_and_breaks_nothing() -> None:
    found = judged([at("one", 6), *REFERENCE[1:]])
    assert not found["same_moments_and_cameras"]
    assert list(found["promises"].values()) == [True, True]
