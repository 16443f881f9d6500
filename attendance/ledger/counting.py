"""Which punches count. Pure: the same set of punches gives the same answer, whatever order it arrived in.

Per chain (subject, site, direction) and greedy in (observed time, journal, counter) order: the first punch counts, and
each later one counts when it lies at least the cooldown after the last that counted; exactly the cooldown is enough.
The event id breaks the ties that two broken writers could make.

What counts up to a punch does not depend on what comes after it. So a late punch is judged by the last one that counts
before it, and changes the answer behind it only until a punch counts in both the old and the new answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from attendance.types import Direction


class Countable(Protocol):
    """What counting looks at: a `Punch`, or a slimmer row with the same names."""

    @property
    def event_id(self) -> str: ...
    @property
    def subject_ref(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def observed_at(self) -> datetime: ...
    @property
    def journal_id(self) -> str: ...
    @property
    def journal_counter(self) -> int: ...


C = TypeVar("C", bound=Countable)
Chain = tuple[str, str, Direction]


def order_of(punch: Countable) -> tuple[datetime, str, int, str]:
    """The place of a punch among all others: observed time, journal, counter, and the event id to break ties."""
    return punch.observed_at, punch.journal_id, punch.journal_counter, punch.event_id


def chain_of(punch: Countable) -> Chain:
    """The chain that a punch is counted in: subject, site, direction."""
    return punch.subject_ref, punch.site, punch.direction


def counted(punches: Iterable[Countable], cooldown_s: float) -> set[str]:
    """Event ids of the punches that count; several punches of one event id are one punch.

    ``cooldown_s`` is in seconds, 0 or more; with 0 every punch counts.
    """
    chains: defaultdict[Chain, list[Countable]] = defaultdict(list)
    for punch in {punch.event_id: punch for punch in punches}.values():
        chains[chain_of(punch)].append(punch)
    return {
        punch.event_id
        for chain in chains.values()
        for punch in counted_in_order(sorted(chain, key=order_of), cooldown_s)
    }


def counted_in_order(chain: Iterable[C], cooldown_s: float) -> Iterator[C]:
    """The punches that count, of one chain that is given in order and without repeats."""
    cooldown = timedelta(seconds=cooldown_s)
    last: datetime | None = None
    for punch in chain:
        if last is None or punch.observed_at - last >= cooldown:
            last = punch.observed_at
            yield punch


def changes(
    punch: C, *, last_counted_at: datetime | None, later: Iterable[tuple[C, bool]], cooldown_s: float
) -> tuple[list[C], list[C]]:
    """What inserting ``punch`` into its chain changes: punches that count from now on, and those that no longer do.

    ``last_counted_at``: when the nearest punch before it that counts was observed; None if there is none. ``later``:
    the punches after it in order, each with whether it counted so far; read only as far as needed, which is nowhere
    when ``punch`` does not count, and else up to the first that counted and still does: nothing changes behind it.
    """
    cooldown = timedelta(seconds=cooldown_s)
    gained: list[C] = []
    lost: list[C] = []
    if last_counted_at is not None and punch.observed_at - last_counted_at < cooldown:
        return gained, lost
    gained.append(punch)
    last = punch.observed_at
    for after, counted_so_far in later:
        counts = after.observed_at - last >= cooldown
        if counts and counted_so_far:
            break
        if counts:
            gained.append(after)
            last = after.observed_at
        elif counted_so_far:
            lost.append(after)
    return gained, lost
