"""Every SQL query of docs/ledger.md, run on a ledger and compared with what the report says."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from attendance import report
from attendance.ledger.sqlite import SqliteLedger
from attendance.report import Entry, ReportFilter
from attendance.types import Direction, Person, Punch

DOCS = Path(__file__).parents[2] / "docs" / "ledger.md"
ZONES = {"main": ZoneInfo("Europe/Berlin"), "annex": ZoneInfo("America/New_York")}
EVERYTHING = ReportFilter()
DAY = date(2026, 1, 6)
MONTH = ReportFilter(first_day=date(2026, 1, 1), last_day=date(2026, 1, 31))
QUERIES = {
    int(number): sql
    for number, sql in re.findall(r"^### (\d+)\. [^\n]+\n\n```sql\n(.*?)\n```", DOCS.read_text("utf-8"), re.M | re.S)
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("queries") / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, make_person: Callable[..., Person], make_punch: Callable[..., Punch]) -> Iterator[SqliteLedger]:
    """Five people, one of them removed and one not active yet, and two weeks around the new month."""
    ledger = SqliteLedger(path, cooldown_s=300.0, time_zones=ZONES)
    if not ledger.people():
        chance = random.Random(5)
        names = ["Number One", "", "", "", ""]
        for number in range(5):
            department, since = ("lab" if number % 2 else "shop"), (date(2026, 2, 1) if number == 4 else None)
            ledger.insert_person(
                make_person(number, name=names[number], department=department, active_from=since, templates=1)
            )
        for number in range(160):
            ledger.record(_punch(make_punch, chance, number))
        ledger.remove_person("person-03", version=1)
    with ledger:
        yield ledger


def _punch(make_punch: Callable[..., Punch], chance: random.Random, number: int) -> Punch:
    day = chance.choice([1, 2, 6, 6, 6, 30, 31, 33])
    observed_at = datetime(2026, 1, 1, 5, tzinfo=UTC) + timedelta(days=day - 1, seconds=60 * chance.randrange(1200))
    runner_up = chance.choice([None, "ref-00", "ref-03"])
    return make_punch(
        number,
        observed_at=observed_at,
        subject_ref=f"ref-{chance.choice([0, 1, 1, 2, 3]) if day != 6 else chance.choice([1, 3]):02d}",
        site=chance.choice(["main", "main", "annex"]),
        camera_id=chance.choice(["door", "gate"]),
        direction=chance.choice([Direction.IN, Direction.OUT]),
        similarity=0.9 + 0.1 * chance.random(),
        runner_up_ref=runner_up,
        runner_up_similarity=None if runner_up is None else 0.8123456,
    )


def asked(path: Path, number: int) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(QUERIES[number]).fetchall()


def entries(ledger: SqliteLedger, wanted: ReportFilter = EVERYTHING) -> list[Entry]:
    return report.entries(ledger.attendance(), ledger.people(), wanted)


def clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S")


def per_day(ledger: SqliteLedger) -> dict[tuple[str, str], list[Entry]]:
    """Entries of people who are still there, by day and identity id."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries(ledger):
        if entry.identity_id is not None:
            groups.setdefault((entry.day.isoformat(), entry.identity_id), []).append(entry)
    return dict(sorted(groups.items()))


def test_the_page_has_its_queries() -> None:
    assert list(QUERIES) == list(range(1, 13))


def test_1_who_was_there_on_a_day(path: Path, ledger: SqliteLedger) -> None:
    found = entries(ledger, ReportFilter(first_day=DAY, last_day=DAY))
    expected = []
    for row in report.by_day(found):
        clocks = [clock(e.at) for e in found if e.name == row.name]
        expected.append((row.name, min(clocks), max(clocks), row.punches))
    assert asked(path, 1) == sorted(expected)
    assert "removed (ref ref-03)" in {row[0] for row in expected}


def test_2_days_and_punches_in_a_month(path: Path, ledger: SqliteLedger) -> None:
    rows = report.by_person(entries(ledger, MONTH))
    assert asked(path, 2) == sorted((row.name, row.days, row.punches) for row in rows)
    assert len(rows) == 4


def test_3_everything_of_one_person(path: Path, ledger: SqliteLedger) -> None:
    expected = [
        (e.day.isoformat(), clock(e.at), e.site, e.camera_id, e.direction.value)
        for e in entries(ledger, ReportFilter(identity_id="person-01"))
    ]
    assert asked(path, 3) == expected
    assert len(expected) > 10


def test_4_who_did_not_come(path: Path, ledger: SqliteLedger) -> None:
    came = {e.identity_id for e in entries(ledger, ReportFilter(first_day=DAY, last_day=DAY))}
    expected = [p.identity_id for p in ledger.people() if p.active_on(DAY) and p.identity_id not in came]
    assert [row[0] for row in asked(path, 4)] == expected == ["person-00", "person-02"]


def test_5_people_by_day_and_site(path: Path, ledger: SqliteLedger) -> None:
    groups: dict[tuple[str, str], set[str]] = {}
    for entry in entries(ledger):
        groups.setdefault((entry.day.isoformat(), entry.site), set()).add(entry.subject_ref)
    assert asked(path, 5) == [(*key, len(refs)) for key, refs in sorted(groups.items())]


def test_6_who_came_after_nine(path: Path, ledger: SqliteLedger) -> None:
    firsts = {key: min(clock(e.at) for e in found) for key, found in per_day(ledger).items()}
    expected = [(*key, first) for key, first in firsts.items() if first > "09:00:00"]
    assert asked(path, 6) == expected
    assert 0 < len(expected) < len(firsts)


def test_7_people_by_department_and_day(path: Path, ledger: SqliteLedger) -> None:
    groups: dict[tuple[str, str], set[str | None]] = {}
    for row in report.by_day(entries(ledger)):
        if row.identity_id is not None:
            groups.setdefault((row.department, row.day.isoformat()), set()).add(row.identity_id)
    assert asked(path, 7) == [(*key, len(ids)) for key, ids in sorted(groups.items())]


def test_8_last_seen(path: Path, ledger: SqliteLedger) -> None:
    last = {row.identity_id: row.last.astimezone(UTC) for row in report.by_person(entries(ledger))}
    found = [(name, None if text is None else datetime.fromisoformat(text)) for name, text in asked(path, 8)]
    assert found == [(p.identity_id, last.get(p.identity_id)) for p in ledger.people()]
    assert found[-1] == ("person-04", None)


def test_9_first_in_and_last_out(path: Path, ledger: SqliteLedger) -> None:
    expected = []
    for key, found in per_day(ledger).items():
        ins = [clock(e.at) for e in found if e.direction is Direction.IN]
        outs = [clock(e.at) for e in found if e.direction is Direction.OUT]
        expected.append((*key, min(ins, default=None), max(outs, default=None)))
    assert asked(path, 9) == expected


def test_10_within_the_cooldown(path: Path, ledger: SqliteLedger) -> None:
    counted = {entry.event_id for entry in entries(ledger)}
    expected = [punch.event_id for punch in ledger.punches() if punch.event_id not in counted]
    assert [row[0] for row in asked(path, 10)] == expected
    assert expected


def test_11_evidence(path: Path, ledger: SqliteLedger) -> None:
    punch = next(punch for punch in ledger.punches() if punch.event_id == "event-00001")
    who = {p.subject_ref: p.identity_id for p in ledger.people()}
    runner_up = None if punch.runner_up_ref is None else who.get(punch.runner_up_ref)
    second = None if punch.runner_up_similarity is None else round(punch.runner_up_similarity, 3)
    assert [(row[0], datetime.fromisoformat(row[1]), *row[2:]) for row in asked(path, 11)] == [
        (
            who.get(punch.subject_ref),
            punch.observed_at,
            round(punch.similarity, 3),
            round(punch.threshold, 3),
            runner_up,
            second,
            punch.card_id,
        )
    ]


def test_12_closest_calls(path: Path, ledger: SqliteLedger) -> None:
    counted = {entry.event_id for entry in entries(ledger, MONTH)}
    leads = sorted((p.similarity - p.threshold, p.event_id) for p in ledger.punches() if p.event_id in counted)
    assert [row[0] for row in asked(path, 12)] == [event_id for _, event_id in leads[:5]]
