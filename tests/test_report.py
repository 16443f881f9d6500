"""The report against small tables that were made by hand."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from attendance import report
from attendance.report import ReportFilter
from attendance.types import AttendanceRow, Consent, Direction, Person

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def person(identity_id: str, *, name: str = "", department: str = "") -> Person:
    consent = Consent(policy="attested", version="1", at=MOMENT, by="operator")
    reference = f"ref-of-{identity_id}"
    return Person(identity_id, reference, 1, MOMENT, consent, name=name, department=department)


def row(number: int, at: str, identity_id: str | None, **changes: Any) -> AttendanceRow:
    """A row in Berlin; ``at`` is UTC without its zone."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    zone = changes.get("time_zone", "Europe/Berlin")
    values: dict[str, Any] = {
        "event_id": f"event-{number}",
        "subject_ref": f"ref-of-{identity_id}",
        "identity_id": identity_id,
        "site": "main",
        "camera_id": "door",
        "observed_at": moment,
        "local_day": moment.astimezone(ZoneInfo(zone)).date(),
        "direction": Direction.IN,
        "rules": "v1",
        "time_zone": zone,
    }
    return AttendanceRow(**{**values, **changes})


PEOPLE = [person("person-01", name="Number One", department="lab"), person("person-02", department="")]
ROWS = [
    row(1, "2026-01-05T07:00:00", "person-02"),
    row(2, "2026-01-05T23:30:00", "person-01"),
    row(3, "2026-01-06T08:00:00", "person-01", direction=Direction.OUT),
    row(4, "2026-01-08T03:00:00", "person-01", site="annex", time_zone="America/New_York"),
    row(5, "2026-01-09T08:00:00", None, subject_ref="0123456789abcdef"),
    row(6, "2026-01-09T09:00:00", None, subject_ref="01234567ffffffff"),
]


def test_who_came_when() -> None:
    found = report.entries(reversed(ROWS), PEOPLE)
    assert [(e.event_id, e.name, report.as_dict(e)["at"], e.day.isoformat()) for e in found] == [
        ("event-1", "person-02", "2026-01-05T08:00:00+01:00", "2026-01-05"),
        ("event-2", "Number One", "2026-01-06T00:30:00+01:00", "2026-01-06"),
        ("event-3", "Number One", "2026-01-06T09:00:00+01:00", "2026-01-06"),
        ("event-4", "Number One", "2026-01-07T22:00:00-05:00", "2026-01-07"),
        ("event-5", "removed (ref 01234567)", "2026-01-09T09:00:00+01:00", "2026-01-09"),
        ("event-6", "removed (ref 01234567)", "2026-01-09T10:00:00+01:00", "2026-01-09"),
    ]


def test_by_person() -> None:
    rows = [report.as_dict(r) for r in report.by_person(report.entries(ROWS, PEOPLE))]
    assert rows[0] == {
        "identity_id": "person-01",
        "name": "Number One",
        "department": "lab",
        "days": 2,
        "punches": 3,
        "first": "2026-01-06T00:30:00+01:00",
        "last": "2026-01-07T22:00:00-05:00",
    }
    assert [(r["identity_id"], r["name"], r["days"], r["punches"]) for r in rows[1:]] == [
        ("person-02", "person-02", 1, 1),
        (None, "removed (ref 01234567)", 1, 1),
        (None, "removed (ref 01234567)", 1, 1),
    ]


def test_by_day() -> None:
    rows = report.by_day(report.entries(ROWS, PEOPLE))
    assert [(r.day.isoformat(), r.identity_id, r.punches) for r in rows] == [
        ("2026-01-05", "person-02", 1),
        ("2026-01-06", "person-01", 2),
        ("2026-01-07", "person-01", 1),
        ("2026-01-09", None, 1),
        ("2026-01-09", None, 1),
    ]
    assert report.as_dict(rows[1])["first"] == "2026-01-06T00:30:00+01:00"
    assert report.as_dict(rows[1])["last"] == "2026-01-06T09:00:00+01:00"


def test_the_hour_that_a_clock_change_repeats_stays_in_order() -> None:
    rows = [row(1, "2026-10-25T01:10:00", "person-01"), row(2, "2026-10-25T00:50:00", "person-01")]
    found = report.entries(rows, PEOPLE)
    assert [e.event_id for e in found] == ["event-2", "event-1"]
    only = report.as_dict(report.by_person(found)[0])
    assert (only["first"], only["last"]) == ("2026-10-25T02:50:00+02:00", "2026-10-25T02:10:00+01:00")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ReportFilter(), [1, 2, 3, 4, 5, 6]),
        (ReportFilter(identity_id="person-01"), [2, 3, 4]),
        (ReportFilter(identity_id="person-09"), []),
        (ReportFilter(site="annex"), [4]),
        (ReportFilter(department="lab"), [2, 3, 4]),
        (ReportFilter(department=""), [1]),
        (ReportFilter(first_day=date(2026, 1, 6)), [2, 3, 4, 5, 6]),
        (ReportFilter(first_day=date(2026, 1, 6), last_day=date(2026, 1, 6)), [2, 3]),
        (ReportFilter(last_day=date(2026, 1, 5)), [1]),
        (ReportFilter(department="lab", site="main", last_day=date(2026, 1, 6)), [2, 3]),
    ],
)
def test_a_filter_lets_through(wanted: ReportFilter, expected: list[int]) -> None:
    assert [e.event_id for e in report.entries(ROWS, PEOPLE, wanted)] == [f"event-{number}" for number in expected]


def test_a_row_of_somebody_who_is_gone_meanwhile_shows_as_removed() -> None:
    found = report.entries([row(1, "2026-01-05T07:00:00", "person-09")], PEOPLE)
    assert (found[0].identity_id, found[0].name) == (None, "removed (ref ref-of-p)")


def test_nobody_is_an_empty_report() -> None:
    assert report.entries([], PEOPLE) == []
    assert report.by_person([]) == []
    assert report.by_day([]) == []


def test_columns_are_the_keys_in_order_and_values_are_plain() -> None:
    found = report.entries(ROWS, PEOPLE)
    for rows, columns in (
        (found, report.ENTRY_COLUMNS),
        (report.by_person(found), report.PERSON_COLUMNS),
        (report.by_day(found), report.DAY_COLUMNS),
    ):
        for made in rows:
            assert tuple(report.as_dict(made)) == columns
            json.dumps(report.as_dict(made))
    assert report.ENTRY_COLUMNS[:4] == ("day", "at", "identity_id", "name")
    assert report.as_dict(found[0])["direction"] == "in"
    assert type(report.as_dict(found[0])["direction"]) is str
