"""A run: cameras are opened and read, looked at and settled, each on threads of its own, and all of it ends in time.

    reader of camera 1 --\\
    reader of camera 2 ---> frame queues --> vision --> results --> ledger and events
    reader of camera n --/                      \\--> the newest pictures, for the caller's thread
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from attendance.errors import AttendanceError
from attendance.stream.frames import FrameQueues
from attendance.stream.results import Results
from attendance.stream.station import Station
from attendance.stream.vision import Effort, Lane, OnResult, Vision
from attendance.telemetry import Telemetry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, and how long is waited.

    ``results``: changes of tracks that wait for the ledger; beyond, they are lost. ``end_s``: seconds in which, at the
    end, the frame in work is finished and all results are settled; what is left then is lost. ``close_s``: seconds
    in which a camera must end its read, else it is left behind. ``look_s``: seconds between two looks of the caller's
    thread. ``max_seconds``: length of the run, by the cameras' clocks.
    """

    results: int = 1000
    end_s: float = 10.0
    close_s: float = 2.0
    look_s: float = 0.03
    max_seconds: float | None = None


class Stream:
    """All cameras of a process. `open` it, `run` it; leaving the ``with`` ends every thread that can be ended."""

    def __init__(
        self,
        stations: Sequence[Station],
        *,
        telemetry: Telemetry,
        limits: Limits | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """``prepare`` is called once by the thread that looks at frames, before the first."""
        self.stations = stations
        self.limits = Limits() if limits is None else limits
        self.frames = FrameQueues(len(stations))
        self.results = Results(bound=self.limits.results, on_fault=self._fail)
        self.effort = Effort()
        self.fault: Exception | None = None
        self._telemetry = telemetry
        self._prepare = prepare
        self._go = threading.Event()
        self._opened = threading.Semaphore(0)
        self._over = threading.Event()
        self._told: set[Station] = set()

    def open(self, *, stopped: Callable[[], bool] = lambda: False) -> None:
        """Open all cameras at once; return when one is open, or ``stopped`` says so.

        The others may follow. Raises the first camera's error when none can be opened.
        """
        for place, station in enumerate(self.stations):
            station.start(
                place,
                self.frames,
                on_open=self._opened.release,
                go=self._go,
                max_seconds=self.limits.max_seconds,
                telemetry=self._telemetry,
            )
        while not stopped() and not any(station.camera is not None for station in self.stations):
            errors = [station.error for station in self.stations]
            if errors[0] is not None and None not in errors:
                raise errors[0]
            self._opened.acquire(timeout=self.limits.look_s)

    def run(
        self,
        lanes: Sequence[Lane],
        *,
        attend: Callable[[], bool] = lambda: True,
        hurry: Callable[[], bool] = lambda: False,
        on_result: OnResult = lambda lane, frame, result: None,
    ) -> None:
        """Look at the frames of all lanes, one for each station, until they end or ``attend`` returns False.

        ``attend`` is called by this thread again and again. At the end every track is decided and every result
        settled, within ``limits.end_s`` (each of them, where the cameras ended by themselves); ``hurry`` ends that
        wait. What ended the run early is in ``fault``.
        """
        vision = Vision(
            lanes,
            self.frames,
            self.results,
            effort=self.effort,
            telemetry=self._telemetry,
            prepare=self._prepare,
            on_result=on_result,
            on_end=self._end,
        )
        self._watch_queues()
        self.results.start()
        vision.start()
        self._go.set()
        try:
            while not self._over.wait(self.limits.look_s) and attend():
                self._tell_errors()
        finally:
            is_over = self._over.is_set() and self.fault is None
            self.frames.close()
            self._settle(vision, hurry, is_over=is_over)
            self._tell_errors()

    def raise_fault(self) -> None:
        """Raise what ended the run early, as an error of ours where it was none; nothing where all went well."""
        if isinstance(self.fault, AttendanceError | BrokenPipeError):
            raise self.fault
        if self.fault is not None:
            raise AttendanceError(f"the run was ended by something unforeseen: {self.fault!r}") from self.fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.frames.close()
        self._go.set()
        deadline_s = time.monotonic() + self.limits.close_s
        for station in self.stations:
            station.join(deadline_s)

    def _settle(self, vision: Vision, hurry: Callable[[], bool], *, is_over: bool) -> None:
        began_s = time.monotonic()
        finished_s = began_s + self.limits.end_s / 2
        while not vision.join(min(finished_s, time.monotonic() + self.limits.look_s)):
            if time.monotonic() >= finished_s or hurry():
                self._fail(AttendanceError("the frame in work was not finished in time: look at the processor's load"))
                break
        left_s = max(began_s + self.limits.end_s - time.monotonic(), 0.0)
        # Who waits for a recording's end waits for its results too, as long as there are any.
        self.results.drain(left_s, patient=is_over, hurry=hurry)

    def _tell_errors(self) -> None:
        for station in self.stations:
            if station.error is not None and station not in self._told:
                self._told.add(station)
                logger.error("camera %s does not run: %s", station.camera_id, station.error)

    def _end(self, fault: Exception | None) -> None:
        if fault is not None:
            self._fail(fault)
        self._over.set()

    def _fail(self, fault: Exception) -> None:
        """Keep the first fault, and end the run."""
        if self.fault is None:
            self.fault = fault
            if not isinstance(fault, AttendanceError | BrokenPipeError):
                logger.error("something unforeseen ends the run", exc_info=fault)
        self.frames.close()

    def _watch_queues(self) -> None:
        for place, station in enumerate(self.stations):
            self._telemetry.queue(
                "frames",
                station.camera_id,
                depth=partial(self.frames.depth, place),
                bound=partial(self.frames.bound, place),
            )
        self._telemetry.queue("results", "", depth=lambda: self.results.depth, bound=lambda: self.results.bound)
