"""people.csv: what it may say, and that every fault is one line with line and column."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from attendance.errors import PeopleFileError
from attendance.people_csv import COLUMNS, PersonRow, read_people_csv
from attendance.types import Consent
from tests.fakes import MORNING, person


def read(folder: Path, content: str | bytes) -> dict[str, PersonRow]:
    path = folder / "people.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_people_csv(path)


def fault(folder: Path, content: str | bytes) -> str:
    with pytest.raises(PeopleFileError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert str(folder / "people.csv") in message
    return message


def test_every_column_of_the_contract(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "identity_id,name,department,site,active_from,active_to,consent_version,consent_at,group\n"
        'p1,"Doe, J.",Lab,main,2026-01-31,2026-12-31,v2,2026-01-30T10:00:00+02:00,night\n',
    )
    row = rows["p1"]
    assert (row.name, row.department, row.site, row.group) == ("Doe, J.", "Lab", "main", "night")
    assert (row.active_from, row.active_to) == (date(2026, 1, 31), date(2026, 12, 31))
    assert row.consent == Consent("per_person", "v2", datetime(2026, 1, 30, 8, 0, tzinfo=UTC), "p1")
    assert set(COLUMNS) == {
        *("identity_id", "name", "department", "site", "active_from", "active_to"),
        *("consent_version", "consent_at", "group"),
    }


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_line_endings_blank_lines_and_column_order_do_not_matter(tmp_path: Path, mark: str, ending: str) -> None:
    lines = ["name,identity_id", "Ann, p1".replace(", ", ","), "", ",", "Zoë,p2"]
    rows = read(tmp_path, mark + ending.join(lines))
    assert {key: row.name for key, row in rows.items()} == {"p1": "Ann", "p2": "Zoë"}
    assert rows["p2"].line == 5


def test_identity_ids_are_compared_in_one_unicode_spelling(tmp_path: Path) -> None:
    assert list(read(tmp_path, "identity_id\nzoe\u0308\n")) == ["zo\u00eb"]
    assert "line 3, column identity_id" in fault(tmp_path, "identity_id\nzoe\u0308\nzo\u00eb\n")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("identity_id,nickname\np1,x\n", "line 1, column 2: unknown column 'nickname'"),
        ("identity_id;name\np1;x\n", "line 1, column 1: unknown column 'identity_id;name'"),
        ("identity_id,name,name\np1,x,y\n", "line 1, column name"),
        ("name\nx\n", "line 1: expected a column identity_id, got name"),
        ("", "line 1: expected a column identity_id, got nothing"),
        ("identity_id\np1\np2\np1\n", "line 4, column identity_id: p1 is there already in line 2"),
        ("identity_id,name\n,x\n", "line 2, column identity_id: it is empty"),
        ("identity_id,name\np1\n", "line 2, column name: expected 2 cells, got 1"),
        ("identity_id,name\np1,Doe, J.\n", "line 2, column 3: expected 2 cells, got 3"),
        ("identity_id,active_from\np1,31.01.2026\n", "line 2, column active_from: expected a date as YYYY-MM-DD"),
        ("identity_id,active_to\np1,2026-02-30\n", "line 2, column active_to: expected a date that exists"),
        ("identity_id,active_to\np1,20260131\n", "line 2, column active_to: expected a date as YYYY-MM-DD"),
        ("identity_id,active_to\np1,2026-W05-6\n", "line 2, column active_to: expected a date as YYYY-MM-DD"),
        ("identity_id,active_from,active_to\np1,2026-02-02,2026-02-01\n", "line 2, column active_to: 2026-02-01 lies"),
        ("identity_id,consent_at\np1,yesterday\n", "line 2, column consent_at: expected a date"),
        ("identity_id,consent_at\np1,2026-01-31T09:00\n", "line 2, column consent_at: expected a date"),
        ("identity_id,consent_at\np1,0001-01-01T00:00+14:00\n", "line 2, column consent_at: expected a date"),
        ('identity_id,name\np1,"a\nb"\n', "line 3, column name: expected text in one line"),
        ("identity_id,name\np1,\x1b[31m\n", "line 2, column name: expected text in one line without control"),
        ('identity_id,name\np1,"open\n', "line 2: not valid CSV"),
    ],
)
def test_a_fault_names_line_and_column(tmp_path: Path, content: str, where: str) -> None:
    assert where in fault(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("identity_id,name\np1,Ann\np2,Zoë\n".encode("latin-1"), "line 3, column name: expected UTF-8"),
        ("identity_id,name\r\np1,Ann\r\nZoë,x\r\n".encode("latin-1"), "line 3, column identity_id: expected UTF-8"),
        ("identity_id,nickname\np1,Zoë\n".encode("latin-1"), "line 2, column 2: expected UTF-8"),
        ("identity_id\np1\n".encode("utf-16"), "line 1, column 1: expected UTF-8"),
    ],
)
def test_a_wrong_encoding_names_line_and_column(tmp_path: Path, content: bytes, where: str) -> None:
    assert where in fault(tmp_path, content)


def test_what_is_no_regular_file_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    os.mkfifo(path)
    with pytest.raises(PeopleFileError, match="regular file"):
        read_people_csv(path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(PeopleFileError, match="cannot be read"):
        read_people_csv(path)


def test_a_time_has_the_ledgers_resolution_so_that_reading_it_again_changes_nothing(tmp_path: Path) -> None:
    rows = read(tmp_path, "identity_id,consent_at\np1,2026-01-31T09:00:00.123456Z\np2,2026-01-31\n")
    assert rows["p1"].consent_at == datetime(2026, 1, 31, 9, 0, 0, 123000, tzinfo=UTC)
    assert rows["p2"].consent_at == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("line", ["p1,,2026-01-31", "p1,v1,", "p1,,"])
def test_half_a_consent_is_none(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"identity_id,consent_version,consent_at\n{line}\n")["p1"].consent is None


def test_a_row_changes_what_it_says_and_leaves_the_rest(tmp_path: Path) -> None:
    before = person("p1", (200, 0, 0), name="Old")
    row = read(tmp_path, "identity_id,department,active_to\np1,Lab,2026-12-31\n")["p1"]
    after = row.applied_to(before)
    assert (after.name, after.department, after.active_to) == ("Old", "Lab", date(2026, 12, 31))
    assert after.consent == before.consent == Consent("attested", "", MORNING, "operator")
    cleared = read(tmp_path, "identity_id,department,active_to\np1,,\n")["p1"].applied_to(after)
    assert (cleared.department, cleared.active_to) == ("", None)


def test_dates_that_contradict_those_that_stay_are_a_fault_of_their_column(tmp_path: Path) -> None:
    late = read(tmp_path, "identity_id,active_from\np1,2026-06-01\n")["p1"].applied_to(person("p1"))
    row = read(tmp_path, "identity_id,name,active_to\n\np1,x,2026-05-31\n")["p1"]
    with pytest.raises(
        PeopleFileError, match="line 3, column active_to: p1 would be active from 2026-06-01 to 2026-05"
    ):
        row.applied_to(late)
