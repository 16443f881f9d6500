"""``report``: rows by punch, person and day, in the site's time zone, as table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Run, insert_people, open_ledger, punch
from tests.fakes import MORNING

DAY_S = 86400.0


@pytest.fixture
def site(run: Run, store: Path) -> Run:
    """Red at 08:00 and 12:00 on the 2nd of March and at 08:00 on the 3rd; green at 09:00 on the 2nd."""
    insert_people(store, "red", name="=Red", department="lab")
    insert_people(store, "green")
    with open_ledger(store) as ledger:
        for number, (who, seconds) in enumerate([("red", 0.0), ("green", 3600.0), ("red", 14400.0), ("red", DAY_S)]):
            punch(ledger, number, who, seconds)
    return run


def config(tmp_path: Path, zone: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(f"sites: [{{id: main, time_zone: {zone}}}]\n", encoding="utf-8")
    return path


def test_a_row_per_punch_person_and_day(site: Run) -> None:
    punches = site("report", "--json", "-").json
    assert [(row["day"], row["at"], row["identity_id"]) for row in punches] == [
        ("2026-03-02", "2026-03-02T08:00:00+00:00", "red"),
        ("2026-03-02", "2026-03-02T09:00:00+00:00", "green"),
        ("2026-03-02", "2026-03-02T12:00:00+00:00", "red"),
        ("2026-03-03", "2026-03-03T08:00:00+00:00", "red"),
    ]
    people = site("report", "--by", "person", "--json", "-").json
    assert [(row["identity_id"], row["days"], row["punches"]) for row in people] == [("green", 1, 1), ("red", 2, 3)]
    days = site("report", "--by", "day", "--json", "-").json
    assert [(row["day"], row["identity_id"], row["punches"]) for row in days] == [
        ("2026-03-02", "green", 1),
        ("2026-03-02", "red", 2),
        ("2026-03-03", "red", 1),
    ]


@pytest.mark.parametrize(("flags", "count"), [
    (("--person", "red"), 3), (("--person", "nobody"), 0), (("--department", "lab"), 3), (("--department", "x"), 0),
    (("--site", "main"), 4), (("--site", "x"), 0), (("--from", "2026-03-03"), 1), (("--to", "2026-03-02"), 3),
    (("--from", "2026-03-02", "--to", "2026-03-02", "--person", "green"), 1),
])  # fmt: skip
def test_filters(site: Run, flags: tuple[str, ...], count: int) -> None:
    assert len(site("report", *flags, "--json", "-").json) == count


def test_table_csv_and_json_say_the_same(site: Run) -> None:
    data = site("report", "--by", "person", "--json", "-").json
    assert json.loads(site("report", "--by", "person", "--format", "json").out) == data
    rows = list(csv.DictReader(io.StringIO(site("report", "--by", "person", "--format", "csv").out)))
    assert [row["identity_id"] for row in rows] == [row["identity_id"] for row in data]
    assert rows[1]["name"] == "'=Red"
    table = site("report", "--by", "person").out.splitlines()
    assert table[0].split() == list(data[0])
    assert "=Red" in table[3]


def test_a_removed_persons_rows_stay_and_name_nobody(site: Run) -> None:
    assert site("people", "remove", "red", "--yes").code == 0
    people = site("report", "--by", "person", "--json", "-").json
    assert [(row["identity_id"], row["name"], row["department"], row["punches"]) for row in people] == [
        ("green", "green", "", 1),
        (None, "removed (ref ref-red)", "", 3),
    ]
    assert site("report", "--person", "red", "--json", "-").json == []
    assert site("report", "--department", "lab", "--json", "-").json == []


@pytest.mark.parametrize(("zone", "utc", "day", "at"), [
    ("America/Los_Angeles", "2026-03-02T07:59:00", "2026-03-01", "2026-03-01T23:59:00-08:00"),
    ("America/Los_Angeles", "2026-03-02T08:00:00", "2026-03-02", "2026-03-02T00:00:00-08:00"),
    ("Pacific/Auckland", "2026-03-02T10:59:00", "2026-03-02", "2026-03-02T23:59:00+13:00"),
    ("Pacific/Auckland", "2026-03-02T11:00:00", "2026-03-03", "2026-03-03T00:00:00+13:00"),
    ("Europe/Berlin", "2026-03-29T00:59:59", "2026-03-29", "2026-03-29T01:59:59+01:00"),
    ("Europe/Berlin", "2026-03-29T01:00:00", "2026-03-29", "2026-03-29T03:00:00+02:00"),
    ("Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25", "2026-10-25T02:30:00+02:00"),
    ("Europe/Berlin", "2026-10-25T01:30:00", "2026-10-25", "2026-10-25T02:30:00+01:00"),
    ("America/Sao_Paulo", "2026-01-01T02:59:59", "2025-12-31", "2025-12-31T23:59:59-03:00"),
])  # fmt: skip
def test_days_are_those_of_the_site(
    run: Run, store: Path, tmp_path: Path, zone: str, utc: str, day: str, at: str
) -> None:
    insert_people(store, "red")
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    with open_ledger(store, zone=zone) as ledger:
        punch(ledger, 1, "red", (moment - MORNING).total_seconds())
    flags = ("--config", config(tmp_path, zone), "--json", "-")
    row = run("report", *flags).json[0]
    assert (row["day"], row["at"]) == (day, at)
    assert len(run("report", "--from", day, "--to", day, *flags).json) == 1
    assert run("report", "--by", "day", *flags).json[0]["first"] == at


def test_a_changed_time_zone_cuts_the_days_anew(site: Run, tmp_path: Path) -> None:
    flags = ("--by", "day", "--config", config(tmp_path, "Pacific/Auckland"), "--json", "-")
    days = site("report", *flags).json
    assert [(row["day"], row["identity_id"]) for row in days] == [
        ("2026-03-02", "green"), ("2026-03-02", "red"), ("2026-03-03", "red"),
    ]  # fmt: skip
    assert days[1]["first"] == "2026-03-02T21:00:00+13:00"
    assert [row["punches"] for row in days] == [1, 1, 2]


def test_nothing_yet_is_no_failure(run: Run, store: Path) -> None:
    store.mkdir()
    assert run("report", "--json", "-").json == []
    assert run("report", "--by", "day", "--format", "csv").out.count("\n") == 1
