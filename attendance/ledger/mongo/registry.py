"""The registry's collections on a MongoDB server: one flat document each, moments as dates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from attendance.ledger.mongo import client, documents
from attendance.ledger.mongo.client import Collections, Document
from attendance.ledger.port import Setting
from attendance.ledger.registry import Register, Registered, Registry

_DUPLICATE = 11000


class MongoRegistry(Registry):
    """The registry's methods, in the database of the ledger that they are mixed into."""

    _db: Collections

    @abstractmethod
    def _talking(self) -> AbstractContextManager[None]: ...

    def registered(self, register: Register) -> list[Registered]:
        with self._talking():
            return read(self._db, register)

    def find_registered(self, register: Register, key: str) -> Registered | None:
        with self._talking():
            found = self._db[register].find_one({"_id": key})
            return None if found is None else _registered(found)

    def put_registered(self, register: Register, document: Registered) -> bool:
        stored = _document(document)
        with self._talking():
            if document.version != 1:
                read_before = {"_id": document.key, "version": document.version - 1}
                return self._db[register].replace_one(read_before, stored).matched_count == 1
            try:
                self._db[register].insert_one(stored)
            except DuplicateKeyError:
                return False
            return True

    def remove_registered(self, register: Register, key: str, *, version: int) -> bool:
        with self._talking():
            return self._db[register].delete_one({"_id": key, "version": version}).deleted_count == 1

    def import_registered(self, register: Register, documents: Sequence[Registered]) -> int:
        with self._talking():
            if not documents:
                return 0
            try:
                found = self._db[register].insert_many(map(_document, documents), ordered=False)
                return len(found.inserted_ids)
            except BulkWriteError as error:
                if any(fault["code"] != _DUPLICATE for fault in error.details["writeErrors"]):
                    raise
                return int(error.details["nInserted"])


def read(db: Collections, register: Register) -> list[Registered]:
    """Every document of a register, by key."""
    return [_registered(each) for each in db[register].find().sort("_id", 1)]


def peek(
    url: str, *, keys: Sequence[str], timeout_s: float
) -> tuple[dict[str, Setting], list[Registered], list[Registered]]:
    """The settings of these keys, cameras and sites of a database, which is not changed."""
    with client.translated(url), client.connect(url, timeout_s=timeout_s) as server:
        db = server.get_default_database(client.DEFAULT_DATABASE)
        found = list(db["settings"].find({"_id": {"$in": list(keys)}}))
        settings = {each["_id"]: Setting(each["_id"], each["version"], each["value"]) for each in found}
        return settings, read(db, Register.CAMERAS), read(db, Register.SITES)


def _document(document: Registered) -> Document:
    return {"_id": document.key, "version": document.version, **{k: _stored(v) for k, v in document.value.items()}}


def _registered(found: Document) -> Registered:
    value = {key: _read(each) for key, each in found.items() if key not in ("_id", "version")}
    return Registered(found["_id"], found["version"], value)


def _stored(value: Any) -> Any:
    if isinstance(value, datetime):
        return documents.moment(value)
    if isinstance(value, dict):
        return {key: _stored(each) for key, each in value.items()}
    return [_stored(each) for each in value] if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    if isinstance(value, datetime):
        return documents.utc(value)
    if isinstance(value, dict):
        return {key: _read(each) for key, each in value.items()}
    return [_read(each) for each in value] if isinstance(value, list) else value
