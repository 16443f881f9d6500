"""The attendance report: who came when, by person and by day. Pure: attendance rows and people in, rows of values out.

Days and clock times are those of the site a person passed at, written with their offset from UTC
(2026-01-31T08:00:00+01:00). A removed person's rows stay, since what was counted was counted; they show as
``removed (ref 1a2b3c4d)`` with the start of the subject reference, no identity id and no department, so that two
removed persons stay apart and neither has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from attendance.types import AttendanceRow, Direction, Person
from attendance.workday import local_moment

_REF_SHOWN = 8
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """Which rows; None means any. Days are local and both inclusive. A removed person is in no department."""

    identity_id: str | None = None
    department: str | None = None
    site: str | None = None
    first_day: date | None = None
    last_day: date | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One counted punch. ``at`` is the local time with its offset; ``identity_id`` is None for a removed person."""

    day: date
    at: datetime
    identity_id: str | None
    name: str
    department: str
    site: str
    camera_id: str
    direction: Direction
    subject_ref: str
    event_id: str


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person over the whole report: days present, counted punches, first and last local time."""

    identity_id: str | None
    name: str
    department: str
    days: int
    punches: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class DayRow:
    """One person on one local day: counted punches, first and last local time."""

    day: date
    identity_id: str | None
    name: str
    department: str
    punches: int
    first: datetime
    last: datetime


ENTRY_COLUMNS = tuple(field.name for field in fields(Entry))
PERSON_COLUMNS = tuple(field.name for field in fields(PersonRow))
DAY_COLUMNS = tuple(field.name for field in fields(DayRow))

_ANY = ReportFilter()


def entries(rows: Iterable[AttendanceRow], people: Iterable[Person], wanted: ReportFilter = _ANY) -> list[Entry]:
    """Who came when: one entry per counted punch that the filter lets through, in (time, event id) order."""
    by_id = {person.identity_id: person for person in people}
    made = (_entry(row, by_id) for row in rows)
    return sorted((entry for entry in made if _passes(entry, wanted)), key=lambda entry: (_at(entry), entry.event_id))


def by_person(found: Sequence[Entry]) -> list[PersonRow]:
    """One row per person, by identity id; removed persons last, by subject reference."""
    groups = _grouped(found, _who)
    return [
        PersonRow(
            identity_id=group[0].identity_id,
            name=group[0].name,
            department=group[0].department,
            days=len({entry.day for entry in group}),
            punches=len(group),
            first=min(group, key=_at).at,
            last=max(group, key=_at).at,
        )
        for _, group in sorted(groups.items())
    ]


def by_day(found: Sequence[Entry]) -> list[DayRow]:
    """One row per local day and person, by day, then as `by_person`."""
    groups = _grouped(found, lambda entry: (entry.day.isoformat(), *_who(entry)))
    return [
        DayRow(
            day=group[0].day,
            identity_id=group[0].identity_id,
            name=group[0].name,
            department=group[0].department,
            punches=len(group),
            first=min(group, key=_at).at,
            last=max(group, key=_at).at,
        )
        for _, group in sorted(groups.items())
    ]


def as_dict(row: Entry | PersonRow | DayRow) -> dict[str, str | int | None]:
    """A row as plain values in column order: days and times as ISO text (seconds), None for no identity id."""
    return {field.name: _plain(getattr(row, field.name)) for field in fields(row)}


def _plain(value: object) -> str | int | None:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, int) else str(value)


def _entry(row: AttendanceRow, people: Mapping[str, Person]) -> Entry:
    person = None if row.identity_id is None else people.get(row.identity_id)
    return Entry(
        day=row.local_day,
        at=local_moment(row.observed_at, ZoneInfo(row.time_zone)),
        identity_id=None if person is None else person.identity_id,
        name=f"removed (ref {row.subject_ref[:_REF_SHOWN]})" if person is None else person.label,
        department="" if person is None else person.department,
        site=row.site,
        camera_id=row.camera_id,
        direction=row.direction,
        subject_ref=row.subject_ref,
        event_id=row.event_id,
    )


def _passes(entry: Entry, wanted: ReportFilter) -> bool:
    return (
        (wanted.identity_id is None or entry.identity_id == wanted.identity_id)
        and (wanted.department is None or (entry.identity_id is not None and entry.department == wanted.department))
        and (wanted.site is None or entry.site == wanted.site)
        and (wanted.first_day is None or entry.day >= wanted.first_day)
        and (wanted.last_day is None or entry.day <= wanted.last_day)
    )


def _who(entry: Entry) -> tuple[bool, str]:
    """What makes two entries the same person's; removed persons sort last."""
    if entry.identity_id is None:
        return True, entry.subject_ref
    return False, entry.identity_id


def _at(entry: Entry) -> datetime:
    # In one zone Python compares wall clocks, and the hour that a clock change repeats would be out of order.
    return entry.at.astimezone(UTC)


def _grouped(found: Iterable[Entry], key: Callable[[Entry], K]) -> dict[K, list[Entry]]:
    groups: dict[K, list[Entry]] = {}
    for entry in found:
        groups.setdefault(key(entry), []).append(entry)
    return groups
