"""``people list|show|add|edit|deactivate|remove``; ``reject`` and ``unreject`` are in `attendance.cli.rejecting`."""

from __future__ import annotations

import argparse
import sys
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from attendance.app import App
from attendance.cli import rejecting
from attendance.cli.base import EXIT_OK, Context, Parser, add_command, add_group
from attendance.cli.table import printable, render
from attendance.errors import LedgerError, UsageError
from attendance.events import format_utc
from attendance.types import Consent, Person

DETAILS = ("name", "department", "site", "group")
DATES = ("active_from", "active_to")


def register(commands: Any) -> None:
    """Add the group's commands."""
    sub = add_group(commands, "people", summary="who is enrolled", example="python -m attendance people list")
    listing = add_command(
        sub, "list", summary="list people", example="python -m attendance people list", command=list_people
    )
    listing.add_argument("--site", metavar="ID", help="only people of this site")
    listing.add_argument("--department", metavar="NAME", help="only people of this department")
    show = add_command(
        sub, "show", summary="one person", example="python -m attendance people show person-01", command=show_person
    )
    show.add_argument("identity_id", metavar="ID")
    _register_changes(sub)
    rejecting.register(sub)


def _register_changes(sub: Any) -> None:
    add = add_command(
        sub,
        "add",
        summary="add a person without photos",
        example="python -m attendance people add person-01 --department lab",
        command=add_person,
    )
    _detail_flags(add)
    add.add_argument("--consent-version", metavar="TEXT", help="which wording was agreed to (policy per_person)")
    add.add_argument("--consent-at", metavar="TIME", help="when, such as 2026-01-31T09:00:00Z (policy per_person)")
    edit = add_command(
        sub,
        "edit",
        summary="change a person's details; an empty value clears one",
        example="python -m attendance people edit person-01 --active-to 2026-12-31",
        command=edit_person,
    )
    _detail_flags(edit)
    edit.add_argument("--reactivate", action="store_true", help="undo people deactivate")
    deactivate = add_command(
        sub,
        "deactivate",
        summary="stop recognising a person and keep everything on record",
        example="python -m attendance people deactivate person-01",
        command=deactivate_person,
    )
    deactivate.add_argument("identity_id", metavar="ID")
    remove = add_command(
        sub,
        "remove",
        summary="erase a person, their templates and their name in every punch",
        example="python -m attendance people remove person-01 --yes",
        command=remove_person,
    )
    remove.add_argument("identity_id", metavar="ID")
    remove.add_argument("--yes", action="store_true", help="do not ask")


def _detail_flags(parser: Parser) -> None:
    parser.add_argument("identity_id", metavar="ID")
    for name in DETAILS:
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"the person's {name}")
    parser.add_argument("--active-from", metavar="YYYY-MM-DD", help="first local day on which attendance counts")
    parser.add_argument("--active-to", metavar="YYYY-MM-DD", help="last local day on which attendance counts")


def list_people(arguments: argparse.Namespace, context: Context) -> int:
    """List everybody, or a site's or department's people."""
    with context.open_store() as app:
        found = [
            person
            for person in app.ledger.people()
            if arguments.site in (None, person.site) and arguments.department in (None, person.department)
        ]
    rows = [_summary(person) for person in found]
    context.say(render(rows, columns=("identity_id", "name", "department", "site", "group", "state", "templates")))
    context.write_json(rows)
    return EXIT_OK


def show_person(arguments: argparse.Namespace, context: Context) -> int:
    """Everything on record of one person but the vectors."""
    with context.open_store() as app:
        person = existing(app, arguments.identity_id)
    data = _details(person)
    for key, value in data.items():
        if key not in ("photos", "rejected"):
            context.say(f"{key:16} {'' if value is None else printable(str(value))}")
    for photo in data["photos"]:
        label = printable(photo["source_label"]) if photo["source_label"] else "no label"
        context.say(f"{'photo':16} {printable(photo['path'])} ({label}, {photo['created_at']})")
    for face in data["rejected"]:
        context.say(f"{'not them':16} {face['face']} ({printable(face['path'])}, {face['created_at']})")
    context.write_json(data)
    return EXIT_OK


def add_person(arguments: argparse.Namespace, context: Context) -> int:
    """Add a person without photos."""
    identity_id = valid_identity(arguments.identity_id)
    with context.open_app() as app:
        blank = Person(
            identity_id=identity_id,
            subject_ref=uuid.uuid4().hex,
            version=1,
            created_at=datetime.now(UTC),
            consent=_consent(app, arguments),
        )
        person = _changed(blank, arguments)
        if not app.ledger.insert_person(person):
            raise UsageError(f"{identity_id} is there already: use people edit")
    context.say(f"{identity_id} added; enrol photos with: python -m attendance enrol {identity_id} PHOTO...")
    context.write_json(_details(person))
    return EXIT_OK


def edit_person(arguments: argparse.Namespace, context: Context) -> int:
    """Change details."""
    if not arguments.reactivate and all(getattr(arguments, name) is None for name in (*DETAILS, *DATES)):
        raise UsageError("nothing to change: give --name, --department or another flag of people edit --help")
    with context.open_store() as app:
        before = existing(app, arguments.identity_id)
        after = replace(_changed(before, arguments), version=before.version + 1)
        if arguments.reactivate:
            after = replace(after, deactivated_at=None)
        _apply(app, before, after)
    context.say(f"{before.identity_id} changed")
    context.write_json(_details(after))
    return EXIT_OK


def deactivate_person(arguments: argparse.Namespace, context: Context) -> int:
    """Take a person out of the gallery and keep the record."""
    with context.open_store() as app:
        before = existing(app, arguments.identity_id)
        if before.deactivated_at is not None:
            context.say(f"{before.identity_id} is deactivated since {format_utc(before.deactivated_at)}")
            context.write_json(_details(before))
            return EXIT_OK
        after = replace(before, deactivated_at=datetime.now(UTC), version=before.version + 1)
        _apply(app, before, after)
    context.say(f"{before.identity_id} is no longer recognised; everything on record stays")
    context.write_json(_details(after))
    return EXIT_OK


def remove_person(arguments: argparse.Namespace, context: Context) -> int:
    """Erase a person."""
    with context.open_store() as app:
        before = existing(app, arguments.identity_id)
        if not arguments.yes and not _confirmed(before):
            raise UsageError("nothing was removed: give --yes to erase without being asked")
        _apply(app, before, None)
    context.say(f"{before.identity_id} erased with {len(before.templates)} templates; their punches name nobody now")
    context.write_json({"identity_id": before.identity_id, "templates": len(before.templates)})
    return EXIT_OK


def existing(app: App, identity_id: str) -> Person:
    """The person, or a UsageError that says where to look."""
    from attendance.images import normalise_identity

    person = app.ledger.person(normalise_identity(identity_id))
    if person is None:
        raise UsageError(f"nobody is enrolled as {identity_id!r}: see python -m attendance people list")
    return person


def valid_identity(text: str) -> str:
    """The identity id that a word on the command line stands for."""
    from attendance.images import identity_problem, normalise_identity

    identity_id = normalise_identity(text)
    problem = identity_problem(identity_id)
    if problem is not None:
        raise UsageError(f"{text!r}: {problem}")
    return identity_id


def _confirmed(person: Person) -> bool:
    if not sys.stdin.isatty():
        return False
    question = f"Erase {person.identity_id} and {len(person.templates)} templates for good? Type yes: "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def _apply(app: App, before: Person, after: Person | None) -> None:
    from attendance.gallery import PersonChange, apply_changes

    with app.writing() as gallery:
        if apply_changes(app.ledger, gallery, [PersonChange(before, after)]):
            raise LedgerError(f"{before.identity_id} was changed by somebody else meanwhile: run the command again")


def _changed(person: Person, arguments: argparse.Namespace) -> Person:
    values: dict[str, Any] = {n: _text(n, v) for n in DETAILS if (v := getattr(arguments, n)) is not None}
    for name in DATES:
        text = getattr(arguments, name)
        if text is not None:
            values[name] = _date(name, text)
    try:
        return replace(person, **values)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _text(name: str, text: str) -> str:
    if not text.isprintable():
        raise UsageError(f"--{name} expects text in one line without control characters, got {text!r}")
    return text.strip()


def _date(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')} expects a date as YYYY-MM-DD, got {text!r}") from error


def _consent(app: App, arguments: argparse.Namespace) -> Consent:
    if app.settings.consent.policy == "attested":
        return Consent("attested", "", datetime.now(UTC), app.attested_by())
    if not arguments.consent_version or not arguments.consent_at:
        raise UsageError("consent policy per_person: give --consent-version and --consent-at")
    try:
        moment = datetime.fromisoformat(arguments.consent_at)
    except ValueError as error:
        raise UsageError(f"--consent-at expects a time with an offset, got {arguments.consent_at!r}") from error
    if moment.tzinfo is None:
        raise UsageError(f"--consent-at expects a time with an offset such as Z, got {arguments.consent_at!r}")
    return Consent("per_person", arguments.consent_version, moment.astimezone(UTC), arguments.identity_id)


def _state(person: Person) -> str:
    if person.deactivated_at is not None:
        return "deactivated"
    return "active" if person.active_on(datetime.now(UTC).date()) else "outside its dates"


def _summary(person: Person) -> dict[str, Any]:
    return {
        "identity_id": person.identity_id,
        "name": person.name,
        "department": person.department,
        "site": person.site,
        "group": person.group,
        "state": _state(person),
        "templates": len(person.templates),
    }


def _details(person: Person) -> dict[str, Any]:
    return {
        **_summary(person),
        "active_from": None if person.active_from is None else person.active_from.isoformat(),
        "active_to": None if person.active_to is None else person.active_to.isoformat(),
        "deactivated_at": None if person.deactivated_at is None else format_utc(person.deactivated_at),
        "created_at": format_utc(person.created_at),
        "version": person.version,
        "subject_ref": person.subject_ref,
        "consent_policy": person.consent.policy,
        "consent_version": person.consent.version,
        "consent_at": format_utc(person.consent.at),
        "consent_by": person.consent.by,
        "photos": [
            {
                "path": template.path,
                "source_label": template.source_label,
                "sha256": template.sha256,
                "batch": template.batch,
                "model": template.card_id,
                "created_at": format_utc(template.created_at),
            }
            for template in person.templates
        ],
        "rejected": rejecting.rejected_json(person),
    }
