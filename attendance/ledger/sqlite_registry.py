"""The registry's tables of the SQLite ledger."""

from __future__ import annotations

import json
import sqlite3
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

from attendance.ledger import connection, schema
from attendance.ledger.port import Setting
from attendance.ledger.registry import Register, Registered, Registry, from_json, to_json

_SINCE = 2
_KEYS = {Register.CAMERAS: "camera_id", Register.SITES: "site_id", Register.HEALTH: "kiosk_id"}


class SqliteRegistry(Registry):
    """The registry's methods, on the transactions of the ledger that they are mixed into."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[sqlite3.Connection]: ...

    @abstractmethod
    def _writing(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def registered(self, register: Register) -> list[Registered]:
        with self._reading() as db:
            return read(db, register)

    def put_registered(self, register: Register, document: Registered) -> bool:
        with self._writing() as db:
            if document.version == 1:
                return _insert(db, register, [document]) == 1
            update = f"UPDATE {register} SET version = ?, value = ? WHERE {_KEYS[register]} = ? AND version = ?"
            value = to_json(document.value)
            done = db.execute(update, (document.version, value, document.key, document.version - 1))
            return done.rowcount == 1

    def remove_registered(self, register: Register, key: str, *, version: int) -> bool:
        with self._writing() as db:
            delete = f"DELETE FROM {register} WHERE {_KEYS[register]} = ? AND version = ?"
            return db.execute(delete, (key, version)).rowcount == 1

    def import_registered(self, register: Register, documents: Sequence[Registered]) -> int:
        with self._writing() as db:
            return _insert(db, register, documents)


def read(db: sqlite3.Connection, register: Register) -> list[Registered]:
    """Every document of a register, by key."""
    found = db.execute(f"SELECT {_KEYS[register]}, version, value FROM {register} ORDER BY 1")
    return [Registered(key, version, from_json(value)) for key, version, value in found]


def peek(
    path: Path, *, keys: Sequence[str], timeout_s: float
) -> tuple[dict[str, Setting], list[Registered], list[Registered]]:
    """The settings of these keys, cameras and sites of a file, which is not changed; nothing from an older schema."""
    with connection.translated(path), closing(connection.connect(path, busy_timeout_s=timeout_s)) as db:
        if schema.version_of(db, known=len(schema.MIGRATIONS)) < _SINCE:
            return {}, [], []
        found = db.execute("SELECT key, version, value FROM settings").fetchall()
        settings = {key: Setting(key, version, json.loads(value)) for key, version, value in found if key in keys}
        return settings, read(db, Register.CAMERAS), read(db, Register.SITES)


def _insert(db: sqlite3.Connection, register: Register, documents: Sequence[Registered]) -> int:
    key = _KEYS[register]
    insert = f"INSERT INTO {register} ({key}, version, value) VALUES (?, ?, ?) ON CONFLICT ({key}) DO NOTHING"
    values = [(each.key, each.version, to_json(each.value)) for each in documents]
    return max(db.executemany(insert, values).rowcount, 0)
