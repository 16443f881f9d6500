"""A stretch of punches: neighbours in one chain that lie closer together than the cooldown.

Before a stretch nothing lies within the cooldown, so its first punch counts, and which of its others count depends on
the punches of the stretch alone. That is what lets a writer count a stretch from the punches as they are now, without
knowing what anybody else derived.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from attendance.ledger.counting import order_of
from attendance.ledger.rows import Seen

Look = Callable[[datetime, datetime], list[Seen]]

_FIRST = datetime.min.replace(tzinfo=UTC)
# BSON keeps milliseconds, so a bound between two of them would be cut to the earlier one.
LAST_MOMENT = datetime.max.replace(microsecond=999_000, tzinfo=UTC)


def stretch_around(at: datetime, *, cooldown: timedelta, look: Look) -> list[Seen]:
    """The stretch of the punch that was observed ``at`` (UTC), in order; empty where no punch is.

    ``look(first, last)`` gives the chain's punches between two moments, both inclusive; it is asked for more as long as
    the stretch goes on.
    """
    before = after = 2 * cooldown
    while True:
        first, last = _earlier(at, before), _later(at, after)
        found = sorted(look(first, last), key=order_of)
        start, end = _bounds(found, at, cooldown)
        if start == end:
            return []
        goes_on_before = start == 0 and first > _FIRST and found[0].observed_at - first < cooldown
        goes_on_after = end == len(found) and last < LAST_MOMENT and last - found[-1].observed_at < cooldown
        if not goes_on_before and not goes_on_after:
            return found[start:end]
        before *= 4 if goes_on_before else 1
        after *= 4 if goes_on_after else 1


def _bounds(found: Sequence[Seen], at: datetime, cooldown: timedelta) -> tuple[int, int]:
    """The first index of the stretch, and the one after its last; the same twice where no punch was observed then."""
    times = [seen.observed_at for seen in found]
    start = bisect_left(times, at)
    end = bisect_right(times, at)
    if start == end:
        return start, end
    while start > 0 and times[start] - times[start - 1] < cooldown:
        start -= 1
    while end < len(times) and times[end] - times[end - 1] < cooldown:
        end += 1
    return start, end


def _earlier(at: datetime, by: timedelta) -> datetime:
    return _FIRST if at - _FIRST <= by else at - by


def _later(at: datetime, by: timedelta) -> datetime:
    return LAST_MOMENT if LAST_MOMENT - at <= by else at + by
