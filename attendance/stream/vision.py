"""The one thread that looks at frames: of every camera that has one waiting, one frame a round."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from attendance.kiosk import Kiosk, Sighting
from attendance.pipeline import CameraPath, FrameResult, TrackChange, TrackView, process_together
from attendance.stream.frames import Captured, FrameQueues
from attendance.stream.results import Results
from attendance.stream.station import Station
from attendance.telemetry import Telemetry
from attendance.types import Frame

logger = logging.getLogger(__name__)

OnResult = Callable[["Lane", Frame, FrameResult], None]
"""Told, by the vision thread, of every frame that was looked at and what was seen in it."""

_TRACKS_REMEMBERED = 1000


@dataclass(slots=True, eq=False)
class Effort:
    """What vision did so far: rounds, frames in them, and seconds in which it did not wait for a frame."""

    rounds: int = 0
    frames: int = 0
    busy_s: float = 0.0


@dataclass(slots=True, eq=False)
class Lane:
    """A camera with its path and its kiosk."""

    station: Station
    path: CameraPath
    kiosk: Kiosk
    is_finished: bool = False
    _seen_since: dict[int, float] = field(default_factory=dict)

    def sightings(self, captured: Captured, result: FrameResult) -> list[Sighting]:
        """The changes that a frame brought, each with the moment at which its track came into view."""
        self._note(result.views, captured.captured_s)
        return self._sightings(result.changes, captured.captured_s)

    def finish(self) -> list[Sighting]:
        """End every track; nothing the second time."""
        if self.is_finished:
            return []
        self.is_finished = True
        return self._sightings(self.path.finish(), time.monotonic())

    def _note(self, views: Sequence[TrackView], captured_s: float) -> None:
        for view in views:
            self._seen_since.setdefault(view.track_id, captured_s)
        while len(self._seen_since) > _TRACKS_REMEMBERED:
            del self._seen_since[next(iter(self._seen_since))]

    def _sightings(self, changes: Sequence[TrackChange], captured_s: float) -> list[Sighting]:
        return [
            Sighting(each, first_seen_s=self._seen_since.get(each.track_id, captured_s), captured_s=captured_s)
            for each in changes
        ]


class Vision:
    """Takes the frames of all lanes in turn, and leaves what changed with ``results``."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        frames: FrameQueues,
        results: Results,
        *,
        effort: Effort,
        telemetry: Telemetry,
        prepare: Callable[[], None],
        on_result: OnResult,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        """``prepare`` is called by the thread before its first frame, ``on_end`` after its last with what ended it.

        ``effort`` is kept up by the thread.
        """
        self._lanes, self._frames, self._results = lanes, frames, results
        self._telemetry, self._effort = telemetry, effort
        self._prepare, self._on_result, self._on_end = prepare, on_result, on_end
        self._thread = threading.Thread(target=self._work, name="vision", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def join(self, until_s: float) -> bool:
        """Wait for the thread to this moment of `time.monotonic`; whether it has ended."""
        self._thread.join(max(until_s - time.monotonic(), 0.0))
        return not self._thread.is_alive()

    def _work(self) -> None:
        fault: Exception | None = None
        try:
            self._prepare()
            while (turn := self._frames.take()) is not None:
                began_s = time.perf_counter()
                self._look(turn.frames)
                for place in turn.ended:
                    self._finish(self._lanes[place])
                self._effort.rounds += bool(turn.frames)
                self._effort.frames += len(turn.frames)
                self._effort.busy_s += time.perf_counter() - began_s
            for lane in self._lanes:
                self._finish(lane)
        except Exception as error:
            logger.debug("vision ends early", exc_info=True)
            fault = error
        finally:
            self._on_end(fault)

    def _look(self, taken: Sequence[tuple[int, Captured]]) -> None:
        if not taken:
            return
        lanes = [self._lanes[place] for place, _ in taken]
        found = process_together(
            [(lane.path, captured.frame) for lane, (_, captured) in zip(lanes, taken, strict=True)]
        )
        for lane, (_, captured), result in zip(lanes, taken, found, strict=True):
            lane.kiosk.note_frame(captured.frame)
            self._telemetry.frame(lane.station.camera_id, dropped=captured.dropped)
            for sighting in lane.sightings(captured, result):
                self._results.put(lane.kiosk, sighting)
            self._on_result(lane, captured.frame, result)

    def _finish(self, lane: Lane) -> None:
        for sighting in lane.finish():
            self._results.put(lane.kiosk, sighting)
