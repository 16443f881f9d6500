"""Rows as an aligned text table or as CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def render(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str]) -> str:
    """Rows as a text table with a head; wide (East Asian) characters count as two columns."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max([_width(column), *(_width(line[index]) for line in cells)]) for index, column in enumerate(columns)]
    lines = [columns, ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def to_csv(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str]) -> str:
    """Rows as CSV with a head. Text that a spreadsheet would run as a formula is marked as text with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_harmless(row.get(column)) for column in columns] for row in rows])
    return buffer.getvalue()


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def printable(text: str) -> str:
    """Text in one line: what would move the cursor or colour a terminal is shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
