"""Values to MongoDB documents and back. Moments are BSON dates, days are text as on a calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from operator import itemgetter

import numpy as np
from bson.binary import VECTOR_SUBTYPE, Binary, BinaryVectorDtype

from attendance import workday
from attendance.errors import LedgerError
from attendance.ledger import rows
from attendance.ledger.instants import from_text, to_text
from attendance.ledger.mongo.client import Document
from attendance.ledger.rows import Seen
from attendance.ledger.rules import SiteRules, attendance_row
from attendance.types import AttendanceRow, Consent, Direction, Float32, Person, Punch, Template, require_utc

SEEN = dict.fromkeys([name for name in Seen._fields if name != "event_id"], 1)
ORDER = [("observed_at", 1), ("journal_id", 1), ("journal_counter", 1), ("_id", 1)]
_PUNCH = rows.PUNCH.split(", ")
_ATTENDANCE = rows.ATTENDANCE.split(", ")
PUNCH_ORDER = itemgetter(*(_PUNCH.index(name) for name in ("observed_at", "journal_id", "journal_counter", "event_id")))
ATTENDANCE_ORDER = itemgetter(*(_ATTENDANCE.index(name) for name in ("observed_at", "event_id")))
_FLOAT32 = BinaryVectorDtype.FLOAT32.value + b"\x00"


def moment(value: datetime) -> datetime:
    """An aware UTC moment cut to the milliseconds that BSON keeps."""
    require_utc("moment", value)
    return value - timedelta(microseconds=value.microsecond % 1000)


def person_document(person: Person) -> Document:
    """A person with templates, those in force first; ``_id`` the identity id. LedgerError for two of one id."""
    templates = (*person.templates, *person.shelved)
    for some in (templates, person.rejected):
        ids = [(template.card_id, template.template_id) for template in some]
        if len(set(ids)) < len(ids):
            raise LedgerError(f"the templates of a person must have ids of their own, got one twice among {len(ids)}")
    return {
        "_id": person.identity_id,
        "subject_ref": person.subject_ref,
        "version": person.version,
        "created_at": moment(person.created_at),
        "name": person.name,
        "department": person.department,
        "site": person.site,
        "group": person.group,
        "active_from": None if person.active_from is None else person.active_from.isoformat(),
        "active_to": None if person.active_to is None else person.active_to.isoformat(),
        "deactivated_at": None if person.deactivated_at is None else moment(person.deactivated_at),
        "consent": {
            "policy": person.consent.policy,
            "version": person.consent.version,
            "at": moment(person.consent.at),
            "by": person.consent.by,
        },
        "templates": [_template_document(template) for template in templates],
        "rejected": [_template_document(template) for template in person.rejected],
    }


def person(document: Document) -> Person:
    """The person of a document that `person_document` made, with all templates as if they were in force."""
    consent = document["consent"]
    return Person(
        identity_id=document["_id"],
        subject_ref=document["subject_ref"],
        version=document["version"],
        created_at=utc(document["created_at"]),
        consent=Consent(policy=consent["policy"], version=consent["version"], at=utc(consent["at"]), by=consent["by"]),
        name=document["name"],
        department=document["department"],
        site=document["site"],
        group=document["group"],
        active_from=_day(document["active_from"]),
        active_to=_day(document["active_to"]),
        deactivated_at=None if document["deactivated_at"] is None else utc(document["deactivated_at"]),
        templates=tuple(_template(each) for each in document["templates"]),
        # Documents of schema versions 1 and 2 have none.
        rejected=tuple(_template(each) for each in document.get("rejected", ())),
    )


def _template_document(template: Template) -> Document:
    return {
        "template_id": template.template_id,
        "card_id": template.card_id,
        "source_label": template.source_label,
        "path": template.path,
        "sha256": template.sha256,
        "batch": template.batch,
        "created_at": moment(template.created_at),
        "vector": Binary(_FLOAT32 + template.vector.astype("<f4").tobytes(), VECTOR_SUBTYPE),
    }


def _template(document: Document) -> Template:
    return Template(
        template_id=document["template_id"],
        vector=_vector(document["vector"]),
        card_id=document["card_id"],
        source_label=document["source_label"],
        path=document["path"],
        sha256=document["sha256"],
        batch=document["batch"],
        created_at=utc(document["created_at"]),
    )


def _vector(binary: Binary) -> Float32:
    if binary.subtype != VECTOR_SUBTYPE or binary[:2] != _FLOAT32:
        raise LedgerError(f"a vector must be a BSON float32 vector, got subtype {binary.subtype}: restore a backup")
    return np.frombuffer(binary, dtype="<f4", offset=2).astype(np.float32)


def punch_document(punch: Punch) -> Document:
    """A punch, ``_id`` its event id."""
    return {
        "_id": punch.event_id,
        "subject_ref": punch.subject_ref,
        "journal_id": punch.journal_id,
        "journal_counter": punch.journal_counter,
        "observed_at": moment(punch.observed_at),
        "recorded_at": moment(punch.recorded_at),
        "site": punch.site,
        "camera_id": punch.camera_id,
        "direction": punch.direction.value,
        "method": punch.method,
        "similarity": float(punch.similarity),
        "runner_up_ref": punch.runner_up_ref,
        "runner_up_similarity": _real(punch.runner_up_similarity),
        "margin": _real(punch.margin),
        "threshold": float(punch.threshold),
        "card_id": punch.card_id,
        "template_revision": punch.template_revision,
        "track_id": punch.track_id,
        "liveness": _real(punch.liveness),
        "chain_hash": punch.chain_hash,
    }


def punch(document: Document) -> Punch:
    """The punch of a document that `punch_document` made."""
    return Punch(
        event_id=document["_id"],
        subject_ref=document["subject_ref"],
        journal_id=document["journal_id"],
        journal_counter=document["journal_counter"],
        observed_at=utc(document["observed_at"]),
        recorded_at=utc(document["recorded_at"]),
        site=document["site"],
        camera_id=document["camera_id"],
        direction=Direction(document["direction"]),
        method=document["method"],
        similarity=document["similarity"],
        runner_up_ref=document["runner_up_ref"],
        runner_up_similarity=document["runner_up_similarity"],
        margin=document["margin"],
        threshold=document["threshold"],
        card_id=document["card_id"],
        template_revision=document["template_revision"],
        track_id=document["track_id"],
        liveness=document["liveness"],
        chain_hash=document["chain_hash"],
    )


def seen(document: Document) -> Seen:
    """What counting needs, of a punch document read with the `SEEN` fields or more."""
    return Seen(
        event_id=document["_id"],
        subject_ref=document["subject_ref"],
        site=document["site"],
        direction=Direction(document["direction"]),
        observed_at=utc(document["observed_at"]),
        journal_id=document["journal_id"],
        journal_counter=document["journal_counter"],
        camera_id=document["camera_id"],
    )


def attendance_document(seen: Seen, rules: SiteRules, *, identity_id: str | None) -> Document:
    """The row of a punch that counts, ``_id`` its event id; the wall clock time is added for people who query."""
    row = attendance_row(seen, rules, camera_id=seen.camera_id, identity_id=identity_id)
    return {
        "_id": row.event_id,
        "subject_ref": row.subject_ref,
        "identity_id": row.identity_id,
        "site": row.site,
        "camera_id": row.camera_id,
        "observed_at": row.observed_at,
        "local_day": row.local_day.isoformat(),
        "local_time": workday.local_clock(row.observed_at, rules.zone),
        "time_zone": row.time_zone,
        "direction": row.direction.value,
        "rules": row.rules,
    }


def attendance(document: Document) -> AttendanceRow:
    """The attendance row of a document that `attendance_document` made."""
    return AttendanceRow(
        event_id=document["_id"],
        subject_ref=document["subject_ref"],
        identity_id=document["identity_id"],
        site=document["site"],
        camera_id=document["camera_id"],
        observed_at=utc(document["observed_at"]),
        local_day=date.fromisoformat(document["local_day"]),
        direction=Direction(document["direction"]),
        rules=document["rules"],
        time_zone=document["time_zone"],
    )


def punch_record(document: Document) -> rows.Record:
    """A punch document as the columns that ledgers are compared and copied by."""
    moments = {
        "observed_at": to_text(utc(document["observed_at"])),
        "recorded_at": to_text(utc(document["recorded_at"])),
    }
    values = {**document, **moments, "event_id": document["_id"]}
    return tuple([values[name] for name in _PUNCH])


def punch_of_record(record: rows.Record) -> Document:
    """The punch document of what `punch_record`, or that of another adapter, gave."""
    document: Document = {
        ("_id" if name == "event_id" else name): value for name, value in zip(_PUNCH, record, strict=True)
    }
    document["observed_at"] = from_text(document["observed_at"])
    document["recorded_at"] = from_text(document["recorded_at"])
    return document


def attendance_record(document: Document) -> rows.Record:
    """An attendance document as the columns that ledgers are compared by."""
    values = {**document, "event_id": document["_id"], "observed_at": to_text(utc(document["observed_at"]))}
    return tuple([values[name] for name in _ATTENDANCE])


def utc(value: datetime) -> datetime:
    """A date as it was read, in the one UTC that our values carry."""
    return value.replace(tzinfo=UTC)


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
