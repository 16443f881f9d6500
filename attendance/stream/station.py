"""One camera of a running kiosk: opened, read and closed by one thread, which nobody waits for."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from attendance.camera import Camera, Health
from attendance.errors import AttendanceError
from attendance.stream.frames import Captured, FrameQueues
from attendance.telemetry import Telemetry
from attendance.types import Frame

logger = logging.getLogger(__name__)


class Station:
    """A camera and the thread that reads it. A failure is kept in ``error``, and ends nobody else's work."""

    def __init__(self, camera_id: str, open_camera: Callable[[], AbstractContextManager[Camera]]) -> None:
        """``open_camera`` opens the camera, or raises; the reading thread calls it."""
        self.camera_id = camera_id
        self.camera: Camera | None = None
        self.error: AttendanceError | None = None
        self._open_camera = open_camera
        self._replaced: Callable[[], int] = lambda: 0
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> Health | None:
        """The camera's health, None before it was opened; ``dropped`` counts the frames overtaken anywhere."""
        if self.camera is None:
            return None
        health = self.camera.health
        return replace(health, dropped=health.dropped + self._replaced())

    @property
    def is_reading(self) -> bool:
        """Whether the thread still lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(
        self,
        place: int,
        frames: FrameQueues,
        *,
        on_open: Callable[[], None],
        go: threading.Event,
        max_seconds: float | None,
        telemetry: Telemetry,
    ) -> None:
        """Open the camera, and read it into the queue at ``place`` once ``go`` is set, until ``frames`` is closed.

        ``on_open`` is called when the camera is open or cannot be. ``max_seconds`` are of the camera's own clock, and
        of the wall's where it is live.
        """
        self._replaced = lambda: frames.replaced(place)

        def work() -> None:
            try:
                with self._open_camera() as camera:
                    self.camera = camera
                    on_open()
                    go.wait()
                    for captured in self._captured(camera, max_seconds, frames, telemetry):
                        if not frames.put(place, captured, is_live=camera.is_live):
                            break
            except AttendanceError as error:
                self.error = error
            except Exception as error:
                logger.exception("camera %s ended by something unforeseen", self.camera_id)
                self.error = AttendanceError(f"camera {self.camera_id} ended by something unforeseen: {error}")
            finally:
                frames.end(place)
                on_open()

        # A read that never returns must not keep the process alive.
        self._thread = threading.Thread(target=work, name=f"read-{self.camera_id}", daemon=True)
        self._thread.start()

    def join(self, deadline_s: float) -> None:
        """Wait for the thread until this moment of `time.monotonic`; one that hangs is left behind with a warning."""
        if self._thread is None:
            return
        self._thread.join(max(deadline_s - time.monotonic(), 0.0))
        if self._thread.is_alive():
            logger.warning("camera %s: a read does not return and is left behind", self.camera_id)

    def _captured(
        self, camera: Camera, max_seconds: float | None, frames: FrameQueues, telemetry: Telemetry
    ) -> Iterator[Captured]:
        dropped, asked_s = 0, time.monotonic()
        for frame in _frames(camera, max_seconds, lambda: frames.is_closed):
            now, now_s = camera.health.dropped, time.monotonic()
            telemetry.stage("camera", now_s - asked_s)
            yield Captured(frame, now_s, now - dropped)
            dropped, asked_s = now, time.monotonic()


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
