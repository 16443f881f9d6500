"""A kiosk of several cameras in one process, of which each part can be made to fail or to hang."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from attendance.camera import Camera, CameraState, Health
from attendance.decide import Rule
from attendance.detect.port import Detector
from attendance.events import Event, EventLog
from attendance.kiosk import Identifiers, Kiosk, Place, Summary
from attendance.ledger.port import Recorded
from attendance.ledger.sqlite import SqliteLedger
from attendance.pipeline import FaceReader, FrameResult, LivePath
from attendance.search.exact import ExactGallery
from attendance.stream import Lane, Limits, Station, Stream
from attendance.telemetry import Telemetry
from attendance.track import Tracker
from attendance.types import Direction, Face, Frame, GalleryEntry, Person, Punch, RGBImage
from tests.fakes import GREEN, RED, ColourEmbedder, PatchDetector, at, person, picture

Colour = tuple[int, int, int]


def passing(*colours: Colour | None, camera_id: str = "a") -> list[Frame]:
    """Eight frames with a face of each colour, one after the other a minute apart; None is nobody."""
    images: list[tuple[RGBImage, float]] = [
        (picture() if colour is None else picture((colour, (20 + 8 * i, 60, 80))), 60.0 * number + 0.1 * i)
        for number, colour in enumerate(colours)
        for i in range(8)
    ]
    return [Frame(image, at(seconds), index, camera_id) for index, (image, seconds) in enumerate(images)]


class Played(Camera):
    """The given frames, as a recording or as a live camera. ``before`` is called with each frame's number."""

    def __init__(
        self, frames: Sequence[Frame], *, is_live: bool = False, before: Callable[[int], None] = lambda index: None
    ) -> None:
        super().__init__(camera_id=frames[0].camera_id if frames else "a", source="code", is_live=is_live)
        self._frames = list(frames)
        self._before = before
        self._given = 0
        self._is_closed = False

    @property
    def health(self) -> Health:
        over = self._is_closed or self._given == len(self._frames)
        return Health(CameraState.ENDED if over else CameraState.LIVE, frames=self._given)

    def next_frame(self, timeout_s: float) -> Frame | None:
        self._before(self._given)
        if self.health.state is CameraState.ENDED:
            return None
        self._given += 1
        return self._frames[self._given - 1]

    def close(self) -> None:
        self._is_closed = True


class Endless(Played):
    """The frames again and again."""

    def next_frame(self, timeout_s: float) -> Frame | None:
        self._before(self._given)
        if self._is_closed:
            return None
        self._given += 1
        return self._frames[self._given % len(self._frames)]

    @property
    def health(self) -> Health:
        return Health(CameraState.ENDED if self._is_closed else CameraState.LIVE, frames=self._given)


class WatchedDetector(PatchDetector):
    """``before`` is called before each search for faces."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        self._before()
        return super().detect(images)


class WatchedLedger(SqliteLedger):
    """``before`` is called before each punch."""

    before: Callable[[], None] = staticmethod(lambda: None)

    def record(self, punch: Punch) -> Recorded:
        self.before()
        return super().record(punch)


class Everybody:
    """A directory that stands still."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self.people = people
        self.revision = 1


class Site:
    """What the cameras of a test share, and the run itself."""

    def __init__(self, folder: Path) -> None:
        self.people = MappingProxyType({"red": person("red", RED), "green": person("green", GREEN)})
        zones = {"main": ZoneInfo("UTC")}
        self.ledger = WatchedLedger(folder / "ledger.sqlite", cooldown_s=1.0, time_zones=zones)
        for one in self.people.values():
            self.ledger.insert_person(one)
        self.gallery = ExactGallery("colours", 8)
        templates = [(who, template) for who, one in self.people.items() for template in one.templates]
        self.gallery.upsert([GalleryEntry(t.template_id, who, t.vector) for who, t in templates])
        self.events = EventLog(folder / "events.jsonl")
        self.events_path = folder / "events.jsonl"
        self.detector: Detector = PatchDetector()
        self.telemetry = Telemetry()
        self.said: list[str] = []
        self.announced: Callable[[], None] = lambda: None
        self.limits = Limits(look_s=0.001)
        self.hanging = threading.Event()
        self.stream: Stream | None = None

    def hang(self) -> None:
        """Until the test is over."""
        self.hanging.wait()

    def kiosk(self, camera_id: str) -> Kiosk:
        numbers = itertools.count(1)

        def announce(event: Event, label: str) -> None:
            self.announced()
            self.said.append(f"{event.camera_id} {event.kind} {label}")

        def now() -> datetime:
            return at(9999)

        return Kiosk(
            self.ledger,
            directory=Everybody(self.people),
            place=Place(camera_id, "main", Direction.IN, ZoneInfo("UTC")),
            card_id="colours",
            events=self.events,
            identifiers=Identifiers(lambda: f"{camera_id}-{next(numbers)}", now, camera_id),
            announce=announce,
            telemetry=self.telemetry,
        )

    def path(self) -> LivePath:
        reader = FaceReader(self.detector, ColourEmbedder(), timed=self.telemetry.timed)
        rule = Rule(0.95, 0.02)
        return LivePath(reader, self.gallery, rule=lambda: rule, tracker=Tracker(), min_frames=3, max_frames=5)

    def run(
        self,
        cameras: Mapping[str, Camera | Callable[[], AbstractContextManager[Camera]]],
        *,
        attend: Callable[[], bool] = lambda: True,
        hurry: Callable[[], bool] = lambda: False,
        on_result: Callable[[Lane, Frame, FrameResult], None] = lambda lane, frame, result: None,
    ) -> dict[str, Summary]:
        """Run the cameras to the end; the summary of each."""
        stations = [
            Station(name, (lambda camera=camera: nullcontext(camera)) if isinstance(camera, Camera) else camera)  # type: ignore[misc]
            for name, camera in cameras.items()
        ]
        self.stream = Stream(stations, telemetry=self.telemetry, limits=self.limits)
        with self.stream:
            self.stream.open()
            lanes = [Lane(station, self.path(), self.kiosk(station.camera_id)) for station in stations]
            self.stream.run(lanes, attend=attend, hurry=hurry, on_result=on_result)
        return {lane.station.camera_id: lane.kiosk.summary for lane in lanes}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.ledger, made.events:
        try:
            yield made
        finally:
            made.hanging.set()
            assert made.stream is None or made.stream.results.drain(math.inf)
