"""Live sources: a reader thread, the newest frame wins, and a lost or silent connection is made anew.

A read that never returns cannot be stopped from outside. So every connection has a thread of its own, which is left
behind when it has been silent for too long, and closing waits for none of them longer than a moment.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from attendance.camera.base import Camera, CameraState, Health
from attendance.camera.capture import Capture
from attendance.errors import SourceError
from attendance.types import Frame, RGBImage

_log = logging.getLogger(__name__)

# Readers that hang at once; while there are so many, no further connection is tried.
_MAX_HANGING = 3
_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How patient a live camera is, in seconds.

    ``open_timeout_s`` and ``read_timeout_s`` are told to the decoder. A connection that brings no frame for
    ``stall_after_s``, or no first one within the sum of the timeouts, is given up. Waits between connections double
    from ``backoff_first_s`` to ``backoff_max_s`` until a frame comes.
    """

    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    stall_after_s: float = 8.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    close_wait_s: float = 1.0


@dataclass(slots=True, eq=False)
class _Connection:
    """One attempt: written by its reader, judged by the supervisor, both under the camera's lock."""

    last_sign_s: float
    frames: int = 0
    is_done: bool = False
    is_abandoned: bool = False
    error: str = "no frame came"


def utc_now() -> datetime:
    """The present moment, aware UTC."""
    return datetime.now(UTC)


class LiveCamera(Camera):
    """A webcam or stream. `start` it before use."""

    def __init__(
        self,
        connect: Callable[[], Capture],
        *,
        camera_id: str,
        source: str,
        options: LiveOptions,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``connect`` opens the source anew or raises SourceError; ``now`` stamps each frame when it was read."""
        super().__init__(camera_id=camera_id, source=source, is_live=True)
        self._connect = connect
        self._options = options
        self._now = now
        # The default lock is re-entrant, so a signal handler may close the camera it has interrupted.
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._connections: list[_Connection] = []
        self._state = CameraState.CONNECTING
        self._latest: Frame | None = None
        self._frames = self._dropped = self._reconnects = 0
        self._last_frame_at: datetime | None = None
        self._last_error: str | None = None

    @property
    def health(self) -> Health:
        with self._changed:
            return Health(
                self._state,
                frames=self._frames,
                dropped=self._dropped,
                reconnects=self._reconnects,
                last_frame_at=self._last_frame_at,
                last_error=self._last_error,
            )

    def start(self) -> None:
        """Connect, and wait for the first frame. Raises SourceError when none comes; later losses are mended."""
        atexit.register(self._await_readers)
        self._run(self._supervise)
        with self._changed:
            self._changed.wait_for(lambda: self._frames > 0 or self._state is CameraState.ENDED)
            failed = self._frames == 0
            error = self._last_error
        if failed:
            self.close()
            raise SourceError(f"cannot open {self.source}: {error}")

    def next_frame(self, timeout_s: float) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._latest is not None or self._state is CameraState.ENDED, timeout_s)
            frame, self._latest = self._latest, None
            return frame

    def close(self) -> None:
        self._end()
        if self._join(self._options.close_wait_s):
            atexit.unregister(self._await_readers)
        else:
            _log.warning("camera %s: a read does not return and is left behind", self.camera_id)

    def _end(self) -> None:
        with self._changed:
            self._state = CameraState.ENDED
            self._latest = None
            self._changed.notify_all()

    def _join(self, timeout_s: float) -> bool:
        """Wait for every thread but this one; whether all have ended."""
        with self._changed:
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)

    def _await_readers(self) -> None:
        """Let the decoder's own timeouts pass before the interpreter goes.

        A thread that comes back from C++ while Python shuts down is unwound by force, which aborts the process.
        """
        self._end()
        self._join(max(self._options.open_timeout_s, self._options.read_timeout_s) + 1.0)

    def _run(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"camera-{self.camera_id}", daemon=True)
        with self._changed:
            thread.start()
            self._threads = [*(other for other in self._threads if other.is_alive()), thread]

    def _supervise(self) -> None:
        """Keep one connection going until the camera is closed, or until the first attempt fails."""
        failures = 0
        while True:
            connection = self._begin()
            if connection is None or not self._watch(connection):
                return
            with self._changed:
                if self._frames == 0:
                    self._state = CameraState.ENDED
                    self._changed.notify_all()
                    return
                failures = 0 if connection.frames else failures + 1
                if not self._pause(failures):
                    return
                self._reconnects += 1

    def _begin(self) -> _Connection | None:
        """Start a reader as soon as not too many hang; None when the camera was closed meanwhile."""
        connection = _Connection(time.monotonic())
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed() or self._hanging() < _MAX_HANGING)
            if self._is_closed():
                return None
            self._state = CameraState.CONNECTING
            connection.last_sign_s = time.monotonic()
            self._connections.append(connection)
        self._run(lambda: self._read(connection))
        return connection

    def _hanging(self) -> int:
        self._connections = [connection for connection in self._connections if not connection.is_done]
        return len(self._connections)

    def _is_closed(self) -> bool:
        return self._state is CameraState.ENDED

    def _watch(self, connection: _Connection) -> bool:
        """Wait until a connection is lost or silent, and give it up; False when the camera was closed."""
        options = self._options
        with self._changed:
            while not connection.is_done and not self._is_closed():
                patience = (
                    options.stall_after_s if connection.frames else options.open_timeout_s + options.read_timeout_s
                )
                left = connection.last_sign_s + patience - time.monotonic()
                if left <= 0:
                    connection.error = f"no frame for {patience:g} s"
                    break
                self._changed.wait(left)
            connection.is_abandoned = True
            if self._is_closed():
                return False
            self._state = CameraState.STALLED
            self._last_error = connection.error
            # A camera that never was live is reported by the error of `start`, and a long outage only once.
            level = logging.WARNING if connection.frames else logging.DEBUG
            _log.log(level, "camera %s: %s: %s", self.camera_id, self.source, connection.error)
            return True

    def _pause(self, failures: int) -> bool:
        """Wait before the next attempt; False when the camera was closed. The lock is held, and released meanwhile."""
        options = self._options
        delay_s = min(options.backoff_first_s * 2.0 ** min(failures, _MAX_DOUBLINGS), options.backoff_max_s)
        return not self._changed.wait_for(self._is_closed, delay_s)

    def _read(self, connection: _Connection) -> None:
        """One reader's life: connect, publish every frame, stop when lost or no longer wanted."""
        error = "the reader failed"
        try:
            error = self._read_all(connection)
        except SourceError as problem:
            error = str(problem)
        finally:
            with self._changed:
                connection.is_done = True
                if not connection.is_abandoned:
                    connection.error = error
                self._changed.notify_all()

    def _read_all(self, connection: _Connection) -> str:
        """Why there is nothing more to read."""
        capture = self._connect()
        try:
            while (image := capture.read()) is not None:
                if not self._publish(connection, image, self._now()):
                    return "no longer wanted"
        finally:
            capture.close()
        return "the connection was lost" if connection.frames else "connected, but no frame came"

    def _publish(self, connection: _Connection, image: RGBImage, moment: datetime) -> bool:
        """Make a frame the newest; False when this connection was given up or the camera closed."""
        with self._changed:
            if connection.is_abandoned or self._is_closed():
                return False
            if self._latest is not None:
                self._dropped += 1
            self._latest = Frame(image=image, observed_at=moment, index=self._frames, camera_id=self.camera_id)
            self._frames += 1
            connection.frames += 1
            connection.last_sign_s = time.monotonic()
            self._last_frame_at = moment
            self._state = CameraState.LIVE
            if connection.frames == 1 and self._reconnects:
                _log.warning("camera %s: live again after %d reconnects", self.camera_id, self._reconnects)
            self._changed.notify_all()
            return True
