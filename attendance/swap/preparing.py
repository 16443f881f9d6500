"""Everybody's templates of another space, beside those in force: what a switch needs, and what it leaves behind.

A person's document is written as a whole, so whatever dies in between leaves people who are done and others who are
not, and the next run does what is left. Nothing of it is compared with anybody before it is put into force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from attendance.ledger.port import Ledger
from attendance.types import Float32, Person, Template

TOGETHER = 32
"""People whose templates are made and written together: about what a crash can cost."""


@dataclass(frozen=True, slots=True)
class Unmade:
    """A template that could not be made anew: whose, of which photo, the reason code and a sentence."""

    identity_id: str
    path: str
    reason: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """As plain values."""
        return {"identity_id": self.identity_id, "file": self.path, "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody with templates in force and none of the other space. Who is deactivated holds nothing up."""

    identity_id: str
    templates: int
    deactivated: bool

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"identity_id": self.identity_id, "templates": self.templates, "deactivated": self.deactivated}


@dataclass(slots=True)
class Prepared:
    """What a run did: templates made by it, templates that were there from before, and those that cannot be made."""

    made: int = 0
    kept: int = 0
    unmade: list[Unmade] = field(default_factory=list)


class Remake(Protocol):
    """Makes templates anew."""

    def __call__(self, templates: Sequence[Template]) -> Iterable[Float32 | tuple[str, str]]:
        """For each template in force its vector (D,) in the other space, or a reason code and a sentence."""


def prepare(
    ledger: Ledger,
    remake: Remake,
    *,
    target: str,
    done: Callable[[int], None] = lambda people: None,
) -> Prepared:
    """Make everybody's templates of the space ``target`` that are not there yet; those in force stay as they are.

    Faces that are not a person's (``rejected``) are made anew too where they can be. ``done`` is told how many people
    were dealt with. Raises what the ledger and ``remake`` raise; what was written until then is used by the next run.
    """
    result = Prepared()
    ids = sorted(ledger.person_versions())
    for start in range(0, len(ids), TOGETHER):
        pending = ids[start : start + TOGETHER]
        while pending:
            pending = _prepare(ledger, remake, pending, target=target, result=result)
        done(len(ids[start : start + TOGETHER]))
    return result


def _prepare(ledger: Ledger, remake: Remake, ids: Sequence[str], *, target: str, result: Prepared) -> list[str]:
    """Do some people; those whom somebody else changed meanwhile."""
    wanted = [_Work(person, _missing(person.templates, person.shelved, target), _rejected(person, target))
              for person in ledger.people(ids)]  # fmt: skip
    answers = iter(remake([template for work in wanted for template in (*work.templates, *work.rejected)]))
    again = []
    for work in wanted:
        unmade: list[Unmade] = []
        made = list(_made(work, work.templates, answers, target=target, unmade=unmade))
        rejected = list(_made(work, work.rejected, answers, target=target, unmade=unmade))
        after = _with(work.person, made, rejected, target=target)
        if after is not None and not ledger.replace_person(after):
            again.append(work.person.identity_id)
            continue
        result.made += len(made)
        result.kept += len(work.person.templates) - len(work.templates)
        result.unmade += unmade
    return again


@dataclass(frozen=True, slots=True)
class _Work:
    """A person, and which of their templates and rejected faces are to be made anew."""

    person: Person
    templates: tuple[Template, ...]
    rejected: tuple[Template, ...]


def _missing(sources: Iterable[Template], there: Iterable[Template], target: str) -> tuple[Template, ...]:
    held = {(t.template_id, t.sha256) for t in there if t.card_id == target}
    return tuple(t for t in sources if t.card_id != target and (t.template_id, t.sha256) not in held)


def _rejected(person: Person, target: str) -> tuple[Template, ...]:
    """Those made as the templates in force were, which alone can be made into others."""
    in_force = {t.card_id for t in person.templates}
    return _missing([t for t in person.rejected if t.card_id in in_force], person.rejected, target)


def _made(
    work: _Work,
    templates: Iterable[Template],
    answers: Iterator[Float32 | tuple[str, str]],
    *,
    target: str,
    unmade: list[Unmade],
) -> Iterator[Template]:
    for template in templates:
        answer = next(answers)
        if isinstance(answer, tuple):
            unmade.append(Unmade(work.person.identity_id, template.path, *answer))
        else:
            yield replace(template, vector=answer, card_id=target)


def _with(person: Person, made: Sequence[Template], rejected: Sequence[Template], *, target: str) -> Person | None:
    """The person with what was made; None: nothing changes. A photo's older state gives way to the newer."""
    present = {t.template_id: t.sha256 for t in person.templates}
    kept = [t for t in person.shelved if t.card_id != target or present.get(t.template_id, t.sha256) == t.sha256]
    if not made and not rejected and len(kept) == len(person.shelved):
        return None
    return replace(
        person,
        version=person.version + 1,
        shelved=(*kept, *made),
        rejected=(*person.rejected, *rejected),
    )


def lacking(people: Iterable[Person], *, target: str) -> list[Waiting]:
    """Who would be recognised no more with the templates of ``target`` in force, in order."""
    return [
        Waiting(person.identity_id, len(person.templates), person.deactivated_at is not None)
        for person in people
        if person.templates and not any(t.card_id == target for t in (*person.templates, *person.shelved))
    ]


def finish(ledger: Ledger) -> int:
    """Delete every template that is not in force, and rejected faces of other spaces; how many."""
    deleted = 0
    for identity_id in sorted(ledger.person_versions()):
        while (person := ledger.person(identity_id)) is not None:
            in_force = ledger.template_revision().space
            rejected = tuple(t for t in person.rejected if t.card_id == in_force)
            gone = len(person.shelved) + len(person.rejected) - len(rejected)
            if not in_force or not gone:
                break
            after = replace(person, version=person.version + 1, shelved=(), rejected=rejected)
            if ledger.replace_person(after):
                deleted += gone
                break
    return deleted
