"""One camera of a running kiosk: opened, watched and closed by one thread."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from attendance.camera import Camera, Health
from attendance.errors import AttendanceError
from attendance.events import format_utc
from attendance.kiosk import Kiosk, Summary
from attendance.pipeline import TrackView
from attendance.types import Frame

logger = logging.getLogger(__name__)

Show = Callable[[Frame, tuple[TrackView, ...]], bool]


class Station:
    """A camera with its kiosk. ``open_camera`` opens it; ``on_open`` is told of it before its first frame."""

    def __init__(
        self,
        camera_id: str,
        kiosk: Kiosk,
        *,
        open_camera: Callable[[], AbstractContextManager[Camera]],
        on_open: Callable[[Camera], None],
        on_frame: Callable[[str, int, float], None] = lambda camera_id, dropped, waited_s: None,
    ) -> None:
        """``on_frame`` is told of each frame taken: the camera's id, how many were dropped before it, and the
        seconds that were waited for it.
        """
        self.camera_id = camera_id
        self._kiosk = kiosk
        self._open_camera = open_camera
        self._on_open, self._on_frame = on_open, on_frame
        self._camera: Camera | None = None
        self.error: AttendanceError | None = None

    @property
    def summary(self) -> Summary:
        """What it brought so far."""
        return self._kiosk.summary

    @property
    def health(self) -> Health | None:
        """The camera's health, None before it was opened."""
        return None if self._camera is None else self._camera.health

    @property
    def never_opened(self) -> bool:
        """Whether the camera could not be opened."""
        return self._camera is None

    def run(self, *, max_seconds: float | None, stopped: Callable[[], bool], show: Show) -> None:
        """Watch the camera until it ends, ``stopped`` says so, or ``show`` returns False.

        Raises what opening raises.
        """
        with self._open_camera() as camera:
            self._camera = camera
            self._on_open(camera)
            self._kiosk.run(self._counted(_frames(camera, max_seconds, stopped), camera), show=show)

    def _counted(self, frames: Iterator[Frame], camera: Camera) -> Iterator[Frame]:
        dropped, asked_at = 0, time.monotonic()
        for frame in frames:
            now = camera.health.dropped
            self._on_frame(self.camera_id, now - dropped, time.monotonic() - asked_at)
            dropped = now
            yield frame
            asked_at = time.monotonic()

    def run_beside_others(self, *, max_seconds: float | None, stopped: Callable[[], bool], show: Show) -> None:
        """As `run`, but a failure is logged and kept in ``error``, and ends nobody else's work."""
        try:
            self.run(max_seconds=max_seconds, stopped=stopped, show=show)
        except AttendanceError as error:
            logger.error("camera %s does not run: %s", self.camera_id, error)
            self.error = error
        except Exception as error:
            logger.exception("camera %s ended by something unforeseen", self.camera_id)
            self.error = AttendanceError(f"camera {self.camera_id} ended by something unforeseen: {error}")

    def note(self) -> dict[str, Any]:
        """The camera as the kiosk's health document holds it."""
        health = self.health
        state = "failed" if self.error is not None else "connecting" if health is None else str(health.state)
        return {
            "id": self.camera_id,
            "state": state,
            "frames": 0 if health is None else health.frames,
            "dropped": 0 if health is None else health.dropped,
            "reconnects": 0 if health is None else health.reconnects,
            "last_frame_at": None if health is None else health.last_frame_at,
        }

    def to_json(self) -> dict[str, Any]:
        """Summary, health and failure as JSON values."""
        health = self.health
        return {
            "camera_id": self.camera_id,
            **self.summary.to_json(),
            "camera": None if health is None else health_json(health),
            "error": None if self.error is None else str(self.error),
        }


class Stop:
    """Why all cameras are to stop: a signal (their numbers are noted in ``signals``), or the window was closed."""

    def __init__(self, signals: list[int]) -> None:
        self._signals = signals
        self._closed = threading.Event()

    def __call__(self) -> bool:
        return bool(self._signals) or self._closed.is_set()

    def close(self) -> None:
        """The window was closed."""
        self._closed.set()


def total_of(summaries: list[Summary]) -> Summary:
    """The summaries of several cameras as one."""
    total = Summary()
    for each in summaries:
        total.frames += each.frames
        total.kinds.update(each.kinds)
        total.reasons.update(each.reasons)
        total.recorded += each.recorded
        total.not_recorded += each.not_recorded
        total.events_lost += each.events_lost
    total.recorded.sort(key=lambda one: one[1])
    total.first_frame_at = min((s.first_frame_at for s in summaries if s.first_frame_at is not None), default=None)
    total.last_frame_at = max((s.last_frame_at for s in summaries if s.last_frame_at is not None), default=None)
    return total


def health_json(health: Health) -> dict[str, Any]:
    """The camera's health as JSON values."""
    last = health.last_frame_at
    return {**asdict(health), "state": str(health.state), "last_frame_at": None if last is None else format_utc(last)}


def _frames(camera: Camera, max_seconds: float | None, stopped: Callable[[], bool]) -> Iterator[Frame]:
    """The camera's frames until stopped, or for ``max_seconds`` of its own clock (and the wall's, if it is live)."""
    limit = math.inf if max_seconds is None else max_seconds
    began = time.monotonic()
    first: datetime | None = None

    def keep_going() -> bool:
        return not stopped() and not (camera.is_live and time.monotonic() - began >= limit)

    for frame in camera.frames(keep_going=keep_going):
        first = frame.observed_at if first is None else first
        if (frame.observed_at - first).total_seconds() >= limit:
            return
        yield frame
