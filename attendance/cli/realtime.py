"""``realtime_attendance.py``: cameras, their tracks, their punches."""

from __future__ import annotations

import argparse
import logging
import math
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import uuid_utils

from attendance import __version__
from attendance.app import App
from attendance.camera import Camera, Health, open_camera, source_kind
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, AppFactory, Context, new_parser, run
from attendance.cli.configured import KIOSK_TIMEOUT_S, is_on_server, kept_folder, kiosk_context, plain
from attendance.cli.station import Station, Stop, health_json, total_of
from attendance.config import CameraSection, Layer
from attendance.errors import LedgerUnavailableError, UsageError
from attendance.events import Event, EventLog, format_utc
from attendance.heartbeat import Heartbeat
from attendance.images import read_photo
from attendance.kept_mirror import MirrorKeeper
from attendance.kiosk import Identifiers, Kiosk, Place, Summary
from attendance.mirror import MirrorFollower
from attendance.pipeline import TrackView
from attendance.search.port import Gallery
from attendance.types import EventKind, Frame, RGBImage
from attendance.window import Window, draw, tiled

_log = logging.getLogger(__name__)

_WINDOW_S = 0.03
_NO_PICTURE: RGBImage = np.zeros((9, 16, 3), np.uint8)


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
    parser.add_argument("--camera", metavar="ID", help="the one of the configured cameras to run (all)")
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
        stop = Stop(stack.enter_context(_signals()))
        context, layers = kiosk_context(arguments, context)
        app = stack.enter_context(context.open_app())
        app.ledger_timeout_s = KIOSK_TIMEOUT_S
        # The registered sites are in these settings already; the ledger may be away by now.
        app.time_zones = context.settings.time_zones()
        app.serve_metrics()
        sections = app.cameras(arguments.camera)
        if len(sections) > 1 and arguments.source is not None:
            ids = ", ".join(section.id for section in sections)
            raise UsageError(f"--source stands for one camera, the configuration has {ids}: name one with --camera")
        programme = _Programme(arguments, context, app, layers, stop, stack)
        return programme.run_one(sections[0]) if len(sections) == 1 else programme.run_all(sections)


@dataclass(eq=False)
class _Programme:
    """One run: what all its cameras share, made in ``stack`` when it is first asked for."""

    arguments: argparse.Namespace
    context: Context
    app: App
    layers: tuple[Layer, ...]
    stop: Stop
    stack: ExitStack

    def run_one(self, section: CameraSection) -> int:
        """Run one camera in this thread; what is wrong with it is told before anything is loaded."""
        start = self.start_of(section)
        camera = self.stack.enter_context(self.open(section, start))
        events = self.stack.enter_context(EventLog(self.arguments.events))
        window = None if self.arguments.headless else self.stack.enter_context(Window())
        self.context.say(self.banner(camera, start))
        station = Station(
            section.id,
            self.kiosk(section, events),
            open_camera=lambda: nullcontext(camera),
            on_open=lambda _: None,
            on_frame=self.on_frame,
        )

        def show(frame: Frame, views: tuple[TrackView, ...]) -> bool:
            return window is None or window.show(draw(frame.image, views, self.name_of))

        with self.noting([station]):
            station.run(max_seconds=self.arguments.max_seconds, stopped=self.stop, show=show)
        _print(self.context, station.summary, [("camera", camera.health)])
        result = {**station.summary.to_json(), "model": self.app.card.id, "camera": health_json(camera.health)}
        self.context.write_json(result)
        return EXIT_FAILURE if station.summary.failed else EXIT_OK

    def run_all(self, sections: Sequence[CameraSection]) -> int:
        """Run each camera in a thread of its own; one that fails stops no other."""
        events = self.stack.enter_context(EventLog(self.arguments.events))
        window = None if self.arguments.headless else self.stack.enter_context(Window())
        turn, saying = threading.Lock(), threading.Lock()
        stations = [self.station(section, events, turn, saying) for section in sections]
        pictures: dict[str, RGBImage] = {}
        with self.noting(stations):
            threads = [self.begin(station, pictures, is_shown=window is not None) for station in stations]
            while running := [thread for thread in threads if thread.is_alive()]:
                running[0].join(_WINDOW_S)
                # A camera without a picture yet has its tile, so that the window keeps its shape.
                shown = [pictures.get(station.camera_id, _NO_PICTURE) for station in stations]
                if window is not None and pictures and not window.show(tiled(shown)):
                    self.stop.close()
        return self.finish(stations)

    def begin(self, station: Station, pictures: dict[str, RGBImage], *, is_shown: bool) -> threading.Thread:
        """Start a camera's thread, which leaves its latest picture in ``pictures``."""

        def show(frame: Frame, views: tuple[TrackView, ...]) -> bool:
            if is_shown:
                pictures[station.camera_id] = draw(frame.image, views, self.name_of)
            return not self.stop()

        work = partial(station.run_beside_others, max_seconds=self.arguments.max_seconds, stopped=self.stop, show=show)
        thread = threading.Thread(target=work, name=f"camera-{station.camera_id}")
        thread.start()
        return thread

    def finish(self, stations: Sequence[Station]) -> int:
        """Tell what all cameras brought; where none could be opened, raise why the first could not."""
        faults = [station.error for station in stations if station.error is not None]
        if faults and all(station.never_opened for station in stations):
            raise faults[0]
        total = total_of([station.summary for station in stations])
        healths = [(f"camera {s.camera_id}", s.health) for s in stations if s.health is not None]
        _print(self.context, total, healths)
        for station in stations:
            if station.error is not None:
                self.context.say(f"camera {station.camera_id} failed: {station.error}")
        cameras = [station.to_json() for station in stations]
        self.context.write_json({**total.to_json(), "model": self.app.card.id, "cameras": cameras})
        return EXIT_FAILURE if faults or total.failed else EXIT_OK

    def station(
        self, section: CameraSection, events: EventLog, turn: threading.Lock, saying: threading.Lock
    ) -> Station:
        """One camera of several, opened by the thread that runs it."""
        start = self.start_of(section)

        def on_open(camera: Camera) -> None:
            with saying:
                self.context.say(f"{section.id}: {self.banner(camera, start)}")

        kiosk = self.kiosk(section, events, turn=turn, saying=saying)
        opener = partial(self.open, section, start)
        return Station(section.id, kiosk, open_camera=opener, on_open=on_open, on_frame=self.on_frame)

    @cached_property
    def follower(self) -> MirrorFollower:
        """The mirror, kept on disk where the ledger lies on a server that may be away."""
        settings = self.context.settings
        keeper = MirrorKeeper(kept_folder(settings), layers=plain(self.layers)) if is_on_server(settings) else None
        follower = self.app.follower(keeper=keeper)
        self.app.telemetry.follow(lambda: follower.health.age_s)
        return follower

    @cached_property
    def gallery(self) -> Gallery:
        """Who answers lookups; the mirror alone where the ledger cannot say whose the server's gallery is."""
        try:
            return self.app.live_gallery(self.follower)
        except LedgerUnavailableError as error:
            _log.warning("the mirror alone answers lookups until the next start, because: %s", error)
            return self.follower.mirror

    @contextmanager
    def noting(self, stations: Sequence[Station]) -> Iterator[None]:
        """Note this kiosk's health in the ledger meanwhile."""
        section, follower = self.context.settings.kiosk, self.follower

        def look() -> dict[str, Any]:
            people, templates = follower.mirror.counts()
            self.app.telemetry.gallery(people=people, templates=templates, revision=follower.revision)
            self.app.telemetry.ledger_up(not self.app.reaching_ledger.is_away)
            summaries = [station.summary for station in stations]
            return {
                "release": __version__,
                "card_id": self.app.card.id,
                "template_revision": follower.revision,
                "punches": sum(each.kinds[kind] for each in summaries for kind in (EventKind.PUNCH, EventKind.REPEAT)),
                "not_recorded": sum(each.not_recorded for each in summaries),
                "cameras": [station.note() for station in stations],
            }

        heartbeat = Heartbeat(
            self.app.reaching_ledger, section.name, run=uuid.uuid4().hex, look=look, now=_now, every_s=section.health_s
        )
        heartbeat.start()
        try:
            yield
        finally:
            heartbeat.stop()
            # Before the ledger is closed, which may have been opened after the follower was begun.
            follower.stop()

    def open(self, section: CameraSection, start: datetime | None) -> AbstractContextManager[Camera]:
        """Open a camera; SourceError where it cannot be."""
        return open_camera(
            self.source_of(section),
            camera_id=section.id,
            start=start,
            fps=self.arguments.fps,
            read_image=partial(_still, max_pixels=self.context.settings.enrol.max_pixels),
        )

    def source_of(self, section: CameraSection) -> str:
        """What a camera watches: the flag's, or the configured source."""
        source: str = section.source if self.arguments.source is None else self.arguments.source
        return source

    def start_of(self, section: CameraSection) -> datetime | None:
        """When a camera's recording begins."""
        return _start(self.arguments.start, self.source_of(section), self.app.place(section))

    def kiosk(
        self,
        section: CameraSection,
        events: EventLog,
        *,
        turn: threading.Lock | None = None,
        saying: AbstractContextManager[Any] | None = None,
    ) -> Kiosk:
        """The kiosk of one camera; ``turn`` is held while the networks work, ``saying`` while a line is printed."""

        def announce(event: Event, label: str) -> None:
            with nullcontext() if saying is None else saying:
                self.context.say(_line(event, label))

        return Kiosk(
            self.app.live_path(self.gallery, people=lambda: self.follower.people),
            self.app.reaching_ledger,
            directory=self.follower,
            place=self.app.place(section),
            card_id=self.app.card.id,
            events=events,
            identifiers=Identifiers(event_id=lambda: str(uuid_utils.uuid7()), now=_now, journal_id=uuid.uuid4().hex),
            announce=announce,
            turn=turn,
            telemetry=self.app.telemetry,
        )

    def on_frame(self, camera_id: str, dropped: int, waited_s: float) -> None:
        """Count a frame for Prometheus."""
        self.app.telemetry.frame(camera_id, dropped=dropped)
        self.app.telemetry.stage("camera", waited_s)

    def name_of(self, identity_id: str) -> str:
        """What the window shows for a person."""
        person = self.follower.people.get(identity_id)
        return identity_id if person is None else person.label

    def banner(self, camera: Camera, start: datetime | None) -> str:
        """The first line: what is watched, with which model, among how many people."""
        people, templates = self.follower.mirror.counts()
        rule = self.app.rule(self.follower.mirror)()
        begin = "" if start is None else f" from {format_utc(start)}"
        return (
            f"{camera.source}{begin}; {self.app.embedder.describe()}; {people} people, {templates} templates; "
            f"threshold {rule.threshold:.3f}, margin {rule.margin:.3f}"
        )


def _still(path: Path, *, max_pixels: int) -> RGBImage:
    """An image of a folder, by the decoder that enrolment uses (HEIC, 16 bit, turned), at its own size."""
    return read_photo(path, max_pixels=max_pixels).image


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


def _line(event: Event, label: str) -> str:
    similarity = "" if event.similarity is None else f" {event.similarity:.3f}"
    why = "" if event.reason == "match" else f" ({event.reason})"
    return f"{format_utc(event.observed_at)}  {event.kind:<9} {label}{similarity}{why}"


def _print(context: Context, summary: Summary, cameras: Sequence[tuple[str, Health]]) -> None:
    kinds: dict[str, Any] = summary.to_json()["events"]
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    context.say(f"{summary.frames} frames; {counts}; {summary.not_recorded} not recorded")
    if summary.events_lost:
        context.say(f"{summary.events_lost} events could not be written to the events file")
    for name, health in cameras:
        if health.last_error is not None:
            context.say(f"{name}: {health.state}, {health.reconnects} reconnects, last trouble: {health.last_error}")
