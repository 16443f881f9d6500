"""Tables of the SQLite ledger, and the steps from one schema version to the next.

A version that was released never changes; a change is a further entry of `MIGRATIONS`. All steps to the present version
run in one transaction, after a copy of the older file was put beside it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from attendance.errors import LedgerError, SchemaError
from attendance.ledger.instants import to_text

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x41545444  # "ATTD": tells file(1), and us, whose database this is

_VERSION_1 = (
    "CREATE TABLE schema (version INTEGER PRIMARY KEY, migrated_at TEXT NOT NULL)",
    """CREATE TABLE people (
        identity_id TEXT PRIMARY KEY NOT NULL,
        subject_ref TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL CHECK (version >= 1),
        created_at TEXT NOT NULL,
        name TEXT NOT NULL,
        department TEXT NOT NULL,
        site TEXT NOT NULL,
        group_name TEXT NOT NULL,
        active_from TEXT,
        active_to TEXT,
        deactivated_at TEXT,
        consent_policy TEXT NOT NULL,
        consent_version TEXT NOT NULL,
        consent_at TEXT NOT NULL,
        consent_by TEXT NOT NULL
    )""",
    "CREATE INDEX people_by_department ON people (department)",
    """CREATE TABLE templates (
        identity_id TEXT NOT NULL REFERENCES people (identity_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        template_id TEXT NOT NULL,
        card_id TEXT NOT NULL,
        source_label TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        batch TEXT NOT NULL,
        created_at TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        vector BLOB NOT NULL CHECK (length(vector) = 4 * dimension),
        PRIMARY KEY (identity_id, position),
        UNIQUE (identity_id, template_id)
    )""",
    """CREATE TABLE punches (
        event_id TEXT PRIMARY KEY NOT NULL,
        subject_ref TEXT NOT NULL,
        journal_id TEXT NOT NULL,
        journal_counter INTEGER NOT NULL,
        observed_at TEXT NOT NULL,
        recorded_at TEXT NOT NULL,
        site TEXT NOT NULL,
        camera_id TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('in', 'out', 'unspecified')),
        method TEXT NOT NULL,
        similarity REAL NOT NULL,
        runner_up_ref TEXT,
        runner_up_similarity REAL,
        margin REAL,
        threshold REAL NOT NULL,
        card_id TEXT NOT NULL,
        template_revision INTEGER NOT NULL,
        track_id INTEGER NOT NULL,
        liveness REAL,
        chain_hash TEXT
    )""",
    """CREATE INDEX punches_by_chain ON punches
        (subject_ref, site, direction, observed_at, journal_id, journal_counter, event_id)""",
    "CREATE INDEX punches_by_time ON punches (observed_at, journal_id, journal_counter, event_id)",
    "CREATE INDEX punches_by_site ON punches (site, observed_at)",
    "CREATE INDEX punches_by_camera ON punches (camera_id, observed_at)",
    """CREATE TABLE attendance (
        event_id TEXT PRIMARY KEY NOT NULL REFERENCES punches (event_id),
        subject_ref TEXT NOT NULL,
        identity_id TEXT,
        site TEXT NOT NULL,
        camera_id TEXT NOT NULL,
        observed_at TEXT NOT NULL,
        local_day TEXT NOT NULL,
        local_time TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('in', 'out', 'unspecified')),
        rules TEXT NOT NULL
    )""",
    "CREATE INDEX attendance_by_chain ON attendance (subject_ref, site, direction, observed_at)",
    "CREATE INDEX attendance_by_time ON attendance (observed_at, event_id)",
    "CREATE INDEX attendance_by_day ON attendance (local_day, site)",
    "CREATE INDEX attendance_by_person ON attendance (identity_id, local_day)",
    "CREATE INDEX attendance_by_site ON attendance (site, observed_at)",
    "CREATE INDEX attendance_by_camera ON attendance (camera_id, observed_at)",
    "CREATE TABLE sites (site_id TEXT PRIMARY KEY NOT NULL, time_zone TEXT, rules TEXT NOT NULL)",
    "CREATE TABLE settings (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

# What each site was counted by leaves its name to the registry, whose tables are named as MongoDB's collections.
_VERSION_2 = (
    "ALTER TABLE sites RENAME TO counting",
    *(
        f"""CREATE TABLE {register} (
        {key} TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        value TEXT NOT NULL
    )"""
        for register, key in (("cameras", "camera_id"), ("sites", "site_id"), ("health", "kiosk_id"))
    ),
)

# The templates of two models, or of two keys, made of one photo stand side by side under the photo's template id.
_VERSION_3 = (
    """CREATE TABLE templates_of_spaces (
        identity_id TEXT NOT NULL REFERENCES people (identity_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        template_id TEXT NOT NULL,
        card_id TEXT NOT NULL,
        source_label TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        batch TEXT NOT NULL,
        created_at TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        vector BLOB NOT NULL CHECK (length(vector) = 4 * dimension),
        PRIMARY KEY (identity_id, position),
        UNIQUE (identity_id, card_id, template_id)
    )""",
    """INSERT INTO templates_of_spaces
        SELECT identity_id, position, template_id, card_id, source_label, path, sha256, batch, created_at, dimension,
            vector FROM templates""",
    "DROP TABLE templates",
    "ALTER TABLE templates_of_spaces RENAME TO templates",
)

# Faces of which was said that they are not this person's.
_VERSION_4 = (
    """CREATE TABLE rejected (
        identity_id TEXT NOT NULL REFERENCES people (identity_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        template_id TEXT NOT NULL,
        card_id TEXT NOT NULL,
        source_label TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        batch TEXT NOT NULL,
        created_at TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        vector BLOB NOT NULL CHECK (length(vector) = 4 * dimension),
        PRIMARY KEY (identity_id, position),
        UNIQUE (identity_id, card_id, template_id)
    )""",
)

Migrations = Sequence[Sequence[str]]
MIGRATIONS: Migrations = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)


def version_of(db: sqlite3.Connection, *, known: int) -> int:
    """The schema version of an open file, 0 when it is new.

    LedgerError when the file belongs to another program, SchemaError when its version is above ``known``.
    """
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID:
        if owner == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            return 0
        raise LedgerError("the file must be an attendance ledger, got another program's database: give another path")
    version = int(db.execute("SELECT max(version) FROM schema").fetchone()[0])
    if version > known:
        raise SchemaError(
            f"the ledger must have schema version {known} or lower, got {version}: it was written by a newer release; "
            f"install that release, or restore a backup made by this one"
        )
    return version


def upgrade(
    db: sqlite3.Connection,
    path: Path,
    *,
    now: datetime,
    migrations: Migrations = MIGRATIONS,
    keep_copy: bool = True,
) -> int:
    """Bring an open ledger file to the last version of ``migrations``, all or nothing; the version it had.

    An older ledger is copied to ``<name>.before-v<N>`` (mode 0600) first, unless it is a copy itself (``keep_copy``
    False); a new file needs none.
    """
    target = len(migrations)
    found = version_of(db, known=target)
    if found == target:
        return found
    db.execute("BEGIN IMMEDIATE")
    try:
        found = version_of(db, known=target)
        if keep_copy and 0 < found < target:
            _keep_copy(path, version=target)
        for version in range(found + 1, target + 1):
            for statement in migrations[version - 1]:
                db.execute(statement)
            db.execute("INSERT INTO schema (version, migrated_at) VALUES (?, ?)", (version, to_text(now)))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return found


def _keep_copy(path: Path, *, version: int) -> None:
    copy = path.with_name(f"{path.name}.before-v{version}")
    unfinished = path.with_name(f"{copy.name}.part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
        source.backup(target)
    unfinished.replace(copy)
    logger.warning(
        "the ledger moves to schema version %d; the older one is kept as %s until you delete it", version, copy
    )
