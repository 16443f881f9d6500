"""Every Python query of docs/mongodb.md, run and compared with what the report says; the page's tables too."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from attendance import report
from attendance.ledger.mongo import MongoLedger, schema
from attendance.report import Entry, ReportFilter
from attendance.types import Direction, Person, Punch
from tests.ledger.conftest import ZONES
from tools.mongodb_roles import ROLES

PAGE = (Path(__file__).parents[2] / "docs" / "mongodb.md").read_text("utf-8")
QUERIES = {
    int(number): code for number, code in re.findall(r"^### (\d+)\. [^\n]+\n\n```python\n(.*?)\n```", PAGE, re.M | re.S)
}
SHELL = {int(number): code for number, code in re.findall(r"^### (\d+)\..*?```js\n(.*?)\n```", PAGE, re.M | re.S)}
DAY = date(2026, 1, 6)
EVERYTHING = ReportFilter()


@dataclass(frozen=True)
class Asked:
    """What the queries found, by their number, and what the ledger holds."""

    found: dict[int, list[dict[str, Any]]]
    entries: list[Entry]
    people: list[Person]
    punches: list[Punch]

    def by_day_and_person(self) -> dict[tuple[str, str], list[Entry]]:
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            if entry.identity_id is not None:
                groups.setdefault((entry.day.isoformat(), entry.identity_id), []).append(entry)
        return dict(sorted(groups.items()))


@pytest.fixture
def asked(mongo_url: str, make_person: Callable[..., Person], make_punch: Callable[..., Punch]) -> Asked:
    """Five people, one removed and one not active yet, and two weeks around the new month."""
    chance = random.Random(5)
    with MongoLedger(mongo_url, cooldown_s=300.0, time_zones=ZONES) as ledger:
        for number in range(5):
            department, since = ("lab" if number % 2 else "shop"), (date(2026, 2, 1) if number == 4 else None)
            ledger.insert_person(make_person(number, department=department, active_from=since))
        ledger.import_punches([_punch(make_punch, chance, number) for number in range(160)])
        ledger.remove_person("person-03", version=1)
        entries = report.entries(ledger.attendance(), ledger.people(), EVERYTHING)
        people, punches = ledger.people(), ledger.punches()
    with MongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        found = {number: run(code, client) for number, code in QUERIES.items()}
    return Asked(found, entries, people, punches)


def run(code: str, client: MongoClient[dict[str, Any]]) -> list[dict[str, Any]]:
    names: dict[str, Any] = {"db": client.get_default_database("attendance")}
    exec(code, names)
    return list(names["rows"])


def _punch(make_punch: Callable[..., Punch], chance: random.Random, number: int) -> Punch:
    day = chance.choice([1, 2, 6, 6, 6, 30, 31, 33])
    observed_at = datetime(2026, 1, 1, 5, tzinfo=UTC) + timedelta(days=day - 1, seconds=60 * chance.randrange(1200))
    return make_punch(
        number,
        observed_at=observed_at,
        subject_ref=f"ref-{chance.choice([0, 1, 1, 2, 3]) if day != 6 else chance.choice([1, 3]):02d}",
        site=chance.choice(["main", "main", "annex"]),
        camera_id=chance.choice(["door", "gate"]),
        direction=chance.choice([Direction.IN, Direction.OUT]),
    )


def clock(entry: Entry) -> str:
    return entry.at.strftime("%H:%M:%S")


def test_the_queries_agree_with_the_report(asked: Asked) -> None:
    # One database for all ten: filling it takes longer than asking.
    agree_1_to_3(asked)
    agree_4_to_7(asked)
    agree_8_to_10(asked)


def agree_1_to_3(asked: Asked) -> None:
    groups: dict[str, list[Entry]] = {}
    for entry in asked.entries:
        if entry.day == DAY:
            groups.setdefault(entry.subject_ref, []).append(entry)
    assert {row["_id"]: (row["identity_id"], row["first"], row["last"], row["punches"]) for row in asked.found[1]} == {
        ref: (group[0].identity_id, min(map(clock, group)), max(map(clock, group)), len(group))
        for ref, group in groups.items()
    }
    assert len(groups) == 2
    month = [e for e in asked.entries if date(2026, 1, 1) <= e.day <= date(2026, 1, 31)]
    rows = report.by_person(month)
    assert sorted((row["days"], row["punches"]) for row in asked.found[2]) == sorted((r.days, r.punches) for r in rows)
    assert [
        (r["_id"], r["local_day"], r["local_time"], r["site"], r["camera_id"], r["direction"]) for r in asked.found[3]
    ] == [
        (e.event_id, e.day.isoformat(), clock(e), e.site, e.camera_id, e.direction.value)
        for e in asked.entries
        if e.identity_id == "person-01"
    ]


def agree_4_to_7(asked: Asked) -> None:
    came = {e.identity_id for e in asked.entries if e.day == DAY}
    expected = [p.identity_id for p in asked.people if p.active_on(DAY) and p.identity_id not in came]
    assert [row["_id"] for row in asked.found[4]] == expected == ["person-00", "person-02"]
    sites: dict[tuple[str, str], set[str]] = {}
    for entry in asked.entries:
        sites.setdefault((entry.day.isoformat(), entry.site), set()).add(entry.subject_ref)
    assert [(r["_id"]["day"], r["_id"]["site"], r["people"]) for r in asked.found[5]] == [
        (*key, len(refs)) for key, refs in sorted(sites.items())
    ]
    firsts = {key: min(map(clock, group)) for key, group in asked.by_day_and_person().items()}
    late = [(*key, first) for key, first in firsts.items() if first > "09:00:00"]
    assert [(r["_id"]["day"], r["_id"]["identity_id"], r["first"]) for r in asked.found[6]] == late
    assert 0 < len(late) < len(firsts)
    departments: dict[tuple[str, str], set[str | None]] = {}
    for row in report.by_day(asked.entries):
        if row.identity_id is not None:
            departments.setdefault((row.department, row.day.isoformat()), set()).add(row.identity_id)
    assert [(r["_id"]["department"], r["_id"]["day"], r["people"]) for r in asked.found[7]] == [
        (*key, len(ids)) for key, ids in sorted(departments.items())
    ]


def agree_8_to_10(asked: Asked) -> None:
    last = {r.identity_id: r.last.astimezone(UTC) for r in report.by_person(asked.entries) if r.identity_id is not None}
    assert {r["_id"]: r["last_seen"] for r in asked.found[8]} == last
    expected = []
    for key, group in asked.by_day_and_person().items():
        ins = [clock(e) for e in group if e.direction is Direction.IN]
        outs = [clock(e) for e in group if e.direction is Direction.OUT]
        expected.append((*key, min(ins, default=None), max(outs, default=None)))
    found = [(r["_id"]["day"], r["_id"]["identity_id"], r["first_in"], r["last_out"]) for r in asked.found[9]]
    assert found == expected
    counted = {entry.event_id for entry in asked.entries}
    repeats = [punch.event_id for punch in asked.punches if punch.event_id not in counted]
    assert [row["_id"] for row in asked.found[10]] == repeats
    assert repeats


def test_the_page_has_every_query_twice() -> None:
    assert list(QUERIES) == list(SHELL) == list(range(1, 11))
    for number, code in QUERIES.items():
        assert re.findall(r"\$\w+|\d\d\d\d-\d\d-\d\d", code) == re.findall(r"\$\w+|\d\d\d\d-\d\d-\d\d", SHELL[number])


def test_the_page_has_every_collection() -> None:
    table = PAGE.split("## Collections")[1].split("##")[0]
    named = [name for first in re.findall(r"^\| (`[^|]+) \|", table, re.M) for name in re.findall(r"`(\w+)`", first)]
    assert sorted(named) == sorted(schema.COLLECTIONS)


def test_the_page_has_the_roles_as_they_are_applied() -> None:
    rows = re.findall(r"^\| `(attendance_\w+)` \| (.+?) \| (.+?) \|$", PAGE, re.M)
    assert rows == [
        (role, f"`{collection}`" if collection else "every", ", ".join(actions))
        for role, collections in ROLES.items()
        for collection, actions in collections.items()
    ]
