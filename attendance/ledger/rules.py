"""The rules that attendance rows come from: the cooldown, and each site's time zone. Pure.

Counting never crosses sites, so rows are counted, and counted anew, site by site. A ledger remembers per site the zone
and the rules its rows were made with. A process whose configuration does not name a site uses the remembered zone, so
two kiosks that each know only their own site agree; a site nobody ever configured is cut in UTC, and its rules say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from attendance import workday
from attendance.ledger.counting import Countable
from attendance.types import AttendanceRow

_LONGEST_S = timedelta(days=36500).total_seconds()


@dataclass(frozen=True, slots=True)
class SiteRules:
    """What one site's rows are made with; ``time_zone`` is None where nobody configured one, and UTC is used."""

    time_zone: str | None
    zone: ZoneInfo
    text: str


class Rules:
    """The cooldown (seconds, 0 to a century) and the time zones by site; ValueError for another cooldown."""

    def __init__(self, cooldown_s: float, time_zones: Mapping[str, ZoneInfo]) -> None:
        if not 0.0 <= cooldown_s <= _LONGEST_S:
            raise ValueError(f"cooldown_s must be seconds from 0 to {_LONGEST_S:.0f}, got {cooldown_s}")
        self.cooldown_s = float(cooldown_s)
        self._time_zones = {site: str(zone) for site, zone in time_zones.items()}

    def of(self, site: str, *, remembered: str | None) -> SiteRules:
        """The rules of a site; ``remembered`` is the time zone that the ledger holds for it, used if ours has none."""
        name = self._time_zones.get(site, remembered)
        zone = None if name is None else _known_zone(name)
        cooldown = int(self.cooldown_s) if self.cooldown_s.is_integer() else self.cooldown_s
        where = "UTC (site not configured)" if zone is None else str(zone)
        return SiteRules(
            time_zone=None if zone is None else name,
            zone=ZoneInfo("UTC") if zone is None else zone,
            text=f"v1 cooldown={cooldown} zone={where}",
        )


def _known_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def attendance_row(punch: Countable, rules: SiteRules, *, camera_id: str, identity_id: str | None) -> AttendanceRow:
    """The attendance row of a punch that counts."""
    return AttendanceRow(
        event_id=punch.event_id,
        subject_ref=punch.subject_ref,
        identity_id=identity_id,
        site=punch.site,
        camera_id=camera_id,
        observed_at=punch.observed_at,
        local_day=workday.local_day(punch.observed_at, rules.zone),
        direction=punch.direction,
        rules=rules.text,
        time_zone=str(rules.zone),
    )
