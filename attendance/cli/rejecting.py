"""``people reject|unreject``: remember that a face is not a person's, and forget it."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command, existing_photo
from attendance.cli.table import printable
from attendance.consistency import similarity_to_others
from attendance.errors import AttendanceError, LedgerError, UsageError
from attendance.events import format_utc
from attendance.faces import FaceRule
from attendance.types import Float32, Person, Template

if TYPE_CHECKING:
    from attendance.search.port import Gallery
    from attendance.stills import Reading

SOURCE = "rejected"


def register(sub: Any) -> None:
    """Add the commands to the group."""
    reject = add_command(
        sub,
        "reject",
        summary="remember that the face on a photo is not this person's, whom it was taken for",
        example="python -m attendance people reject person-01 door.jpg",
        command=reject_faces,
    )
    reject.add_argument("identity_id", metavar="ID")
    reject.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="photo of whoever was taken for ID")
    reject.add_argument(
        "--face", choices=[str(rule) for rule in FaceRule], default="largest", help="which face of a photo (largest)"
    )
    reject.add_argument("--yes", action="store_true", help="also where the person's own photos would be asked for it")
    unreject = add_command(
        sub,
        "unreject",
        summary="forget faces that were rejected as this person's",
        example="python -m attendance people unreject person-01",
        command=unreject_faces,
    )
    unreject.add_argument("identity_id", metavar="ID")
    unreject.add_argument("faces", nargs="*", metavar="FACE", help="as people show names them (all)")


def reject_faces(arguments: argparse.Namespace, context: Context) -> int:
    """Keep the faces with the person."""
    from attendance.cli.people import existing

    with context.open_store() as app:
        before = existing(app, arguments.identity_id)
        readings = [_read(app, path, arguments.face) for path in arguments.photos]
        with app.writing() as gallery:
            faces = _faces(readings, before, card_id=gallery.card_id)
            hurt = _own_photos_lost(before, faces, card_id=gallery.card_id)
            if hurt and not arguments.yes:
                raise UsageError(
                    f"nothing was kept: {', '.join(map(printable, hurt))}, enrolled as {before.identity_id}, are as "
                    "near to these faces as to the person's other photos, who would be asked each time; look at both, "
                    "and give --yes if it is right"
                )
            after = _with(before, (*before.rejected, *faces))
            _replace(app, gallery, before, after)
    context.say(
        f"{len(faces)} faces are remembered not to be {before.identity_id} ({len(after.rejected)} in all): who is "
        f"nearer to one of them than to {before.identity_id} is asked, and not taken for them"
    )
    context.write_json(
        {
            "identity_id": before.identity_id,
            "added": [face.template_id for face in faces],
            "own_photos": hurt,
            "rejected": rejected_json(after),
        }
    )
    return EXIT_OK


def unreject_faces(arguments: argparse.Namespace, context: Context) -> int:
    """Forget the faces."""
    from attendance.cli.people import existing

    with context.open_store() as app:
        before = existing(app, arguments.identity_id)
        known = {face.template_id for face in before.rejected}
        unknown = sorted(set(arguments.faces) - known)
        if unknown:
            raise UsageError(f"{unknown[0]} is not one of the faces rejected as {before.identity_id}: see people show")
        gone = set(arguments.faces) if arguments.faces else known
        after = _with(before, [face for face in before.rejected if face.template_id not in gone])
        if gone:
            with app.writing() as gallery:
                _replace(app, gallery, before, after)
    context.say(f"{len(gone)} faces forgotten, {len(after.rejected)} are left that are not {before.identity_id}")
    context.write_json({"identity_id": before.identity_id, "removed": sorted(gone), "rejected": rejected_json(after)})
    return EXIT_OK


def rejected_json(person: Person) -> list[dict[str, str]]:
    """What is on record of the faces that are not this person's, but for the vectors."""
    return [
        {
            "face": face.template_id,
            "path": face.path,
            "sha256": face.sha256,
            "model": face.card_id,
            "created_at": format_utc(face.created_at),
        }
        for face in person.rejected
    ]


def _read(app: App, path: Path, rule: str) -> Reading:
    reading = next(iter(app.stills(rule=FaceRule(rule), strict=False).read([existing_photo(path)])))
    if reading.vector is None:
        raise AttendanceError(f"{path}: {reading.reason}: {reading.detail}")
    return reading


def _faces(readings: Sequence[Reading], person: Person, *, card_id: str) -> list[Template]:
    """The faces that are not kept yet, one for each photo; UsageError for a photo that is enrolled as the person's."""
    batch, now = uuid.uuid4().hex, datetime.now(UTC)
    kept = {(face.card_id, face.sha256) for face in person.rejected}
    own = {template.sha256: template.path for template in person.templates}
    made: dict[str, Template] = {}
    for reading in readings:
        if reading.sha256 in own:
            raise UsageError(
                f"{reading.path} is enrolled as {person.identity_id} ({own[reading.sha256]}): take it out of the "
                "folder and build with --prune instead"
            )
        assert reading.vector is not None
        if (card_id, reading.sha256) not in kept:
            face_id = f"not-{reading.sha256[:16]}"
            made[face_id] = Template(
                face_id, reading.vector, card_id, SOURCE, reading.path.name, reading.sha256, batch, now
            )
    return list(made.values())


def _own_photos_lost(person: Person, faces: Sequence[Template], *, card_id: str) -> list[str]:
    """The person's photos that are as near to one of the faces as to the person's other photos."""
    own = [template for template in person.templates if template.card_id == card_id]
    if len(own) < 2 or not faces:
        return []
    vectors: Float32 = np.stack([template.vector for template in own])
    nearest = (vectors @ np.stack([face.vector for face in faces]).T).max(axis=1)
    return [t.path for t, near, likeness in zip(own, nearest, similarity_to_others(vectors), strict=True)
            if near >= likeness]  # fmt: skip


def _with(person: Person, faces: Sequence[Template]) -> Person:
    return replace(person, version=person.version + 1, rejected=tuple(faces))


def _replace(app: App, gallery: Gallery, before: Person, after: Person) -> None:
    from attendance.gallery import PersonChange, apply_changes

    if apply_changes(app.ledger, gallery, [PersonChange(before, after)]):
        raise LedgerError(f"{before.identity_id} was changed by somebody else meanwhile: run the command again")
