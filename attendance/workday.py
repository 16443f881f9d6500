"""Which local day and clock time a moment belongs to: attendance is cut by a site's time zone, never at UTC midnight.

Pure. A UTC moment has exactly one local time, also in the hour that a clock change repeats (`fold` tells the two apart)
and around the one it skips; so going from UTC to local time needs no choice.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from attendance.types import require_utc


def local_moment(moment: datetime, zone: ZoneInfo) -> datetime:
    """The same moment (aware UTC) as an aware local datetime of ``zone``; ValueError when it is not UTC."""
    require_utc("moment", moment)
    return moment.astimezone(zone)


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The local calendar day of a moment (aware UTC) in ``zone``."""
    return local_moment(moment, zone).date()


def local_clock(moment: datetime, zone: ZoneInfo) -> str:
    """What a clock on the wall in ``zone`` showed at a moment (aware UTC), as HH:MM:SS."""
    return local_moment(moment, zone).time().isoformat(timespec="seconds")
