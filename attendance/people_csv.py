"""people.csv: who the folders of photos are. Faults are found before anything is written, with line and column."""

from __future__ import annotations

import csv
import io
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from attendance.errors import PeopleFileError
from attendance.types import Consent, Person

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

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One row. A text is None where the file has no such column, so that what is not said is left as it is.

    ``has_dates`` names the columns of dates that the file has: an empty cell takes the date away. ``origin`` is the
    file, for messages.
    """

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
    origin: str = "people.csv"

    @property
    def consent(self) -> Consent | None:
        """The person's own consent, where the row gives both its version and its time."""
        if not self.consent_version or self.consent_at is None:
            return None
        return Consent(policy="per_person", version=self.consent_version, at=self.consent_at, by=self.identity_id)

    def applied_to(self, person: Person) -> Person:
        """The person with what this row says; what it does not say stays.

        Raises PeopleFileError when the row's dates contradict those that stay.
        """
        texts = {name: getattr(self, name) for name in ("name", "department", "site", "group")}
        said = {name: text for name, text in texts.items() if text is not None}
        dates = {name: getattr(self, name) for name in self.has_dates}
        begin, end = (dates.get(name, getattr(person, name)) for name in ("active_from", "active_to"))
        if begin is not None and end is not None and end < begin:
            column = "active_to" if "active_to" in dates else "active_from"
            raise PeopleFileError(
                f"{self.origin}: line {self.line}, column {column}: {self.identity_id} would be active from {begin} to "
                f"{end}; give both dates"
            )
        consent = person.consent if self.consent is None else self.consent
        return replace(person, consent=consent, **said, **dates)


def read_people_csv(path: Path) -> dict[str, PersonRow]:
    """Read people.csv: identity id to row, in file order.

    UTF-8, with or without a byte-order mark; the first line names the columns, in any order, ``identity_id`` among
    them. Dates are YYYY-MM-DD; ``consent_at`` is a date or a date and time with an offset.

    Raises:
        PeopleFileError: naming line and column of the first fault.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        return _read_rows(path, reader)
    except csv.Error as error:
        raise PeopleFileError(f"{path}: line {reader.line_num}: not valid CSV ({error}); mend the line") from error


def _read_text(path: Path) -> str:
    try:
        # A pipe or a device would be read for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PeopleFileError(f"{path}: expected a regular file, got something else; give a CSV file or none")
        data = path.read_bytes()
    except OSError as error:
        raise PeopleFileError(f"{path}: cannot be read ({error.strerror}); check link and permissions") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
        header = data.replace(b"\r", b"\n").split(b"\n", 1)[0].decode("utf-8-sig", "replace")
        column = _column_at(header, before[start:].decode("utf-8-sig", "replace"))
        raise PeopleFileError(
            f"{path}: line {line}, {column}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}; save it as "
            "UTF-8"
        ) from error


def _column_at(header: str, before: str) -> str:
    """The column that a line is in after the text ``before``, by its name where the header has one there."""
    try:
        names, cells = (next(csv.reader([text]), []) for text in (header, before))
    except csv.Error:
        names, cells = [], []
    place = max(len(cells), 1)
    known = place <= len(names) and names[place - 1].strip() in COLUMNS
    return f"column {names[place - 1].strip()}" if known else f"column {place}"


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
            first = columns[len(cells)] if len(cells) < len(columns) else str(len(columns) + 1)
            raise PeopleFileError(
                f"{path}: line {line}, column {first}: expected {len(columns)} cells, got {len(cells)}; quote cells "
                "that hold commas"
            )
        row = _read_row(path, line, dict(zip(columns, (cell.strip() for cell in cells), strict=True)))
        if row.identity_id in rows:
            raise PeopleFileError(
                f"{path}: line {line}, column identity_id: {row.identity_id} is there already in line "
                f"{rows[row.identity_id].line}; keep one of them"
            )
        rows[row.identity_id] = row
    return rows


def _check_header(path: Path, header: list[str] | None) -> list[str]:
    columns = [cell.strip() for cell in header] if header else []
    for place, column in enumerate(columns, start=1):
        if column not in COLUMNS:
            raise PeopleFileError(
                f"{path}: line 1, column {place}: unknown column {column!r}; known are {', '.join(COLUMNS)}, "
                "with commas between them"
            )
        if columns.count(column) > 1:
            raise PeopleFileError(f"{path}: line 1, column {column}: it is there twice; keep one of them")
    if "identity_id" not in columns:
        raise PeopleFileError(
            f"{path}: line 1: expected a column identity_id, got {', '.join(columns) if columns else 'nothing'}"
        )
    return columns


def _read_row(path: Path, line: int, cells: dict[str, str]) -> PersonRow:
    def fault(column: str, message: str) -> PeopleFileError:
        return PeopleFileError(f"{path}: line {line}, column {column}: {message}")

    def parsed(column: str, parse: Callable[[str], _Value]) -> _Value | None:
        text = cells.get(column)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise fault(column, f"{error}, got {text!r}") from error

    for column, text in cells.items():
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise fault(column, f"expected text in one line without control characters, got {text!r}")
    identity_id = unicodedata.normalize("NFC", cells["identity_id"])
    if not identity_id:
        raise fault("identity_id", "it is empty; every row names a person")
    active_from, active_to = parsed("active_from", _date), parsed("active_to", _date)
    if active_from is not None and active_to is not None and active_to < active_from:
        raise fault("active_to", f"{active_to} lies before active_from, {active_from}")
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
        consent_at=parsed("consent_at", _moment),
        origin=str(path),
    )


def _date(text: str) -> date:
    # fromisoformat alone also takes 20260131 and 2026-W05-6.
    if _DATE.fullmatch(text) is None:
        raise ValueError("expected a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError("expected a date that exists") from error


def _moment(text: str) -> datetime:
    """Aware UTC in whole milliseconds, as the ledger keeps it: read again, it is the same."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and _DATE.fullmatch(text) is not None:
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is None:
            raise ValueError("no offset")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("expected a date, or a date and time with an offset such as 2026-01-31T09:00:00Z") from error
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
