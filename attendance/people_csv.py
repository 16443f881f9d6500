"""people.csv: who the folders of photos are. Faults are found before anything is written, with line and column."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from attendance.errors import PeopleFileError

COLUMNS = (
    "identity_id",
    "name",
    "department",
    "site",
    "active_from",
    "active_to",
    "consent_version",
    "consent_at",
    "group",
)


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One row. A field is None where the file has no such column, so that what is not said is left as it is."""

    identity_id: str
    line: int
    name: str | None = None
    department: str | None = None
    site: str | None = None
    group: str | None = None
    active_from: date | None = None
    active_to: date | None = None
    has_dates: frozenset[str] = frozenset()
    consent_version: str | None = None
    consent_at: datetime | None = None


def read_people_csv(path: Path) -> dict[str, PersonRow]:
    """Read people.csv: identity id to row, in file order.

    UTF-8, with or without a byte-order mark; the first line names the columns, in any order, ``identity_id`` among
    them. Dates are YYYY-MM-DD; ``consent_at`` is a date or a date and time with an offset.

    Raises:
        PeopleFileError: naming line and column of the first fault.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PeopleFileError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise PeopleFileError(
            f"{path}: expected UTF-8 text, byte {error.start} is not; save it as UTF-8"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _read_rows(path, reader)
    except csv.Error as error:
        raise PeopleFileError(
            f"{path}: line {reader.line_num}: not valid CSV ({error}); mend the line"
        ) from error


class _Lines(Protocol):
    """What is used of a csv reader, which the standard library gives no public type."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def _read_rows(path: Path, reader: _Lines) -> dict[str, PersonRow]:
    columns = _check_header(path, next(reader, None))
    rows: dict[str, PersonRow] = {}
    for cells in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise PeopleFileError(
                f"{path}: line {line}: expected {len(columns)} cells, got {len(cells)}"
            )
        row = _read_row(
            path,
            line,
            dict(zip(columns, (cell.strip() for cell in cells), strict=True)),
        )
        if row.identity_id in rows:
            first = rows[row.identity_id].line
            raise PeopleFileError(
                f"{path}: line {line}, column identity_id: {row.identity_id} is there already in line {first};"
                " keep one of them"
            )
        rows[row.identity_id] = row
    return rows


def _check_header(path: Path, header: list[str] | None) -> list[str]:
    columns = [cell.strip() for cell in header] if header else []
    for column in columns:
        if column not in COLUMNS:
            raise PeopleFileError(
                f"{path}: line 1: unknown column {column!r}; known are {', '.join(COLUMNS)}"
            )
        if columns.count(column) > 1:
            raise PeopleFileError(
                f"{path}: line 1: column {column} is there twice; keep one of them"
            )
    if "identity_id" not in columns:
        raise PeopleFileError(
            f"{path}: line 1: expected a column identity_id, got {', '.join(columns) or 'nothing'}"
        )
    return columns


def _read_row(path: Path, line: int, cells: dict[str, str]) -> PersonRow:
    identity_id = unicodedata.normalize("NFC", cells["identity_id"])
    if not identity_id:
        raise PeopleFileError(
            f"{path}: line {line}, column identity_id: it is empty; every row names a person"
        )

    def parsed(
        column: str, parse: Callable[[str], date | datetime]
    ) -> date | datetime | None:
        text = cells.get(column)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise PeopleFileError(
                f"{path}: line {line}, column {column}: {error}, got {text!r}"
            ) from error

    active_from, active_to = parsed("active_from", _date), parsed("active_to", _date)
    consent_at = parsed("consent_at", _moment)
    if active_from is not None and active_to is not None and active_to < active_from:
        raise PeopleFileError(
            f"{path}: line {line}, column active_to: {active_to} lies before active_from"
        )
    return PersonRow(
        identity_id=identity_id,
        line=line,
        name=cells.get("name"),
        department=cells.get("department"),
        site=cells.get("site"),
        group=cells.get("group"),
        active_from=active_from,
        active_to=active_to,
        has_dates=frozenset({"active_from", "active_to"} & cells.keys()),
        consent_version=cells.get("consent_version"),
        consent_at=consent_at if isinstance(consent_at, datetime) else None,
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError("expected a date as YYYY-MM-DD") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            "expected a date, or a date and time with an offset such as 2026-01-31T09:00:00Z"
        ) from error
    if moment.tzinfo is None:
        if len(text) > 10:
            raise ValueError("expected a time with an offset such as Z or +01:00")
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
