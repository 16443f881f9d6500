"""Live sources without hardware: a capture that does what the test says stands in for the device."""

import logging
import math
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from attendance.camera import CameraState, Capture, LiveCamera, LiveOptions
from attendance.errors import SourceError
from attendance.types import RGBImage

WaitUntil = Callable[[Callable[[], bool]], None]

QUICK = LiveOptions(
    open_timeout_s=5, read_timeout_s=5, stall_after_s=5, backoff_first_s=0.01, backoff_max_s=0.04, close_wait_s=5
)
# A stall is noticed in 0.2 s, and close() does not wait for a read that hangs.
IMPATIENT = LiveOptions(
    open_timeout_s=0.1,
    read_timeout_s=0.1,
    stall_after_s=0.2,
    backoff_first_s=0.01,
    backoff_max_s=0.04,
    close_wait_s=0.05,
)


class Device(Capture):
    """One connection: `put` an image, None for a lost connection, or an error; with nothing put, read hangs."""

    def __init__(self) -> None:
        self._script: queue.Queue[RGBImage | SourceError | None] = queue.Queue()
        self.closed = threading.Event()

    def put(self, item: int | SourceError | None) -> None:
        self._script.put(np.full((4, 6, 3), item, np.uint8) if isinstance(item, int) else item)

    def read(self) -> RGBImage | None:
        item = self._script.get()
        if isinstance(item, SourceError):
            raise item
        return item

    @property
    def position_ms(self) -> float:
        return math.nan

    @property
    def fps(self) -> float:
        return math.nan

    @property
    def frame_count(self) -> int:
        return 0

    def close(self) -> None:
        self.closed.set()


class Plug:
    """Connects to the devices in turn; None in the list is a refused connection, and after the last all are."""

    def __init__(self, *devices: Device | None) -> None:
        self._devices = list(devices)
        self.attempts = 0

    def __call__(self) -> Capture:
        self.attempts += 1
        device = self._devices.pop(0) if self._devices else None
        if device is None:
            raise SourceError("refused")
        return device


class Clock:
    """A second passes each time somebody looks."""

    def __init__(self, begin: datetime) -> None:
        self._next = begin

    def __call__(self) -> datetime:
        moment, self._next = self._next, self._next + timedelta(seconds=1)
        return moment


def camera_of(plug: Plug, options: LiveOptions = QUICK, now: Callable[[], datetime] | None = None) -> LiveCamera:
    clock = now if now is not None else lambda: datetime.now(UTC)
    return LiveCamera(plug, camera_id="door", source="rtsp://***@host/x", options=options, now=clock)


def grey(camera: LiveCamera) -> int:
    frame = camera.next_frame(20)
    assert frame is not None
    return int(frame.image[0, 0, 0])


def test_frames_carry_the_time_they_were_read_at(start: datetime) -> None:
    device = Device()
    device.put(1)
    with camera_of(Plug(device), now=Clock(start)) as camera:
        camera.start()
        first = camera.next_frame(20)
        device.put(2)
        second = camera.next_frame(20)
        assert first is not None
        assert second is not None
        assert (first.index, first.observed_at, first.camera_id) == (0, start, "door")
        assert (second.index, second.observed_at) == (1, start + timedelta(seconds=1))
        assert camera.is_live
        health = camera.health
        device.put(None)
    assert (health.state, health.frames, health.dropped) == (CameraState.LIVE, 2, 0)
    assert health.last_frame_at == second.observed_at


def test_the_newest_frame_wins(wait_until: WaitUntil) -> None:
    device = Device()
    device.put(1)
    with camera_of(Plug(device)) as camera:
        camera.start()
        for value in range(2, 11):
            device.put(value)
        wait_until(lambda: camera.health.frames == 10)
        assert grey(camera) == 10
        assert camera.health.dropped == 9
        assert camera.next_frame(0.01) is None
        device.put(11)
        frame = camera.next_frame(20)
        assert frame is not None
        assert frame.index == 10
        assert camera.health.dropped == 9
        device.put(None)


def test_a_lost_connection_is_made_anew(wait_until: WaitUntil, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Device(), Device()
    for item in (1, None):
        first.put(item)
    second.put(2)
    plug = Plug(first, None, None, second)
    with caplog.at_level(logging.WARNING), camera_of(plug) as camera:
        camera.start()
        wait_until(lambda: camera.health.frames == 2)
        assert grey(camera) == 2
        assert first.closed.is_set()
        health = camera.health
        assert (health.state, health.reconnects, health.last_error) == (CameraState.LIVE, 3, "refused")
        assert plug.attempts == 4
        second.put(None)
    # The loss and the return, but not every attempt between them.
    assert [message.split(": ", 1)[1] for message in caplog.messages[:2]] == [
        "rtsp://***@host/x: the connection was lost",
        "live again after 3 reconnects",
    ]


def test_a_picture_that_cannot_be_used_is_a_lost_connection(wait_until: WaitUntil) -> None:
    first, second = Device(), Device()
    first.put(1)
    first.put(SourceError("expected 8 bits a channel"))
    second.put(2)
    with camera_of(Plug(first, second)) as camera:
        camera.start()
        wait_until(lambda: camera.health.frames == 2)
        assert camera.health.last_error == "expected 8 bits a channel"
        second.put(None)


def test_attempts_go_on_for_ever_with_bounded_waits(wait_until: WaitUntil) -> None:
    device = Device()
    device.put(1)
    device.put(None)
    plug = Plug(device)
    with camera_of(plug) as camera:
        camera.start()
        wait_until(lambda: plug.attempts > 30)
        assert camera.health.state in (CameraState.STALLED, CameraState.CONNECTING)
        assert not camera.has_ended


def test_waits_double_up_to_the_bound(wait_until: WaitUntil) -> None:
    device = Device()
    device.put(1)
    device.put(None)
    plug = Plug(device)
    options = LiveOptions(backoff_first_s=0.05, backoff_max_s=3600, close_wait_s=5)
    with camera_of(plug, options) as camera:
        camera.start()
        # 0.05 + 0.1 + 0.2 + 0.4 s lie before the fifth attempt and 3.2 s more before the eighth.
        wait_until(lambda: plug.attempts == 5)
        assert camera.health.state in (CameraState.STALLED, CameraState.CONNECTING)
    assert plug.attempts < 8


def test_the_first_attempt_must_succeed() -> None:
    plug = Plug(None, Device())
    camera = camera_of(plug)
    with pytest.raises(SourceError, match=r"cannot open rtsp://\*\*\*@host/x: refused"):
        camera.start()
    assert plug.attempts == 1
    assert camera.has_ended


def test_a_connection_without_a_frame_is_a_failed_attempt() -> None:
    device = Device()
    device.put(None)
    with pytest.raises(SourceError, match="connected, but no frame came"):
        camera_of(Plug(device)).start()
    assert device.closed.is_set()


def test_a_first_read_that_hangs_is_given_up() -> None:
    device = Device()
    with pytest.raises(SourceError, match=r"no frame for 0\.2 s"):
        camera_of(Plug(device), IMPATIENT).start()
    device.put(None)


def test_a_read_that_hangs_is_left_behind_for_a_new_connection(
    wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, fresh = Device(), Device()
    hanging.put(1)
    fresh.put(2)
    with caplog.at_level(logging.WARNING), camera_of(Plug(hanging, fresh), IMPATIENT) as camera:
        camera.start()
        assert grey(camera) == 1
        assert grey(camera) == 2
        assert camera.health.reconnects >= 1
        assert "no frame for 0.2 s" in caplog.text
        # What the old connection still brings is not shown, and ends it.
        hanging.put(99)
        wait_until(hanging.closed.is_set)
        assert camera.health.frames == 2
        assert camera.next_frame(0.01) is None
    fresh.put(None)


def test_hanging_reads_do_not_pile_up(wait_until: WaitUntil) -> None:
    devices = [Device() for _ in range(8)]
    devices[0].put(1)
    plug = Plug(*devices)
    with camera_of(plug, IMPATIENT) as camera:
        camera.start()
        wait_until(lambda: plug.attempts == 3 and camera.health.state is CameraState.STALLED)
        assert camera.next_frame(1.0) is not None
        assert camera.next_frame(1.0) is None
        assert plug.attempts == 3
        devices[0].put(None)
        wait_until(lambda: plug.attempts == 4)
    for device in devices:
        device.put(None)


def test_closing_while_a_read_hangs_returns(caplog: pytest.LogCaptureFixture) -> None:
    device = Device()
    device.put(1)
    camera = camera_of(Plug(device), LiveOptions(close_wait_s=0.05))
    camera.start()
    with caplog.at_level(logging.WARNING):
        camera.close()
    assert "left behind" in caplog.text
    assert camera.has_ended
    assert camera.next_frame(60) is None
    assert list(camera) == []
    device.put(None)


def test_closing_wakes_whoever_waits() -> None:
    device = Device()
    device.put(1)
    camera = camera_of(Plug(device), LiveOptions(close_wait_s=0.05))
    camera.start()
    assert grey(camera) == 1
    closer = threading.Timer(0.05, camera.close)
    closer.start()
    assert camera.next_frame(60) is None
    closer.join()
    device.put(None)


def test_closing_while_it_waits_to_reconnect_ends_every_thread(wait_until: WaitUntil) -> None:
    device = Device()
    device.put(1)
    device.put(None)
    before = threading.active_count()
    camera = camera_of(Plug(device), LiveOptions(backoff_first_s=3600, backoff_max_s=3600, close_wait_s=20))
    camera.start()
    wait_until(lambda: camera.health.state is CameraState.STALLED)
    camera.close()
    assert threading.active_count() <= before


def test_a_silent_camera_does_not_keep_the_caller(wait_until: WaitUntil) -> None:
    device = Device()
    device.put(1)
    asked = 0

    def keep_going() -> bool:
        nonlocal asked
        asked += 1
        return asked < 5

    with camera_of(Plug(device), LiveOptions(close_wait_s=0.05)) as camera:
        camera.start()
        assert len(list(camera.frames(keep_going=keep_going))) == 1
    device.put(None)
