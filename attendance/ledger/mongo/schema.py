"""Collections of the MongoDB ledger: their validators and indexes, and the steps from one schema version to the next.

A version that was released never changes; a change is a further entry of `MIGRATIONS`. There is no transaction over
several collections, so every step can be run again: a version is noted once all its steps are done, and a step that was
interrupted is done again by the next program that opens the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel
from pymongo.errors import CollectionInvalid, DuplicateKeyError

from attendance.errors import LedgerError, SchemaError
from attendance.ledger.mongo.client import Collections, Document

_TEXT: Document = {"bsonType": "string"}
_TEXT_OR_NULL: Document = {"bsonType": ["string", "null"]}
_WHOLE: Document = {"bsonType": ["int", "long"]}
_REAL: Document = {"bsonType": "double"}
_REAL_OR_NULL: Document = {"bsonType": ["double", "null"]}
_DATE: Document = {"bsonType": "date"}
_DATE_OR_NULL: Document = {"bsonType": ["date", "null"]}
_DIRECTION: Document = {"enum": ["in", "out", "unspecified"]}


def _object(**properties: Document) -> Document:
    """An object with exactly these fields."""
    return {
        "bsonType": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


_TEMPLATE = _object(
    template_id=_TEXT,
    card_id=_TEXT,
    source_label=_TEXT,
    path=_TEXT,
    sha256=_TEXT,
    batch=_TEXT,
    created_at=_DATE,
    vector={"bsonType": "binData"},
)

_VALIDATORS: dict[str, Document] = {
    "people": _object(
        _id=_TEXT,
        subject_ref=_TEXT,
        version={**_WHOLE, "minimum": 1},
        created_at=_DATE,
        name=_TEXT,
        department=_TEXT,
        site=_TEXT,
        group=_TEXT,
        active_from=_TEXT_OR_NULL,
        active_to=_TEXT_OR_NULL,
        deactivated_at=_DATE_OR_NULL,
        consent=_object(policy=_TEXT, version=_TEXT, at=_DATE, by=_TEXT),
        templates={"bsonType": "array", "items": _TEMPLATE},
    ),
    "punches": _object(
        _id=_TEXT,
        subject_ref=_TEXT,
        journal_id=_TEXT,
        journal_counter=_WHOLE,
        observed_at=_DATE,
        recorded_at=_DATE,
        site=_TEXT,
        camera_id=_TEXT,
        direction=_DIRECTION,
        method=_TEXT,
        similarity=_REAL,
        runner_up_ref=_TEXT_OR_NULL,
        runner_up_similarity=_REAL_OR_NULL,
        margin=_REAL_OR_NULL,
        threshold=_REAL,
        card_id=_TEXT,
        template_revision=_WHOLE,
        track_id=_WHOLE,
        liveness=_REAL_OR_NULL,
        chain_hash=_TEXT_OR_NULL,
    ),
    "attendance": _object(
        _id=_TEXT,
        subject_ref=_TEXT,
        identity_id=_TEXT_OR_NULL,
        site=_TEXT,
        camera_id=_TEXT,
        observed_at=_DATE,
        local_day=_TEXT,
        local_time=_TEXT,
        time_zone=_TEXT,
        direction=_DIRECTION,
        rules=_TEXT,
    ),
    "settings": _object(_id=_TEXT, version={**_WHOLE, "minimum": 1}, value={"bsonType": "object"}),
    **{name: {"bsonType": "object", "properties": {"_id": _TEXT}} for name in ("cameras", "sites", "health")},
    "counting": _object(_id=_TEXT, time_zone=_TEXT_OR_NULL, rules=_TEXT, asked=_WHOLE, counted=_WHOLE),
    "unfinished": _object(_id=_TEXT, kind={"enum": ["punch", "person"]}, of=_TEXT, at=_DATE),
    "schema": {"bsonType": "object", "required": ["migrated_at"], "properties": {"migrated_at": _DATE}},
}
_REGISTRY: dict[str, Document] = {
    "cameras": _object(
        _id=_TEXT, version={**_WHOLE, "minimum": 1}, kiosk=_TEXT, source=_TEXT, site=_TEXT, direction=_DIRECTION
    ),
    "sites": _object(_id=_TEXT, version={**_WHOLE, "minimum": 1}, time_zone=_TEXT),
    "health": _object(
        _id=_TEXT,
        version={**_WHOLE, "minimum": 1},
        run=_TEXT,
        release=_TEXT,
        started_at=_DATE,
        seen_at=_DATE,
        ended_at=_DATE_OR_NULL,
        card_id=_TEXT,
        template_revision=_WHOLE,
        punches=_WHOLE,
        not_recorded=_WHOLE,
        cameras={"bsonType": "array", "items": {"bsonType": "object"}},
    ),
}
_CHAIN = ("site", "subject_ref", "direction")
_ORDER = ("observed_at", "journal_id", "journal_counter", "_id")
_INDEXES: dict[str, dict[str, tuple[str, ...]]] = {
    "people": {"people_by_department": ("department",)},
    "punches": {
        "punches_by_chain": (*_CHAIN, *_ORDER),
        "punches_by_time": _ORDER,
        "punches_by_subject": ("subject_ref", *_ORDER),
        "punches_by_site": ("site", *_ORDER),
        "punches_by_camera": ("camera_id", *_ORDER),
    },
    "attendance": {
        "attendance_by_chain": (*_CHAIN, "observed_at"),
        "attendance_by_time": ("observed_at", "_id"),
        "attendance_by_day": ("local_day", "site"),
        "attendance_by_person": ("identity_id", "observed_at", "_id"),
        "attendance_by_person_and_day": ("identity_id", "local_day"),
        "attendance_by_subject": ("subject_ref", "observed_at"),
        "attendance_by_site": ("site", "observed_at", "_id"),
        "attendance_by_camera": ("camera_id", "observed_at", "_id"),
    },
}

COLLECTIONS = tuple(_VALIDATORS)

Migration = Callable[[Collections], None]


def _version_1(db: Collections) -> None:
    for name, validator in _VALIDATORS.items():
        _make(db, name, {"$jsonSchema": validator})
    for name, indexes in _INDEXES.items():
        db[name].create_indexes([_index(index, fields) for index, fields in indexes.items()])
    db["people"].create_indexes([IndexModel([("subject_ref", 1)], name="people_by_subject", unique=True)])


def _version_2(db: Collections) -> None:
    for name, validator in _REGISTRY.items():
        _make(db, name, {"$jsonSchema": validator})


def _version_3(db: Collections) -> None:
    before = _VALIDATORS["people"]
    faces: Document = {"bsonType": "array", "items": _TEMPLATE}
    _make(db, "people", {"$jsonSchema": {**before, "properties": {**before["properties"], "rejected": faces}}})


def _make(db: Collections, name: str, validator: Document) -> None:
    try:
        db.create_collection(name, validator=validator)
    except CollectionInvalid:
        # It is there: made by another program at this moment, or by a run that was interrupted.
        db.command("collMod", name, validator=validator)


def _index(name: str, fields: Iterable[str]) -> IndexModel:
    return IndexModel([(field, 1) for field in fields], name=name)


MIGRATIONS: Sequence[Migration] = (_version_1, _version_2, _version_3)


def version_of(db: Collections, *, known: int) -> int:
    """The schema version of a database, 0 when it is new; SchemaError when it is above ``known``."""
    latest = db["schema"].find_one({"_id": {"$gte": 1}}, sort=[("_id", -1)])
    version = 0 if latest is None else int(latest["_id"])
    if version > known:
        raise SchemaError(
            f"the ledger must have schema version {known} or lower, got {version}: it was written by a newer release; "
            f"install that release, or restore a backup made by this one"
        )
    return version


def upgrade(db: Collections, *, now: datetime, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring a database to the last version of ``migrations``; the version it had.

    LedgerError when a database without a schema holds another program's collections.
    """
    found = version_of(db, known=len(migrations))
    if found == 0:
        _refuse_another_programs(db)
    for version in range(found + 1, len(migrations) + 1):
        migrations[version - 1](db)
        _note(db, version, now)
    return found


def _note(db: Collections, version: int, now: datetime) -> None:
    document: dict[str, Any] = {"_id": version, "migrated_at": now.astimezone(UTC)}
    try:
        db["schema"].insert_one(document)
    except DuplicateKeyError:
        return


def _refuse_another_programs(db: Collections) -> None:
    foreign = sorted(name for name in db.list_collection_names() if name not in COLLECTIONS and "." not in name)
    if foreign:
        raise LedgerError(
            f"the database {db.name} must be empty or an attendance ledger, got one with the collection {foreign[0]}: "
            f"name another database in ledger.url"
        )
