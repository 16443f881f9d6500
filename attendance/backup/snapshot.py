"""A ledger as it is at one moment, in one SQLite file, taken while kiosks write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from attendance.errors import BackupError, LedgerError
from attendance.ledger import connection, schema
from attendance.ledger.copying import PEOPLE_AT_ONCE, PUNCHES_AT_ONCE, stretches
from attendance.ledger.digests import Digest, digest_of, people_digest
from attendance.ledger.port import Ledger
from attendance.ledger.registry import COPIED
from attendance.space import Space


@dataclass(frozen=True, slots=True)
class Counts:
    """What a ledger file holds."""

    schema: int
    people: int
    templates: int
    punches: int
    attendance: int


def copy_file(source: Path, target: Path) -> None:
    """Copy a ledger file into a new one with SQLite's online backup: of one moment, and without stopping any writer.

    The copy keeps the schema version it finds. LedgerError where the source is damaged, or not ours.
    """
    with connection.translated(source), closing(_reading(source)) as old:
        schema.version_of(old, known=len(schema.MIGRATIONS))
        with connection.translated(target), closing(sqlite3.connect(target)) as new:
            new.execute("PRAGMA synchronous = OFF")  # it is removed again when this fails, and fsynced when packed
            old.backup(new)
    settle(target)


def move_up(path: Path) -> None:
    """Bring a copied ledger file to the present schema version, without keeping a copy of the older one again."""
    with connection.translated(path), closing(connection.connect(path, busy_timeout_s=0.0)) as db:
        schema.upgrade(db, path, now=datetime.now(UTC), keep_copy=False)
    settle(path)


def settle(path: Path) -> None:
    """Make one file of a ledger that nobody has open, and see that it is whole: LedgerError otherwise."""
    with connection.translated(path), closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        found = [row[0] for row in db.execute("PRAGMA quick_check")]
    if found != ["ok"]:
        raise LedgerError(f"the ledger must be an undamaged SQLite file, got '{found[0]}': restore an older backup")


def counts_of(path: Path) -> Counts:
    """What a ledger file holds, whichever schema version it has."""
    with connection.translated(path), closing(_reading(path)) as db:
        version = schema.version_of(db, known=len(schema.MIGRATIONS))
        tables = ("people", "templates", "punches", "attendance")
        numbers = [int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables]
    return Counts(version, *numbers)


def model_in_force(path: Path) -> str:
    """The model whose templates a ledger file has in force; empty where that was never noted."""
    with connection.translated(path), closing(_reading(path)) as db:
        schema.version_of(db, known=len(schema.MIGRATIONS))
        row = db.execute("SELECT value FROM settings WHERE key = 'templates'").fetchone()
    return "" if row is None else Space.of(str(json.loads(row[0]).get("space", ""))).model


def _reading(path: Path) -> sqlite3.Connection:
    # Not opened read-only: the last to close a ledger clears its write-ahead log away, and must be able to.
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)


def copy_server(source: Ledger, target: Path, open_file: Callable[[Path], Ledger]) -> None:
    """Copy a server's ledger into a new file while kiosks write to it.

    What was stored before this began is in the copy; of what is stored meanwhile, each punch and each person is in it
    whole or not at all. Punches are read before people, so that a punch's person is there too, unless removed; the
    template revision is read before the templates, so that it is never ahead of them. Attendance is counted in the
    copy. Each batch is compared with what was read.
    """
    with open_file(target) as copy:
        copy.import_zones(source.zones())
        _copy_punches(source, copy)
        copy.import_settings(source.settings())
        for register in COPIED:
            copy.import_registered(register, source.registered(register))
        _copy_people(source, copy)
        copy.digest("attendance")
    settle(target)


def _copy_punches(source: Ledger, copy: Ledger) -> None:
    for query in stretches(source, PUNCHES_AT_ONCE):
        records = source.records("punches", query)
        copy.import_records(records)
        _demand("punches", digest_of(records), copy.digest("punches", query))


def _copy_people(source: Ledger, copy: Ledger) -> None:
    ids = sorted(source.person_versions())
    for start in range(0, len(ids), PEOPLE_AT_ONCE):
        people = source.people(ids[start : start + PEOPLE_AT_ONCE])
        copy.import_people(people)
        there = [person.identity_id for person in people]
        _demand("people", people_digest(people), people_digest(copy.people(there)))


def _demand(what: str, read: Digest, written: Digest) -> None:
    if read != written:
        raise BackupError(
            f"the copy must hold the {read.count} {what} that were read, got {written.count}: do it again"
        )
