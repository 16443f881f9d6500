"""How the ledger writes moments: whole milliseconds in UTC, the finest that every store keeps."""

from __future__ import annotations

from datetime import datetime

from attendance.types import require_utc


def to_text(moment: datetime) -> str:
    """An aware UTC moment as 2026-01-31T08:00:00.000Z: cut to milliseconds; text order is time order."""
    require_utc("moment", moment)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def from_text(text: str) -> datetime:
    """The aware UTC moment that `to_text` wrote."""
    return datetime.fromisoformat(text)
