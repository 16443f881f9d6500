"""``realtime_attendance.py``: cameras, their tracks, their punches."""

from __future__ import annotations

import argparse
import logging
import math
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from types import FrameType
from typing import Any

import uuid_utils

from attendance import __version__
from attendance.app import App
from attendance.camera import Camera, Health, open_camera, source_kind
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, AppFactory, Context, new_parser, run
from attendance.cli.configured import KIOSK_TIMEOUT_S, is_on_server, kept_folder, kiosk_context, plain
from attendance.cli.recognising import Directory, Recognising, path_of, turner_of
from attendance.cli.screen import Screen
from attendance.cli.station import Stop, health_json, lane_json, note_of, total_of
from attendance.config import CameraSection, Layer
from attendance.errors import SourceError, UsageError
from attendance.events import Event, EventLog, format_utc
from attendance.heartbeat import Heartbeat
from attendance.images import read_photo
from attendance.kept_mirror import MirrorKeeper
from attendance.kiosk import Identifiers, Kiosk, Place, Summary
from attendance.mirror import MirrorFollower
from attendance.stream import Lane, Limits, Station, Stats, Stream
from attendance.swap import Turner
from attendance.types import EventKind, RGBImage
from attendance.window import Window

_log = logging.getLogger(__name__)

_LOOK_S = 0.03
_STATS_S = 5.0


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
    parser.add_argument("--stats", action="store_true", help="print rates, times and queues every few seconds")
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
        return programme.run(sections)


@dataclass(eq=False)
class _Programme:
    """One run of one camera or of several: what they share, made in ``stack`` when it is first asked for."""

    arguments: argparse.Namespace
    context: Context
    app: App
    layers: tuple[Layer, ...]
    stop: Stop
    stack: ExitStack
    began_at: datetime = field(default_factory=lambda: _now())
    saying: threading.Lock = field(default_factory=threading.Lock)
    introduced: set[str] = field(default_factory=set)

    def run(self, sections: Sequence[CameraSection]) -> int:
        """Run all cameras; what is wrong with all of them is told before anything is loaded."""
        stations = [Station(section.id, partial(self.open, section)) for section in sections]
        stream = Stream(stations, telemetry=self.app.telemetry, limits=self.limits, prepare=self.app.share_processor)
        # A live camera's frames would grow old meanwhile; what is wrong with a file is told before anything is loaded.
        is_live = any(_is_live(self.source_of(section)) for section in sections)
        warm_up_s = self.warm_up() if is_live else None
        with stream:
            stream.open(stopped=self.stop)
            warm_up_s = self.warm_up() if warm_up_s is None else warm_up_s
            events = self.stack.enter_context(EventLog(self.arguments.events))
            window = None if self.arguments.headless else self.stack.enter_context(Window())
            lanes = [
                Lane(
                    station,
                    path_of(self.turner),
                    self.kiosk(section, events),
                )
                for station, section in zip(stations, sections, strict=True)
            ]
            screen = Screen(lanes, window, name_of=self.name_of)
            self.introduce(sections, stations)
            stats = Stats(stream, lanes, self.app.telemetry, warm_up_s=warm_up_s)

            def attend() -> bool:
                self.introduce(sections, stations)
                if self.arguments.stats and stats.age_s >= _STATS_S:
                    self.say_stats(stats)
                if not screen.show():
                    self.stop.close()
                return not self.stop()

            with self.noting(lanes):
                stream.run(lanes, attend=attend, hurry=lambda: self.stop.is_urgent, on_result=screen.note)
        self.introduce(sections, stations)
        if self.arguments.stats:
            self.say_stats(stats)
        code = self.finish(lanes, stats)
        stream.raise_fault()
        return code

    def warm_up(self) -> float:
        """Do a first frame's work before there is one, on as many threads as vision has; its seconds."""
        self.app.share_processor()
        return self.turner.current.app.warm_up()

    @property
    def limits(self) -> Limits:
        """How much may wait, and how long is waited."""
        section = self.context.settings.kiosk
        return Limits(
            results=section.most_waiting, end_s=section.end_s, look_s=_LOOK_S, max_seconds=self.arguments.max_seconds
        )

    def finish(self, lanes: Sequence[Lane], stats: Stats) -> int:
        """Tell what all cameras brought; the exit code."""
        total, several = total_of([lane.kiosk.summary for lane in lanes]), len(lanes) > 1
        _print(self.context, total, [
            (f"camera {lane.station.camera_id}" if several else "camera", health)
            for lane in lanes if (health := lane.station.health) is not None
        ])  # fmt: skip
        failed = [lane.station for lane in lanes if lane.station.error is not None]
        for station in failed:
            self.context.say(f"camera {station.camera_id} failed: {station.error}")
        cameras = (
            {"cameras": [lane_json(lane) for lane in lanes]}
            if several
            else {"camera": health_json(lanes[0].station.health)}
        )
        result = {**total.to_json(), "model": self.turner.current.app.card.id, **cameras, "stats": stats.to_json()}
        self.context.write_json(result)
        return EXIT_FAILURE if failed or total.failed else EXIT_OK

    def introduce(self, sections: Sequence[CameraSection], stations: Sequence[Station]) -> None:
        """Say of each camera that is open by now what it is, once."""
        for section, station in zip(sections, stations, strict=True):
            if station.camera is not None and section.id not in self.introduced:
                self.introduced.add(section.id)
                prefix = f"{section.id}: " if len(sections) > 1 else ""
                self.say(prefix + self.banner(station.camera, self.start_of(section)))

    def say(self, text: str) -> None:
        """Print a line for a person; lines come from two threads."""
        with self.saying:
            self.context.say(text)

    def say_stats(self, stats: Stats) -> None:
        """Print the figures as they are now."""
        with self.saying:
            print(stats.table(), file=sys.stderr, flush=True)

    @cached_property
    def turner(self) -> Turner[Recognising]:
        """What recognises; its mirror is kept on disk where the ledger lies on a server that may be away."""
        settings = self.context.settings
        keeper = MirrorKeeper(kept_folder(settings), layers=plain(self.layers)) if is_on_server(settings) else None
        turner = turner_of(self.app, keeper=keeper, tell=self.say)
        self.app.telemetry.follow(lambda: turner.current.follower.health.age_s)
        return turner

    @property
    def follower(self) -> MirrorFollower:
        """Who follows the ledger at present."""
        return self.turner.current.follower

    @contextmanager
    def noting(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Note this kiosk's health in the ledger meanwhile."""
        section, turner = self.context.settings.kiosk, self.turner

        def look() -> dict[str, Any]:
            follower = turner.current.follower
            people, templates = follower.mirror.counts()
            self.app.telemetry.gallery(people=people, templates=templates, revision=follower.revision)
            self.app.telemetry.ledger_up(not self.app.reaching_ledger.is_away)
            summaries = [lane.kiosk.summary for lane in lanes]
            return {
                "release": __version__,
                "card_id": turner.current.app.card.id,
                "template_revision": follower.revision,
                "punches": sum(each.kinds[kind] for each in summaries for kind in (EventKind.PUNCH, EventKind.REPEAT)),
                "not_recorded": sum(each.not_recorded for each in summaries),
                "cameras": [note_of(lane.station) for lane in lanes],
            }

        heartbeat = Heartbeat(
            self.app.reaching_ledger, section.name, run=uuid.uuid4().hex, look=look, now=_now, every_s=section.health_s
        )
        heartbeat.start()
        turner.start()
        try:
            yield
        finally:
            heartbeat.stop()
            # Before the ledger is closed, which may have been opened after the follower was begun.
            turner.stop()

    def open(self, section: CameraSection) -> AbstractContextManager[Camera]:
        """Open a camera; SourceError where it cannot be."""
        return open_camera(
            self.source_of(section),
            camera_id=section.id,
            start=self.start_of(section),
            fps=self.arguments.fps,
            read_image=partial(_still, max_pixels=self.context.settings.enrol.max_pixels),
        )

    def source_of(self, section: CameraSection) -> str:
        """What a camera watches: the flag's, or the configured source."""
        source: str = section.source if self.arguments.source is None else self.arguments.source
        return source

    def start_of(self, section: CameraSection) -> datetime | None:
        """When a camera's recording begins, now unless said; None of a live source."""
        text = self.arguments.start
        if text is None:
            return None if source_kind(self.source_of(section)).is_live else self.began_at
        return _moment(text, self.app.place(section))

    def kiosk(self, section: CameraSection, events: EventLog) -> Kiosk:
        """The kiosk of one camera."""
        return Kiosk(
            self.app.reaching_ledger,
            directory=Directory(self.turner),
            place=self.app.place(section),
            card_id=self.app.card.id,
            events=events,
            identifiers=Identifiers(event_id=lambda: str(uuid_utils.uuid7()), now=_now, journal_id=uuid.uuid4().hex),
            announce=lambda event, label: self.say(_line(event, label)),
            telemetry=self.app.telemetry,
        )

    def name_of(self, identity_id: str) -> str:
        """What the window shows for a person."""
        person = self.follower.people.get(identity_id)
        return identity_id if person is None else person.label

    def banner(self, camera: Camera, start: datetime | None) -> str:
        """The first line: what is watched, with which model, among how many people."""
        people, templates = self.follower.mirror.counts()
        app = self.turner.current.app
        rule = app.rule(self.follower.mirror)()
        begin = "" if start is None else f" from {format_utc(start)}"
        return (
            f"{camera.source}{begin}; {app.protected_embedder.describe()}; {people} people, {templates} templates; "
            f"threshold {rule.threshold:.3f}, margin {rule.margin:.3f}"
        )


def _still(path: Path, *, max_pixels: int) -> RGBImage:
    """An image of a folder, by the decoder that enrolment uses (HEIC, 16 bit, turned), at its own size."""
    return read_photo(path, max_pixels=max_pixels).image


def _is_live(source: str) -> bool:
    """Whether frames go by unseen until they are read; a source that cannot be opened says so when it is opened."""
    try:
        return source_kind(source).is_live
    except SourceError:
        return False


def _moment(text: str, place: Place) -> datetime:
    """What ``--start`` says; a time without an offset is the site's."""
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
