"""The batches that templates came in, and how one is taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from attendance.gallery import PersonChange, apply_changes
from attendance.ledger.port import Ledger, PunchQuery
from attendance.search.port import Gallery
from attendance.types import Person

_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """One run of an enrolment, as far as its templates are still there. Times are aware UTC."""

    batch: str
    began_at: datetime
    source_labels: tuple[str, ...]
    people: int
    templates: int

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "batch": self.batch,
            "began_at": self.began_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "source_labels": list(self.source_labels),
            "people": self.people,
            "templates": self.templates,
        }


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back: templates, the people who lost some, and those who were erased because it had made them."""

    templates: int
    people: tuple[str, ...]
    erased: tuple[str, ...]


def batches_of(people: Iterable[Person]) -> list[Batch]:
    """The batches of everybody's templates, the oldest first."""
    found: dict[str, list[tuple[datetime, str, str]]] = {}
    for person in people:
        for template in person.templates:
            told = (template.created_at, template.source_label, person.identity_id)
            found.setdefault(template.batch, []).append(told)
    batches = [
        Batch(
            batch,
            min(created_at for created_at, _, _ in told),
            tuple(sorted({label for _, label, _ in told})),
            len({identity_id for _, _, identity_id in told}),
            len(told),
        )
        for batch, told in found.items()
    ]
    return sorted(batches, key=lambda batch: (batch.began_at, batch.batch))


def undo(ledger: Ledger, gallery: Gallery, batch: str) -> Undone:
    """Take a batch back: its templates go, and with them the people whom it made and who never punched.

    A person who was there before, whose details were changed since, or who has punches stays, if need be without
    templates. A template that the batch put in the place of an older one goes too; the older one is not kept and does
    not come back. Works under the gallery's lock; somebody edited meanwhile is looked at again.
    """
    templates = 0
    people: list[str] = []
    erased: list[str] = []
    pending = sorted(person.identity_id for person in ledger.people() if _of(person, batch))
    while pending:
        some = [person for person in ledger.people(pending[:_TOGETHER]) if _of(person, batch)]
        changes = [PersonChange(person, _without(ledger, person, batch)) for person in some]
        forestalled = {id(change) for change in apply_changes(ledger, gallery, changes)}
        again = []
        for person, change in zip(some, changes, strict=True):
            if id(change) in forestalled:
                again.append(person.identity_id)
                continue
            templates += _of(person, batch)
            (people if change.after is not None else erased).append(person.identity_id)
        pending = again + pending[_TOGETHER:]
    return Undone(templates, tuple(sorted(people)), tuple(sorted(erased)))


def _of(person: Person, batch: str) -> int:
    return sum(template.batch == batch for template in person.templates)


def _without(ledger: Ledger, person: Person, batch: str) -> Person | None:
    """The person as they shall be; None: erased, for nothing but this batch is known of them."""
    left = tuple(template for template in person.templates if template.batch != batch)
    untouched = person.version == 1 and not left
    if untouched and not ledger.punches(PunchQuery(identity_id=person.identity_id)):
        return None
    return replace(person, version=person.version + 1, templates=left)
