"""``realtime_attendance.py``: one camera, its tracks, their punches."""

from __future__ import annotations

import argparse
import math
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uuid_utils

from attendance.app import App
from attendance.camera import Camera, Health, open_camera, source_kind
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, AppFactory, Context, new_parser, run
from attendance.errors import UsageError
from attendance.events import Event, EventLog, format_utc
from attendance.images import read_photo
from attendance.kiosk import Identifiers, Kiosk, Place, Summary
from attendance.mirror import MirrorFollower
from attendance.pipeline import TrackView
from attendance.types import Frame, RGBImage
from attendance.window import Window, draw

Show = Callable[[Frame, tuple[TrackView, ...]], bool]


def main(argv: Sequence[str] | None = None, *, make_app: AppFactory = App) -> int:
    """Run the command; the exit code."""
    parser = new_parser(
        "realtime_attendance.py",
        "Recognise the people in front of a camera and record their attendance.",
        "python realtime_attendance.py --source walk-past.mp4 --headless --events events.jsonl",
    )
    parser.add_argument(
        "--source",
        metavar="0|FILE|URL|DIR",
        help="webcam index, video, stream or folder of images",
    )
    parser.add_argument("--camera", metavar="ID", help="the configured camera to run")
    parser.add_argument("--headless", action="store_true", help="no window")
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FILE.jsonl",
        help="append one line of JSON per event",
    )
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="when a file begins, such as 2026-01-31T08:00:00+01:00 (now)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="frames a second of a folder of images (1)",
    )
    parser.add_argument("--max-seconds", type=float, metavar="N", help="end after this many seconds")
    return run(parser, realtime, argv, make_app=make_app)


def realtime(arguments: argparse.Namespace, context: Context) -> int:
    """The command's body."""
    for name in ("fps", "max_seconds"):
        value = getattr(arguments, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} must be above 0, got {value:g}")
    with ExitStack() as stack:
        signals = stack.enter_context(_signals())
        app = stack.enter_context(context.open_app())
        section = app.camera(arguments.camera)
        place = app.place(section)
        source = section.source if arguments.source is None else arguments.source
        start = _start(arguments.start, source, place)
        camera = stack.enter_context(
            open_camera(
                source,
                camera_id=place.camera_id,
                start=start,
                fps=arguments.fps,
                read_image=partial(_still, max_pixels=context.settings.enrol.max_pixels),
            )
        )
        events = stack.enter_context(EventLog(arguments.events))
        window = None if arguments.headless else stack.enter_context(Window())
        follower = app.follower()
        context.say(_banner(app, camera, follower, start))
        kiosk = _kiosk(app, context, follower, place, events)
        summary = kiosk.run(_frames(camera, arguments.max_seconds, signals), show=_shower(window, follower))
        _print(context, summary, camera.health)
        context.write_json({**summary.to_json(), "model": app.card.id, "camera": _health(camera.health)})
    return EXIT_FAILURE if summary.failed else EXIT_OK


def _still(path: Path, *, max_pixels: int) -> RGBImage:
    """An image of a folder, by the decoder that enrolment uses (HEIC, 16 bit, turned), at its own size."""
    return read_photo(path, max_pixels=max_pixels).image


def _kiosk(app: App, context: Context, follower: MirrorFollower, place: Place, events: EventLog) -> Kiosk:
    identifiers = Identifiers(event_id=lambda: str(uuid_utils.uuid7()), now=_now, journal_id=uuid.uuid4().hex)
    return Kiosk(
        app.live_path(follower.mirror),
        app.ledger,
        directory=follower,
        place=place,
        card_id=app.card.id,
        events=events,
        identifiers=identifiers,
        announce=lambda event, label: context.say(_line(event, label)),
    )


def _start(text: str | None, source: str, place: Place) -> datetime | None:
    """When a recording begins, now unless said; None for a live source. A time without an offset is the site's."""
    if text is None:
        return None if source_kind(source).is_live else _now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start expects a time such as 2026-01-31T08:00:00Z, got {text!r}") from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=place.time_zone)).astimezone(UTC)


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted: the frame in work is finished, then the run ends as if the film had."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _frames(camera: Camera, max_seconds: float | None, signals: list[int]) -> Iterator[Frame]:
    """The camera's frames until a signal, or for ``max_seconds`` of its own clock (and the wall's, if it is live)."""
    limit = math.inf if max_seconds is None else max_seconds
    began = time.monotonic()
    first: datetime | None = None

    def keep_going() -> bool:
        return not signals and not (camera.is_live and time.monotonic() - began >= limit)

    for frame in camera.frames(keep_going=keep_going):
        first = frame.observed_at if first is None else first
        if (frame.observed_at - first).total_seconds() >= limit:
            return
        yield frame


def _shower(window: Window | None, follower: MirrorFollower) -> Show:
    def name_of(identity_id: str) -> str:
        person = follower.people.get(identity_id)
        return identity_id if person is None else person.label

    def show(frame: Frame, views: tuple[TrackView, ...]) -> bool:
        return window is None or window.show(draw(frame.image, views, name_of))

    return show


def _banner(app: App, camera: Camera, follower: MirrorFollower, start: datetime | None) -> str:
    people, templates = follower.mirror.counts()
    rule = app.rule(follower.mirror)()
    begin = "" if start is None else f" from {format_utc(start)}"
    return (
        f"{camera.source}{begin}; {app.embedder.describe()}; {people} people, {templates} templates; "
        f"threshold {rule.threshold:.3f}, margin {rule.margin:.3f}"
    )


def _line(event: Event, label: str) -> str:
    similarity = "" if event.similarity is None else f" {event.similarity:.3f}"
    why = "" if event.reason == "match" else f" ({event.reason})"
    return f"{format_utc(event.observed_at)}  {event.kind:<9} {label}{similarity}{why}"


def _print(context: Context, summary: Summary, health: Health) -> None:
    kinds: dict[str, Any] = summary.to_json()["events"]
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    context.say(f"{summary.frames} frames; {counts}; {summary.not_recorded} not recorded")
    if summary.events_lost:
        context.say(f"{summary.events_lost} events could not be written to the events file")
    if health.last_error is not None:
        context.say(f"camera: {health.state}, {health.reconnects} reconnects, last trouble: {health.last_error}")


def _health(health: Health) -> dict[str, Any]:
    """The camera's health as JSON values."""
    last = health.last_frame_at
    return {**asdict(health), "state": str(health.state), "last_frame_at": None if last is None else format_utc(last)}
