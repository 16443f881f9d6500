"""Local days and clocks against hand-made tables around clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from attendance.workday import local_clock, local_day, local_moment


@pytest.mark.parametrize(
    ("moment", "zone", "day", "clock"),
    [
        ("2026-01-05T08:00:00", "UTC", "2026-01-05", "08:00:00"),
        ("2026-01-05T22:59:59", "Europe/Berlin", "2026-01-05", "23:59:59"),
        ("2026-01-05T23:00:00", "Europe/Berlin", "2026-01-06", "00:00:00"),
        ("2026-07-05T22:00:00", "Europe/Berlin", "2026-07-06", "00:00:00"),
        ("2026-03-29T00:59:59", "Europe/Berlin", "2026-03-29", "01:59:59"),
        ("2026-03-29T01:00:00", "Europe/Berlin", "2026-03-29", "03:00:00"),
        ("2026-10-25T00:30:00", "Europe/Berlin", "2026-10-25", "02:30:00"),
        ("2026-10-25T01:30:00", "Europe/Berlin", "2026-10-25", "02:30:00"),
        ("2026-01-05T04:59:59", "America/New_York", "2026-01-04", "23:59:59"),
        ("2026-01-05T18:29:59", "Asia/Kolkata", "2026-01-05", "23:59:59"),
        ("2026-01-05T18:30:00", "Asia/Kolkata", "2026-01-06", "00:00:00"),
        ("2026-01-05T10:00:00", "Pacific/Kiritimati", "2026-01-06", "00:00:00"),
        # Samoa had no 30 December 2011.
        ("2011-12-30T09:59:59", "Pacific/Apia", "2011-12-29", "23:59:59"),
        ("2011-12-30T10:00:00", "Pacific/Apia", "2011-12-31", "00:00:00"),
        # Midnight was skipped in São Paulo.
        ("2018-11-04T02:59:59", "America/Sao_Paulo", "2018-11-03", "23:59:59"),
        ("2018-11-04T03:00:00", "America/Sao_Paulo", "2018-11-04", "01:00:00"),
    ],
)
def test_a_moment_has_its_local_day_and_clock(moment: str, zone: str, day: str, clock: str) -> None:
    utc = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert local_day(utc, ZoneInfo(zone)) == date.fromisoformat(day)
    assert local_clock(utc, ZoneInfo(zone)) == clock


def test_the_repeated_hour_is_told_apart_and_goes_back_to_its_moment() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    local = [local_moment(first + timedelta(hours=h), zone) for h in (0, 1)]
    assert [moment.fold for moment in local] == [0, 1]
    assert [moment.isoformat() for moment in local] == ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]
    assert [moment.astimezone(UTC) for moment in local] == [first, first + timedelta(hours=1)]


@pytest.mark.parametrize(
    "moment", [datetime(2026, 1, 5, 8), datetime(2026, 1, 5, 8, tzinfo=timezone(timedelta(hours=1)))]
)
def test_a_moment_that_is_not_utc_is_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="aware UTC"):
        local_day(moment, ZoneInfo("UTC"))
