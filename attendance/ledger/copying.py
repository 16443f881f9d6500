"""Copying a ledger into another, of the same or another kind: in batches, each read back and compared.

A batch that is already there is recognised and left out, so a copy that was interrupted goes on where it was; between
two files all punches are carried over in one step before, which is done as a whole or not at all. What is in the target
and not in the source makes a batch differ, and is an error: a copy is a copy.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from attendance.errors import LedgerError
from attendance.ledger.digests import Digest, digest_of, people_digest
from attendance.ledger.port import Ledger, PunchQuery
from attendance.ledger.registry import COPIED
from attendance.ledger.rows import Record

logger = logging.getLogger(__name__)

PUNCHES_AT_ONCE = 10_000
PEOPLE_AT_ONCE = 250

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What the target holds after the copy, equal to the source, and how much of it was written by this run.

    ``registered`` counts the cameras and sites of the registry. ``sha256`` covers every field of every person, punch,
    setting, camera, site and attendance row, in batches.
    """

    people: int
    punches: int
    settings: int
    registered: int
    attendance: int
    written: int
    sha256: str


def copy_ledger(
    source: Ledger,
    target: Ledger,
    *,
    progress: Progress = lambda _kind, _count: None,
    people_at_once: int = PEOPLE_AT_ONCE,
    punches_at_once: int = PUNCHES_AT_ONCE,
) -> Copied:
    """Copy everything and compare it. ``progress`` is told what kind of record and how many more are done.

    Nobody should write to either meanwhile. LedgerError names the first thing that differs.
    """
    found = hashlib.sha256()
    # It brings the zones of the source to the present rules too.
    source.bring_to_rules()
    target.import_zones(source.zones())
    settings, new_settings = _copy_settings(source, target, found.update)
    registered, new_registered = _copy_registry(source, target, found.update)
    people, new_people = _copy_people(source, target, found.update, progress, at_once=people_at_once)
    parts = stretches(source, punches_at_once)
    punches, new_punches = _copy_punches(source, target, parts, found.update, progress)
    attendance = _compare_attendance(source, target, parts, found.update)
    return Copied(
        people=people,
        punches=punches,
        settings=settings,
        registered=registered,
        attendance=attendance,
        written=new_settings + new_registered + new_people + new_punches,
        sha256=found.hexdigest(),
    )


Note = Callable[[bytes], None]


def _copy_settings(source: Ledger, target: Ledger, note: Note) -> tuple[int, int]:
    theirs = source.settings()
    written = target.import_settings(theirs)
    if target.settings() != theirs:
        raise _differ("settings", f"{len(theirs)}", f"{len(target.settings())} or other values")
    note(repr(theirs).encode())
    return len(theirs), written


def _copy_registry(source: Ledger, target: Ledger, note: Note) -> tuple[int, int]:
    """Cameras and sites; a kiosk's health is of the moment and stays where it is."""
    count = written = 0
    for register in COPIED:
        theirs = source.registered(register)
        written += target.import_registered(register, theirs)
        if target.registered(register) != theirs:
            raise _differ(str(register), f"{len(theirs)}", f"{len(target.registered(register))} or other values")
        note(repr([(each.key, each.version, sorted(each.value.items())) for each in theirs]).encode())
        count += len(theirs)
    return count, written


def _copy_people(source: Ledger, target: Ledger, note: Note, progress: Progress, *, at_once: int) -> tuple[int, int]:
    ids = sorted(source.person_versions())
    written = 0
    for start in range(0, len(ids), at_once):
        part = ids[start : start + at_once]
        people = source.people(part)
        wanted = people_digest(people)
        if people_digest(target.people(part)) != wanted:
            written += target.import_people(people)
            got = people_digest(target.people(part))
            if got != wanted:
                raise _differ(f"people from {part[0]} to {part[-1]}", _shown(wanted), _shown(got))
        note(wanted.sha256.encode())
        progress("people", len(part))
    extra = sorted(set(target.person_versions()) - set(ids))
    if extra:
        raise _differ("people", f"{len(ids)}", f"also {extra[0]}")
    return len(ids), written


def _copy_punches(
    source: Ledger, target: Ledger, parts: Sequence[PunchQuery], note: Note, progress: Progress
) -> tuple[int, int]:
    count, written = 0, target.adopt(source)
    for query in parts:
        theirs = source.records("punches", query)
        if target.records("punches", query) != theirs:
            written += target.import_records(theirs)
            _demand("punches", query, theirs, target.records("punches", query))
        note(digest_of(theirs).sha256.encode())
        count += len(theirs)
        progress("punches", len(theirs))
    return count, written


def _compare_attendance(source: Ledger, target: Ledger, parts: Sequence[PunchQuery], note: Note) -> int:
    count = 0
    for query in parts:
        theirs = source.records("attendance", query)
        _demand("attendance rows", query, theirs, target.records("attendance", query))
        note(digest_of(theirs).sha256.encode())
        count += len(theirs)
    return count


def stretches(source: Ledger, at_once: int) -> list[PunchQuery]:
    """Stretches of time that together hold every punch, each about ``at_once`` of them."""
    moments = [None, *sorted(set(source.moments(at_once))), None]
    return [PunchQuery(since=since, until=until) for since, until in pairwise(moments)]


def _demand(what: str, query: PunchQuery, wanted: Sequence[Record], got: Sequence[Record]) -> None:
    if wanted != got:
        raise _differ(f"{what} {_span(query)}", _shown(digest_of(wanted)), _shown(digest_of(got)))


def _differ(what: str, expected: str, got: str) -> LedgerError:
    return LedgerError(
        f"the copy must hold the same {what} as its source, expected {expected}, got {got}: "
        f"stop what writes to either, copy into an empty ledger, or into the one that this copy was begun in"
    )


def _shown(digest: Digest) -> str:
    return f"{digest.count} ({digest.sha256[:12]})"


def _span(query: PunchQuery) -> str:
    since = "the first" if query.since is None else query.since.isoformat()
    return f"from {since} to {'the last' if query.until is None else query.until.isoformat()}"
