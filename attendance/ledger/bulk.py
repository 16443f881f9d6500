"""Many records at once into a SQLite ledger: inserted where missing, the attendance counted anew before its next use.

Each function but `adopt` works inside the caller's transaction. A site whose rules are `TO_BE_COUNTED` differs from
every rule, so whoever records or asks for attendance there next counts it first, also when the importing process has
died.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attendance.ledger import rows
from attendance.ledger.connection import transaction
from attendance.ledger.port import Setting
from attendance.types import Person

TO_BE_COUNTED = ""


def insert_people(db: sqlite3.Connection, people: Iterable[Person]) -> int:
    """Insert the people whose identity ids are not taken; how many."""
    insert = (
        f"INSERT INTO people ({rows.PERSON}) VALUES ({rows.holes(rows.PERSON)}) ON CONFLICT (identity_id) DO NOTHING"
    )
    inserted = 0
    for person in people:
        if db.execute(insert, rows.person_row(person)).rowcount == 1:
            insert_templates(db, person)
            inserted += 1
    if inserted:
        db.execute("UPDATE counting SET rules = ?", (TO_BE_COUNTED,))
    return inserted


def insert_templates(db: sqlite3.Connection, person: Person) -> None:
    """Insert the templates of a person who has none, those in force first, and the faces that are not theirs."""
    for table, values in (("templates", rows.template_rows(person)), ("rejected", rows.rejected_rows(person))):
        db.executemany(f"INSERT INTO {table} ({rows.TEMPLATE}) VALUES ({rows.holes(rows.TEMPLATE)})", values)


def insert_punches(db: sqlite3.Connection, punches: Sequence[rows.Record]) -> int:
    """Insert the punches whose event ids are not there; how many."""
    columns = f"INSERT INTO punches ({rows.PUNCH}) VALUES ({rows.holes(rows.PUNCH)})"
    done = db.executemany(f"{columns} ON CONFLICT (event_id) DO NOTHING", punches)
    if done.rowcount > 0:
        db.executemany(
            "INSERT INTO counting (site_id, time_zone, rules) VALUES (?, NULL, ?) ON CONFLICT (site_id) "
            "DO UPDATE SET rules = excluded.rules",
            [(site, TO_BE_COUNTED) for site in sorted({punch[rows.SITE_OF_PUNCH] for punch in punches})],
        )
    return max(done.rowcount, 0)


def adopt(db: sqlite3.Connection, path: Path) -> int:
    """Take every punch and attendance row of another ledger file of the same schema, where ``db`` has no punch.

    How many punches. Unlike the others it works outside a transaction, and is one: all of it or nothing.
    """
    db.execute("ATTACH DATABASE ? AS other", (str(path),))
    try:
        # SQLite carries a whole table over without looking into it, indexes and all, only where it need not check the
        # references; these are those of the other file.
        db.execute("PRAGMA foreign_keys = OFF")
        # Not an immediate one, which would lock the other file against its writers too.
        with transaction(db, "BEGIN"):
            return _adopt(db)
    finally:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DETACH DATABASE other")


def _adopt(db: sqlite3.Connection) -> int:
    if db.execute("SELECT EXISTS (SELECT 1 FROM punches) OR EXISTS (SELECT 1 FROM attendance)").fetchone()[0]:
        return 0
    for table in ("punches", "attendance"):
        db.execute(f"INSERT INTO main.{table} SELECT * FROM other.{table}")
    db.execute(
        "INSERT INTO main.counting (site_id, time_zone, rules) SELECT site_id, time_zone, rules FROM other.counting "
        "WHERE true ON CONFLICT (site_id) DO UPDATE SET time_zone = excluded.time_zone, rules = excluded.rules"
    )
    return int(db.execute("SELECT count(*) FROM main.punches").fetchone()[0])


def insert_settings(db: sqlite3.Connection, settings: Iterable[Setting]) -> int:
    """Insert the settings whose keys are not there; how many."""
    insert = "INSERT INTO settings (key, version, value) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
    values = [(each.key, each.version, json.dumps(each.value, sort_keys=True)) for each in settings]
    return max(db.executemany(insert, values).rowcount, 0)


def insert_zones(db: sqlite3.Connection, zones: Mapping[str, str]) -> None:
    """Remember the zones of sites that were never counted."""
    insert = "INSERT INTO counting (site_id, time_zone, rules) VALUES (?, ?, ?) ON CONFLICT (site_id) DO NOTHING"
    db.executemany(insert, [(site, zone, TO_BE_COUNTED) for site, zone in zones.items()])
