"""``enrol ID --from-camera|PHOTO...``: one person, from photos or from the camera in front of them."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command, existing_photo
from attendance.cli.people import valid_identity
from attendance.cli.table import printable
from attendance.errors import SourceError, UsageError
from attendance.faces import FaceRule
from attendance.people_csv import PersonRow
from attendance.types import Frame

if TYPE_CHECKING:
    from attendance.camera import Camera
    from attendance.enrol import EnrolResult
    from attendance.stills import Reading, StillReader

CAMERA_FRAMES = 5
CAMERA_SPACING_S = 0.5
CAMERA_LIMIT_S = 60.0


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "enrol",
        summary="enrol one person from photos or from the camera",
        example="python -m attendance enrol person-01 portrait.jpg",
        command=enrol,
    )
    parser.add_argument("identity_id", metavar="ID")
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    parser.add_argument("--from-camera", action="store_true", help=f"take {CAMERA_FRAMES} good frames of the camera")
    parser.add_argument("--source", metavar="0|FILE|URL|DIR", help="with --from-camera: another source")
    parser.add_argument("--camera", metavar="ID", help="with --from-camera: the configured camera")
    parser.add_argument("--face", choices=[str(rule) for rule in FaceRule], default="largest", help="which face")
    parser.add_argument("--name", metavar="TEXT", help="the person's name")
    parser.add_argument("--consent-version", metavar="TEXT", help="which wording was agreed to (policy per_person)")


def enrol(arguments: argparse.Namespace, context: Context) -> int:
    """Enrol one person."""
    from attendance.enrol import SINGLE_SOURCE, Enroller

    identity_id = valid_identity(arguments.identity_id)
    if bool(arguments.photos) == arguments.from_camera:
        raise UsageError("give photos or --from-camera, one of the two")
    if not arguments.from_camera and (arguments.source is not None or arguments.camera is not None):
        raise UsageError("--source and --camera go with --from-camera")
    photos = _named(arguments.photos)
    with context.open_app() as app:
        stills = app.stills(rule=FaceRule(arguments.face), strict=True)
        if arguments.from_camera:
            readings = _from_camera(app, context, arguments, stills)
        else:
            readings = list(zip(photos, stills.read(photos.values()), strict=True))
        with app.writing() as gallery:
            policy = app.enrol_policy(source_label=SINGLE_SOURCE)
            enroller = Enroller(app.ledger, gallery, stills, policy=policy, now=_now, keep=app.keep_crop)
            result = enroller.add(identity_id, readings, row=_row(identity_id, arguments))
    _print(context, identity_id, result)
    context.write_json(
        {
            "identity_id": identity_id,
            "added": result.added,
            "replaced": result.replaced,
            "refused": [refusal.to_json() for refusal in result.refused],
            "suspected_duplicates": [pair.to_json() for pair in result.suspected_duplicates],
            "redundant": result.redundant,
            "suspects": [refusal.to_json() for refusal in result.suspects],
            "batch": result.batch,
        }
    )
    return EXIT_OK if result.added + result.replaced > 0 else EXIT_FAILURE


def _named(photos: list[Path]) -> dict[str, Path]:
    """Photos by the names that they are remembered by."""
    from attendance.images import printable as as_text

    named: dict[str, Path] = {}
    for photo in photos:
        name = as_text(photo.name)
        if name in named:
            raise UsageError(f"{name} is there twice: photos of one person need different file names")
        named[name] = existing_photo(photo)
    return named


def _from_camera(
    app: App, context: Context, arguments: argparse.Namespace, stills: StillReader
) -> list[tuple[str, Reading]]:
    """Good frames some time apart, so that they are not one picture five times. Frames are not kept."""
    from attendance.camera import open_camera

    section = app.camera(arguments.camera)
    source = section.source if arguments.source is None else arguments.source
    readings: list[tuple[str, Reading]] = []
    refusals: list[tuple[str, Reading]] = []
    with open_camera(source, camera_id=section.id) as camera:
        context.say("look at the camera; turn your head a little between the frames")
        for frame in spaced(camera, limit_s=CAMERA_LIMIT_S):
            name = f"camera {frame.observed_at.isoformat(timespec='milliseconds')}"
            reading = stills.read_frame(frame.image, hashlib.sha256(frame.image.tobytes()).hexdigest())
            (refusals if reading.vector is None else readings).append((name, reading))
            if reading.vector is not None:
                context.say(f"frame {len(readings)} of {CAMERA_FRAMES}")
            if len(readings) == CAMERA_FRAMES:
                break
    return readings if readings else refusals[-1:]


def spaced(camera: Camera, *, limit_s: float) -> Iterator[Frame]:
    """Frames at least half a second apart by the camera's clock, for ``limit_s`` of it at most.

    A live camera is given as long by the wall clock too, since a silent one has no clock. SourceError when none came.
    """
    began = time.monotonic()
    due: datetime | None = None
    end: datetime | None = None
    for frame in camera.frames(keep_going=lambda: not camera.is_live or time.monotonic() - began < limit_s):
        end = frame.observed_at + timedelta(seconds=limit_s) if end is None else end
        if frame.observed_at >= end:
            return
        if due is None or frame.observed_at >= due:
            due = frame.observed_at + timedelta(seconds=CAMERA_SPACING_S)
            yield frame
    if due is None:
        raise SourceError(f"{camera.source}: expected a picture within {limit_s:g} s, none came: look at the camera")


def _row(identity_id: str, arguments: argparse.Namespace) -> PersonRow:
    agreed = arguments.consent_version
    return PersonRow(
        identity_id=identity_id,
        line=0,
        name=arguments.name,
        consent_version=agreed,
        consent_at=_now() if agreed else None,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _print(context: Context, identity_id: str, result: EnrolResult) -> None:
    context.say(f"{identity_id}: {result.added} templates added, {result.replaced} replaced")
    for refusal in result.refused:
        context.say(f"refused   {printable(refusal.file)}: {refusal.reason}: {refusal.detail}")
    for name in result.redundant:
        context.say(f"redundant {printable(name)}: the person has enough templates that cover as much")
    for refusal in result.suspects:
        context.say(f"suspect   {printable(refusal.file)}: {refusal.reason}: {refusal.detail}")
    for pair in result.suspected_duplicates:
        context.say(f"duplicate {pair.identity_id} looks like {pair.other} ({pair.similarity:.3f})")
