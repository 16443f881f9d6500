"""The ledger in one SQLite file: write-ahead log, every commit on disk before it is acknowledged.

One connection writes and one reads, each under its own lock, so a long read does not hold up a punch; processes take
turns through SQLite's lock. Open it after a fork, never before.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attendance.errors import LedgerError
from attendance.ledger import bulk, connection, rows, schema
from attendance.ledger.counting import chain_of, changes, counted_in_order, order_of
from attendance.ledger.digests import Digest, digest_of
from attendance.ledger.instants import from_text, to_text
from attendance.ledger.port import (
    EVERYTHING,
    TEMPLATES,
    Kind,
    Ledger,
    PersonVersion,
    PunchQuery,
    Recorded,
    Setting,
    revision_of,
)
from attendance.ledger.rows import Record, Seen
from attendance.ledger.rules import Rules, SiteRules, attendance_row
from attendance.ledger.spaces import shelved_apart
from attendance.ledger.sqlite_registry import SqliteRegistry
from attendance.types import AttendanceRow, Person, Punch, Template

logger = logging.getLogger(__name__)

_ORDER = "observed_at, journal_id, journal_counter, event_id"
_LAST_COUNTED = """SELECT a.observed_at FROM attendance AS a JOIN punches AS p USING (event_id)
    WHERE a.subject_ref = ? AND a.site = ? AND a.direction = ? AND a.observed_at <= ?
    AND (p.observed_at, p.journal_id, p.journal_counter, p.event_id) < (?, ?, ?, ?)
    ORDER BY a.observed_at DESC LIMIT 1"""
_LATER = f"""SELECT {rows.SEEN}, EXISTS (SELECT 1 FROM attendance AS a WHERE a.event_id = punches.event_id) AS counted
    FROM punches WHERE subject_ref = ? AND site = ? AND direction = ? AND ({_ORDER}) > (?, ?, ?, ?) ORDER BY {_ORDER}"""
_IDS_PER_QUERY = 500


class SqliteLedger(SqliteRegistry, Ledger):
    """A `Ledger` in the file ``path``, made (with its folder) where missing.

    ``cooldown_s``: seconds in which a person counts once per site and direction. ``time_zones``: site id to the zone
    that cuts its days; for other sites the zone remembered in the file is used, or else UTC. ``busy_timeout_s``: how
    long a write waits for another process. Raises `LedgerUnavailableError`, `SchemaError` or `LedgerError`.
    """

    def __init__(
        self, path: Path, *, cooldown_s: float, time_zones: Mapping[str, ZoneInfo], busy_timeout_s: float = 10.0
    ) -> None:
        self.path = path
        self._rules = Rules(cooldown_s, time_zones)
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        with connection.translated(path):
            connection.prepare_file(path)
            self._writer = self._connect()
            try:
                schema.upgrade(self._writer, path, now=datetime.now(UTC))
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        db = connection.connect(self.path, busy_timeout_s=self._busy_timeout_s)
        try:
            schema.version_of(db, known=len(schema.MIGRATIONS))
            connection.set_up(db, busy_timeout_s=self._busy_timeout_s)
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of it or, on any error, nothing."""
        with self._write_lock, connection.translated(self.path), connection.transaction(self._writer):
            yield self._writer

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One read transaction: everything read in it is of one moment."""
        with self._read_lock, connection.translated(self.path), connection.transaction(self._reader, "BEGIN"):
            yield self._reader

    def insert_person(self, person: Person) -> bool:
        columns = f"INSERT INTO people ({rows.PERSON}) VALUES ({rows.holes(rows.PERSON)})"
        with self._writing() as db:
            done = db.execute(f"{columns} ON CONFLICT (identity_id) DO NOTHING", rows.person_row(person))
            if done.rowcount == 0:
                return False
            bulk.insert_templates(db, person)
            _name_attendance(db, person)
            return True

    def replace_person(self, person: Person) -> bool:
        columns = [name.strip() for name in rows.PERSON.split(",")]
        change = ", ".join(f"{name} = ?" for name in columns[1:])
        where = (person.identity_id, person.version - 1)
        with self._writing() as db:
            done = db.execute(
                f"UPDATE people SET {change} WHERE identity_id = ? AND version = ?", rows.person_row(person)[1:] + where
            )
            if done.rowcount == 0:
                return False
            for table in ("templates", "rejected"):
                db.execute(f"DELETE FROM {table} WHERE identity_id = ?", (person.identity_id,))
            bulk.insert_templates(db, person)
            _name_attendance(db, person)
            return True

    def remove_person(self, identity_id: str, *, version: int) -> bool:
        with self._writing() as db:
            done = db.execute("DELETE FROM people WHERE identity_id = ? AND version = ?", (identity_id, version))
            if done.rowcount == 0:
                return False
            db.execute("UPDATE attendance SET identity_id = NULL WHERE identity_id = ?", (identity_id,))
        self._empty_log()
        return True

    def _empty_log(self) -> None:
        # The main file forgets by secure_delete; the write-ahead log still holds older pages until it is emptied.
        with self._write_lock:
            try:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                logger.warning("a person was removed, but the write-ahead log could not be emptied yet: %s", error)

    def person(self, identity_id: str) -> Person | None:
        found = self.people([identity_id])
        return found[0] if found else None

    def people(self, identity_ids: Sequence[str] | None = None) -> list[Person]:
        with self._reading() as db:
            if identity_ids is None:
                return _read_people(db, "", ())
            wanted = sorted(set(identity_ids))
            parts = [wanted[i : i + _IDS_PER_QUERY] for i in range(0, len(wanted), _IDS_PER_QUERY)]
            return [
                person
                for part in parts
                for person in _read_people(db, f"WHERE identity_id IN ({', '.join('?' * len(part))})", part)
            ]

    def person_versions(self) -> dict[str, PersonVersion]:
        with self._reading() as db:
            found = db.execute("SELECT identity_id, subject_ref, version FROM people ORDER BY identity_id")
            return {row["identity_id"]: PersonVersion(row["subject_ref"], row["version"]) for row in found}

    def setting(self, key: str) -> Setting | None:
        with self._reading() as db:
            return _setting(db, key)

    def put_setting(self, setting: Setting) -> bool:
        with self._writing() as db:
            value = json.dumps(setting.value, sort_keys=True)
            if setting.version == 1:
                insert = "INSERT INTO settings (key, version, value) VALUES (?, 1, ?) ON CONFLICT (key) DO NOTHING"
                return db.execute(insert, (setting.key, value)).rowcount == 1
            update = "UPDATE settings SET version = ?, value = ? WHERE key = ? AND version = ?"
            done = db.execute(update, (setting.version, value, setting.key, setting.version - 1))
            return done.rowcount == 1

    def record(self, punch: Punch) -> Recorded:
        insert = (
            f"INSERT INTO punches ({rows.PUNCH}) VALUES ({rows.holes(rows.PUNCH)}) ON CONFLICT (event_id) DO NOTHING"
        )
        with self._writing() as db:
            inserted = db.execute(insert, rows.punch_row(punch)).rowcount == 1
            counted_anew = self._bring_to_rules(db, punch.site)
            if inserted and not counted_anew:
                self._count_around(db, punch)
            counts = db.execute("SELECT 1 FROM attendance WHERE event_id = ?", (punch.event_id,)).fetchone()
            return Recorded(inserted=inserted, counted=counts is not None)

    def _count_around(self, db: sqlite3.Connection, punch: Punch) -> None:
        """Write what a new punch changes in the attendance of its chain."""
        row = db.execute(f"SELECT {rows.SEEN} FROM punches WHERE event_id = ?", (punch.event_id,)).fetchone()
        gained, lost = _changes(db, rows.seen(row), self._rules.cooldown_s)
        db.executemany("DELETE FROM attendance WHERE event_id = ?", [(seen.event_id,) for seen in lost])
        _insert_attendance(db, gained, self._rules_in(db, punch.site))

    def _rules_in(self, db: sqlite3.Connection, site: str) -> SiteRules:
        row = db.execute("SELECT time_zone FROM counting WHERE site_id = ?", (site,)).fetchone()
        return self._rules.of(site, remembered=None if row is None else row["time_zone"])

    def _bring_to_rules(self, db: sqlite3.Connection, site: str) -> bool:
        """Count a site anew when its rows come from other rules than ours; whether that was done."""
        row = db.execute("SELECT rules FROM counting WHERE site_id = ?", (site,)).fetchone()
        rules = self._rules_in(db, site)
        if row is not None and row["rules"] == rules.text:
            return False
        if row is not None and row["rules"] != bulk.TO_BE_COUNTED:
            logger.warning("site %s was counted by '%s' and is counted anew by '%s'", site, row["rules"], rules.text)
        self._count_site(db, site, rules)
        return True

    def _count_site(self, db: sqlite3.Connection, site: str, rules: SiteRules) -> None:
        db.execute("DELETE FROM attendance WHERE site = ?", (site,))
        chains = groupby(_read_site(db, site), key=chain_of)
        counts = [seen for _, chain in chains for seen in counted_in_order(chain, self._rules.cooldown_s)]
        counts.sort(key=order_of)
        _insert_attendance(db, counts, rules)
        db.execute(
            "INSERT INTO counting (site_id, time_zone, rules) VALUES (?, ?, ?) ON CONFLICT (site_id) "
            "DO UPDATE SET time_zone = excluded.time_zone, rules = excluded.rules",
            (site, rules.time_zone, rules.text),
        )

    def punches(self, query: PunchQuery = EVERYTHING) -> list[Punch]:
        if query.first_day is not None or query.last_day is not None:
            raise LedgerError("raw punches have no local day: ask for them by since and until, or ask for attendance")
        where, values = _conditions(query, "subject_ref = (SELECT subject_ref FROM people WHERE identity_id = ?)")
        with self._reading() as db:
            found = db.execute(f"SELECT {rows.PUNCH} FROM punches WHERE {where} ORDER BY {_ORDER}", values)
            return [rows.punch(row) for row in found]

    def attendance(self, query: PunchQuery = EVERYTHING) -> list[AttendanceRow]:
        self.bring_to_rules()
        where, values = _conditions(query, "identity_id = ?")
        with self._reading() as db:
            found = db.execute(
                f"SELECT {rows.ATTENDANCE} FROM attendance WHERE {where} ORDER BY observed_at, event_id", values
            )
            return [rows.attendance(row) for row in found]

    def bring_to_rules(self) -> None:
        with self._reading() as db:
            sites = db.execute("SELECT site_id, time_zone, rules FROM counting ORDER BY site_id").fetchall()
        old = [
            s["site_id"] for s in sites if self._rules.of(s["site_id"], remembered=s["time_zone"]).text != s["rules"]
        ]
        for site in old:
            with self._writing() as db:
                self._bring_to_rules(db, site)

    def rebuild_attendance(self) -> int:
        with self._writing() as db:
            db.execute("DELETE FROM attendance")
            for (site,) in db.execute("SELECT DISTINCT site FROM punches ORDER BY site").fetchall():
                self._count_site(db, site, self._rules_in(db, site))
            return int(db.execute("SELECT count(*) FROM attendance").fetchone()[0])

    def settings(self) -> list[Setting]:
        with self._reading() as db:
            found = db.execute("SELECT key, version, value FROM settings ORDER BY key")
            return [Setting(row["key"], row["version"], json.loads(row["value"])) for row in found]

    def zones(self) -> dict[str, str]:
        with self._reading() as db:
            found = db.execute("SELECT site_id, time_zone FROM counting WHERE time_zone IS NOT NULL ORDER BY site_id")
            return {row["site_id"]: row["time_zone"] for row in found}

    def import_people(self, people: Sequence[Person]) -> int:
        with self._writing() as db:
            return bulk.insert_people(db, people)

    def import_records(self, punches: Sequence[Record]) -> int:
        with self._writing() as db:
            return bulk.insert_punches(db, punches)

    def adopt(self, source: Ledger) -> int:
        if not isinstance(source, SqliteLedger):
            return 0
        with self._write_lock, connection.translated(self.path):
            return bulk.adopt(self._writer, source.path)

    def import_settings(self, settings: Sequence[Setting]) -> int:
        with self._writing() as db:
            return bulk.insert_settings(db, settings)

    def import_zones(self, zones: Mapping[str, str]) -> None:
        with self._writing() as db:
            bulk.insert_zones(db, zones)

    def moments(self, every: int) -> list[datetime]:
        with self._reading() as db:
            found = db.execute("SELECT observed_at FROM punches ORDER BY observed_at")
            return [from_text(moment) for (moment,) in islice(found, every, None, every)]

    def records(self, of: Kind, query: PunchQuery = EVERYTHING) -> list[Record]:
        with self._reading_records(of, query) as found:
            return found.fetchall()

    def digest(self, of: Kind, query: PunchQuery = EVERYTHING) -> Digest:
        with self._reading_records(of, query) as found:
            return digest_of(found)

    @contextmanager
    def _reading_records(self, of: Kind, query: PunchQuery) -> Iterator[sqlite3.Cursor]:
        columns, order = (rows.PUNCH, _ORDER) if of == "punches" else (rows.ATTENDANCE, "observed_at, event_id")
        if of == "attendance":
            self.bring_to_rules()
        where, values = _conditions(PunchQuery(since=query.since, until=query.until), "")
        with self._reading() as db, closing(db.cursor()) as found:
            found.row_factory = None
            yield found.execute(f"SELECT {columns} FROM {of} WHERE {where} ORDER BY {order}", values)

    def close(self) -> None:
        with self._write_lock, self._read_lock, connection.translated(self.path):
            self._reader.close()
            self._writer.close()


def _name_attendance(db: sqlite3.Connection, person: Person) -> None:
    """Rows carry the identity id of whoever has their subject reference now."""
    values = (person.identity_id, person.subject_ref)
    db.execute("UPDATE attendance SET identity_id = NULL WHERE identity_id = ? AND subject_ref <> ?", values)
    db.execute("UPDATE attendance SET identity_id = ?1 WHERE subject_ref = ?2 AND identity_id IS NOT ?1", values)


def _read_people(db: sqlite3.Connection, where: str, values: Sequence[str]) -> list[Person]:
    templates, rejected = (_read_templates(db, table, where, values) for table in ("templates", "rejected"))
    found = db.execute(f"SELECT {rows.PERSON} FROM people {where} ORDER BY identity_id", values)
    space = revision_of(_setting(db, TEMPLATES)).space
    return [
        shelved_apart(rows.person(row, templates.get(row[0], []), rejected.get(row[0], [])), space) for row in found
    ]


def _read_templates(db: sqlite3.Connection, table: str, where: str, values: Sequence[str]) -> dict[str, list[Template]]:
    """By identity id, from one of the two tables of templates."""
    templates: dict[str, list[Template]] = {}
    for row in db.execute(f"SELECT {rows.TEMPLATE} FROM {table} {where} ORDER BY identity_id, position", values):
        templates.setdefault(row["identity_id"], []).append(rows.template(row))
    return templates


def _setting(db: sqlite3.Connection, key: str) -> Setting | None:
    row = db.execute("SELECT version, value FROM settings WHERE key = ?", (key,)).fetchone()
    return None if row is None else Setting(key, row["version"], json.loads(row["value"]))


def _changes(db: sqlite3.Connection, seen: Seen, cooldown_s: float) -> tuple[list[Seen], list[Seen]]:
    place = (to_text(seen.observed_at), seen.journal_id, seen.journal_counter, seen.event_id)
    last = db.execute(_LAST_COUNTED, (*chain_of(seen), place[0], *place)).fetchone()
    later = db.execute(_LATER, (*chain_of(seen), *place))
    found = changes(
        seen,
        last_counted_at=None if last is None else from_text(last["observed_at"]),
        later=((rows.seen(row), bool(row["counted"])) for row in later),
        cooldown_s=cooldown_s,
    )
    later.close()
    return found


def _read_site(db: sqlite3.Connection, site: str) -> Iterator[Seen]:
    found = db.execute(
        f"SELECT {rows.SEEN} FROM punches WHERE site = ? ORDER BY subject_ref, direction, {_ORDER}", (site,)
    )
    return map(rows.seen, found)


def _insert_attendance(db: sqlite3.Connection, counts: Iterable[Seen], rules: SiteRules) -> None:
    insert = f"INSERT INTO attendance ({rows.ATTENDANCE}) VALUES ({rows.holes(rows.ATTENDANCE)})"
    names: dict[str, str | None] = {}

    def columns(seen: Seen) -> tuple[Any, ...]:
        if seen.subject_ref not in names:
            row = db.execute("SELECT identity_id FROM people WHERE subject_ref = ?", (seen.subject_ref,)).fetchone()
            names[seen.subject_ref] = None if row is None else row["identity_id"]
        name = names[seen.subject_ref]
        return rows.attendance_columns(attendance_row(seen, rules, camera_id=seen.camera_id, identity_id=name), rules)

    db.executemany(insert, map(columns, counts))


def _conditions(query: PunchQuery, person: str) -> tuple[str, list[str]]:
    """The WHERE clause of a query and its values; ``person`` is how this table finds an identity id."""
    wanted = (
        ("observed_at >= ?", None if query.since is None else to_text(query.since)),
        ("observed_at < ?", None if query.until is None else to_text(query.until)),
        ("local_day >= ?", None if query.first_day is None else query.first_day.isoformat()),
        ("local_day <= ?", None if query.last_day is None else query.last_day.isoformat()),
        (person, query.identity_id),
        ("site = ?", query.site),
        ("camera_id = ?", query.camera_id),
    )
    used = [(clause, value) for clause, value in wanted if value is not None]
    return " AND ".join(["1", *(clause for clause, _ in used)]), [value for _, value in used]
