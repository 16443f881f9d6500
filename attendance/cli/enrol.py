"""``enrol ID --from-camera|PHOTO...``: one person, from photos or from the camera in front of them."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.camera import open_camera
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command
from attendance.cli.people import valid_identity
from attendance.enrol import Enroller, EnrolResult
from attendance.errors import UsageError
from attendance.faces import FaceRule
from attendance.people_csv import PersonRow
from attendance.stills import Reading, StillReader
from attendance.types import Frame

SOURCE_LABEL = "enrol"
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
    identity_id = valid_identity(arguments.identity_id)
    if bool(arguments.photos) == arguments.from_camera:
        raise UsageError("give photos or --from-camera, one of the two")
    for photo in arguments.photos:
        if not photo.exists():
            raise UsageError(f"{photo}: there is no such photo")
    with App(context.settings) as app:
        stills = app.stills(rule=FaceRule(arguments.face), strict=True)
        if arguments.from_camera:
            readings = _from_camera(app, context, arguments, stills)
        else:
            readings = _from_photos(arguments, stills)
        with app.writing() as gallery:
            policy = app.enrol_policy(source_label=SOURCE_LABEL)
            enroller = Enroller(app.ledger, gallery, stills, policy=policy, now=_now)
            result = enroller.add(identity_id, readings, row=_row(identity_id, arguments))
    _print(context, identity_id, result)
    context.write_json(
        {
            "identity_id": identity_id,
            "added": result.added,
            "replaced": result.replaced,
            "refused": [refusal.to_json() for refusal in result.refused],
            "suspected_duplicates": [pair.to_json() for pair in result.suspected_duplicates],
        }
    )
    return EXIT_OK if result.added + result.replaced > 0 else EXIT_FAILURE


def _from_photos(arguments: argparse.Namespace, stills: StillReader) -> list[tuple[str, Reading]]:
    names = [photo.name for photo in arguments.photos]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"{doubled[0]} is there twice: photos of one person need different file names")
    return list(zip(names, stills.read(arguments.photos), strict=True))


def _from_camera(
    app: App, context: Context, arguments: argparse.Namespace, stills: StillReader
) -> list[tuple[str, Reading]]:
    """Good frames some time apart, so that they are not one picture five times. Frames are not kept."""
    section = app.camera(arguments.camera)
    source = section.source if arguments.source is None else arguments.source
    context.say("look at the camera; turn your head a little between the frames")
    readings: list[tuple[str, Reading]] = []
    refusals: list[tuple[str, Reading]] = []
    with open_camera(source, camera_id=section.id) as camera:
        for frame in _spaced(camera):
            name = f"camera {frame.observed_at.isoformat(timespec='milliseconds')}"
            reading = stills.read_frame(frame.image, hashlib.sha256(frame.image.tobytes()).hexdigest())
            (refusals if reading.vector is None else readings).append((name, reading))
            if reading.vector is not None:
                context.say(f"frame {len(readings)} of {CAMERA_FRAMES}")
            if len(readings) == CAMERA_FRAMES:
                break
    return readings if readings else refusals[-1:]


def _spaced(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames at least half a second apart, for a minute at most."""
    due: datetime | None = None
    end: datetime | None = None
    for frame in frames:
        end = frame.observed_at + timedelta(seconds=CAMERA_LIMIT_S) if end is None else end
        if frame.observed_at >= end:
            return
        if due is None or frame.observed_at >= due:
            due = frame.observed_at + timedelta(seconds=CAMERA_SPACING_S)
            yield frame


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
        context.say(f"refused   {refusal.file}: {refusal.reason}: {refusal.detail}")
    for pair in result.suspected_duplicates:
        context.say(f"duplicate {pair.identity_id} looks like {pair.other} ({pair.similarity:.3f})")
