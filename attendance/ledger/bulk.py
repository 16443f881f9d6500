"""Many records at once into a SQLite ledger: inserted where missing, the attendance counted anew before its next use.

Each function works inside the caller's transaction. A site whose rules are `TO_BE_COUNTED` differs from every rule, so
whoever records or asks for attendance there next counts it first, also when the importing process has died.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from attendance.ledger import rows
from attendance.ledger.port import Setting
from attendance.types import Person, Punch

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
    """Insert the templates of a person who has none."""
    db.executemany(
        f"INSERT INTO templates ({rows.TEMPLATE}) VALUES ({rows.holes(rows.TEMPLATE)})",
        (rows.template_row(person.identity_id, i, template) for i, template in enumerate(person.templates)),
    )


def insert_punches(db: sqlite3.Connection, punches: Sequence[Punch]) -> int:
    """Insert the punches whose event ids are not there; how many."""
    columns = f"INSERT INTO punches ({rows.PUNCH}) VALUES ({rows.holes(rows.PUNCH)})"
    done = db.executemany(f"{columns} ON CONFLICT (event_id) DO NOTHING", map(rows.punch_row, punches))
    if done.rowcount > 0:
        db.executemany(
            "INSERT INTO counting (site_id, time_zone, rules) VALUES (?, NULL, ?) ON CONFLICT (site_id) "
            "DO UPDATE SET rules = excluded.rules",
            [(site, TO_BE_COUNTED) for site in sorted({punch.site for punch in punches})],
        )
    return max(done.rowcount, 0)


def insert_settings(db: sqlite3.Connection, settings: Iterable[Setting]) -> int:
    """Insert the settings whose keys are not there; how many."""
    insert = "INSERT INTO settings (key, version, value) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
    values = [(each.key, each.version, json.dumps(each.value, sort_keys=True)) for each in settings]
    return max(db.executemany(insert, values).rowcount, 0)


def insert_zones(db: sqlite3.Connection, zones: Mapping[str, str]) -> None:
    """Remember the zones of sites that were never counted."""
    insert = "INSERT INTO counting (site_id, time_zone, rules) VALUES (?, ?, ?) ON CONFLICT (site_id) DO NOTHING"
    db.executemany(insert, [(site, zone, TO_BE_COUNTED) for site, zone in zones.items()])
