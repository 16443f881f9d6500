"""How the ledger writes moments: whole milliseconds in UTC, the finest that every store keeps."""

from __future__ import annotations

from datetime import UTC, datetime

from attendance.types import require_utc


def whole_milliseconds(moment: datetime) -> datetime:
    """The moment (aware UTC) without the part below a millisecond, which not every store can keep."""
    require_utc("moment", moment)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)


def to_text(moment: datetime) -> str:
    """An aware UTC moment as 2026-01-31T08:00:00.000Z: fixed width, so text order is time order."""
    return whole_milliseconds(moment).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def from_text(text: str) -> datetime:
    """The aware UTC moment that `to_text` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)
