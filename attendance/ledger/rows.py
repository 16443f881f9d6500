"""Values to SQLite rows and back. Columns and their order stand here once, next to the code that fills them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np

from attendance import workday
from attendance.ledger.instants import from_text, to_text
from attendance.ledger.rules import SiteRules
from attendance.types import AttendanceRow, Consent, Direction, Person, Punch, Template

PERSON = (
    "identity_id, subject_ref, version, created_at, name, department, site, group_name, active_from, active_to, "
    "deactivated_at, consent_policy, consent_version, consent_at, consent_by"
)
TEMPLATE = (
    "identity_id, position, template_id, card_id, source_label, path, sha256, batch, created_at, dimension, vector"
)
PUNCH = (
    "event_id, subject_ref, journal_id, journal_counter, observed_at, recorded_at, site, camera_id, direction, method, "
    "similarity, runner_up_ref, runner_up_similarity, margin, threshold, card_id, template_revision, track_id, "
    "liveness, chain_hash"
)
SITE_OF_PUNCH = PUNCH.split(", ").index("site")
SEEN = "event_id, subject_ref, site, direction, observed_at, journal_id, journal_counter, camera_id"
ATTENDANCE = (
    "event_id, subject_ref, identity_id, site, camera_id, observed_at, local_day, local_time, time_zone, direction, "
    "rules"
)

Record = tuple[Any, ...]
"""The `PUNCH` or `ATTENDANCE` columns as every adapter gives them: text, whole numbers, float64 numbers and None."""


def holes(columns: str) -> str:
    """As many question marks as there are columns."""
    return ", ".join("?" * len(columns.split(",")))


class Seen(NamedTuple):
    """What counting needs of a punch: much smaller than the punch when a whole table is counted."""

    event_id: str
    subject_ref: str
    site: str
    direction: Direction
    observed_at: datetime
    journal_id: str
    journal_counter: int
    camera_id: str


def seen(row: sqlite3.Row) -> Seen:
    """A row of the `SEEN` columns."""
    return Seen(
        event_id=row["event_id"],
        subject_ref=row["subject_ref"],
        site=row["site"],
        direction=Direction(row["direction"]),
        observed_at=from_text(row["observed_at"]),
        journal_id=row["journal_id"],
        journal_counter=row["journal_counter"],
        camera_id=row["camera_id"],
    )


def person_row(person: Person) -> tuple[Any, ...]:
    """The `PERSON` columns of a person."""
    return (
        person.identity_id,
        person.subject_ref,
        person.version,
        to_text(person.created_at),
        person.name,
        person.department,
        person.site,
        person.group,
        _day_text(person.active_from),
        _day_text(person.active_to),
        None if person.deactivated_at is None else to_text(person.deactivated_at),
        person.consent.policy,
        person.consent.version,
        to_text(person.consent.at),
        person.consent.by,
    )


def person(row: sqlite3.Row, templates: Sequence[Template], rejected: Sequence[Template] = ()) -> Person:
    """A person from a row of the `PERSON` columns, their templates, and the faces that are not theirs."""
    return Person(
        identity_id=row["identity_id"],
        subject_ref=row["subject_ref"],
        version=row["version"],
        created_at=from_text(row["created_at"]),
        consent=Consent(
            policy=row["consent_policy"],
            version=row["consent_version"],
            at=from_text(row["consent_at"]),
            by=row["consent_by"],
        ),
        name=row["name"],
        department=row["department"],
        site=row["site"],
        group=row["group_name"],
        active_from=_day(row["active_from"]),
        active_to=_day(row["active_to"]),
        deactivated_at=None if row["deactivated_at"] is None else from_text(row["deactivated_at"]),
        templates=tuple(templates),
        rejected=tuple(rejected),
    )


def template_row(identity_id: str, position: int, template: Template) -> tuple[Any, ...]:
    """The `TEMPLATE` columns of a person's template; the vector as little-endian float32."""
    return (
        identity_id,
        position,
        template.template_id,
        template.card_id,
        template.source_label,
        template.path,
        template.sha256,
        template.batch,
        to_text(template.created_at),
        template.vector.shape[0],
        template.vector.astype("<f4").tobytes(),
    )


def template_rows(person: Person) -> list[tuple[Any, ...]]:
    """The `TEMPLATE` columns of all of a person's templates, those in force first."""
    templates = (*person.templates, *person.shelved)
    return [template_row(person.identity_id, i, template) for i, template in enumerate(templates)]


def rejected_rows(person: Person) -> list[tuple[Any, ...]]:
    """The `TEMPLATE` columns of the faces that are not this person's."""
    return [template_row(person.identity_id, i, face) for i, face in enumerate(person.rejected)]


def template(row: sqlite3.Row) -> Template:
    """A template from a row of the `TEMPLATE` columns."""
    return Template(
        template_id=row["template_id"],
        vector=np.frombuffer(row["vector"], dtype="<f4").astype(np.float32),
        card_id=row["card_id"],
        source_label=row["source_label"],
        path=row["path"],
        sha256=row["sha256"],
        batch=row["batch"],
        created_at=from_text(row["created_at"]),
    )


def punch_row(punch: Punch) -> tuple[Any, ...]:
    """The `PUNCH` columns of a punch."""
    return (
        punch.event_id,
        punch.subject_ref,
        punch.journal_id,
        punch.journal_counter,
        to_text(punch.observed_at),
        to_text(punch.recorded_at),
        punch.site,
        punch.camera_id,
        punch.direction.value,
        punch.method,
        punch.similarity,
        punch.runner_up_ref,
        punch.runner_up_similarity,
        punch.margin,
        punch.threshold,
        punch.card_id,
        punch.template_revision,
        punch.track_id,
        punch.liveness,
        punch.chain_hash,
    )


def punch(row: sqlite3.Row) -> Punch:
    """A punch from a row of the `PUNCH` columns."""
    return Punch(
        event_id=row["event_id"],
        subject_ref=row["subject_ref"],
        journal_id=row["journal_id"],
        journal_counter=row["journal_counter"],
        observed_at=from_text(row["observed_at"]),
        recorded_at=from_text(row["recorded_at"]),
        site=row["site"],
        camera_id=row["camera_id"],
        direction=Direction(row["direction"]),
        method=row["method"],
        similarity=row["similarity"],
        runner_up_ref=row["runner_up_ref"],
        runner_up_similarity=row["runner_up_similarity"],
        margin=row["margin"],
        threshold=row["threshold"],
        card_id=row["card_id"],
        template_revision=row["template_revision"],
        track_id=row["track_id"],
        liveness=row["liveness"],
        chain_hash=row["chain_hash"],
    )


def attendance_columns(row: AttendanceRow, rules: SiteRules) -> tuple[Any, ...]:
    """The `ATTENDANCE` columns of a row; the wall clock time is added for people who query by SQL."""
    return (
        row.event_id,
        row.subject_ref,
        row.identity_id,
        row.site,
        row.camera_id,
        to_text(row.observed_at),
        row.local_day.isoformat(),
        workday.local_clock(row.observed_at, rules.zone),
        row.time_zone,
        row.direction.value,
        row.rules,
    )


def attendance(row: sqlite3.Row) -> AttendanceRow:
    """An attendance row from a row of the `ATTENDANCE` columns."""
    return AttendanceRow(
        event_id=row["event_id"],
        subject_ref=row["subject_ref"],
        identity_id=row["identity_id"],
        site=row["site"],
        camera_id=row["camera_id"],
        observed_at=from_text(row["observed_at"]),
        local_day=date.fromisoformat(row["local_day"]),
        direction=Direction(row["direction"]),
        rules=row["rules"],
        time_zone=row["time_zone"],
    )


def _day_text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
