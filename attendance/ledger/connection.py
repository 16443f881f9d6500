"""Opening a SQLite ledger file, and SQLite's errors in our words."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attendance.errors import LedgerError, LedgerUnavailableError

logger = logging.getLogger(__name__)

_UNAVAILABLE = {
    "SQLITE_BUSY": "another process keeps it locked: end that one or try again",
    "SQLITE_LOCKED": "another process keeps it locked: end that one or try again",
    "SQLITE_FULL": "the disk is full: free space",
    "SQLITE_IOERR": "the disk failed or is full: look at the disk and its free space",
    "SQLITE_READONLY": "the file or its folder is read-only: allow writing to both",
    "SQLITE_CANTOPEN": "the file cannot be opened: look at the path and its permissions",
    "SQLITE_PERM": "access is denied: look at the permissions",
    "SQLITE_NOMEM": "memory is short",
}
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the file system's errors as `LedgerError`, in one line that names the file and the way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_our_words(error, path) from error
    except OSError as error:
        reason = error.strerror if error.strerror else str(error)
        raise LedgerUnavailableError(
            f"the ledger {path} must be a file that can be read and written, got '{reason}': "
            f"look at the path, its permissions and the free space"
        ) from error
    except (ValueError, OverflowError) as error:
        raise LedgerError(f"the ledger {path} got or holds a value that it cannot keep: {error}") from error


def _in_our_words(error: sqlite3.Error, path: Path) -> LedgerError:
    name: str | None = getattr(error, "sqlite_errorname", None)
    code = "" if name is None else "_".join(name.split("_")[:2])
    if code in _UNAVAILABLE:
        return LedgerUnavailableError(f"the ledger {path} is not available, {_UNAVAILABLE[code]} ({error}, {name})")
    if code in _DAMAGED:
        return LedgerError(
            f"the ledger {path} must be an undamaged SQLite file, got '{error}': keep the file, and restore a backup"
        )
    return LedgerError(f"the ledger {path} refused it: {error}")


def prepare_file(path: Path) -> None:
    """Make the file (mode 0600) and its folder (mode 0700) where they are missing; what exists keeps its mode."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise LedgerUnavailableError(
                f"the ledger must be a file, got the folder {path}: give a file in it"
            ) from None


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection in which transactions are begun by hand; threads must take turns."""
    db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db


def set_up(db: sqlite3.Connection, *, busy_timeout_s: float) -> None:
    """Make a connection durable (WAL, synchronous FULL), checked (foreign keys), and forgetful (secure delete)."""
    mode = _switch_to_wal(db, time.monotonic() + busy_timeout_s)
    if mode != "wal":
        raise LedgerUnavailableError(
            f"the ledger must lie on a disk where SQLite can keep a write-ahead log, got journal mode {mode}: "
            f"move it to a local disk"
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    # Up to 64 MiB, taken only by who reads or writes as much: a hundred thousand punches out of order would else be
    # read from the file again for every one of them.
    db.execute("PRAGMA cache_size = -65536")


def _switch_to_wal(db: sqlite3.Connection, deadline: float) -> str:
    # SQLite does not wait its busy timeout when two processes switch a new file at once, so this waits.
    while True:
        try:
            return str(db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


@contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of what is done inside or, on any error, nothing."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
