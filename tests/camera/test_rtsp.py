"""RTSP against a real server: GStreamer's, from the system's packages, where they are installed.

Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
"""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from attendance.camera import CameraState, LiveOptions, open_camera
from attendance.errors import SourceError

WaitUntil = Callable[[Callable[[], bool]], None]

SERVER = Path(__file__).with_name("rtsp_server.py")
PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "raise SystemExit(not all(map(Gst.ElementFactory.find, ('videotestsrc', 'jpegenc', 'rtpjpegpay'))))"
)
OPTIONS = LiveOptions(open_timeout_s=10, read_timeout_s=2, backoff_first_s=0.1, backoff_max_s=0.5, close_wait_s=3)


def system_python() -> str:
    """A Python that has GStreamer's bindings; without one the test is skipped."""
    for name in ("/usr/bin/python3", "python3"):
        python = shutil.which(name)
        if python and subprocess.run([python, "-c", PROBE], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("missing system package: GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0) for the system's Python")


class Servers:
    """Starts RTSP servers on one port, one at a time."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._running: subprocess.Popen[str] | None = None
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = int(probe.getsockname()[1])

    def start(self, *login: str) -> None:
        command = [self._python, str(SERVER), str(self.port), *login]
        self._running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._running.stdout is not None
        assert self._running.stdout.readline() == "ready\n"

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.kill()
            running.wait()
            assert running.stdout is not None
            running.stdout.close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers(system_python())
    yield servers
    servers.stop()


def test_a_stream_with_a_password_that_dies_and_comes_back(servers: Servers, wait_until: WaitUntil) -> None:
    servers.start("viewer", "secret")
    address = f"rtsp://viewer:secret@127.0.0.1:{servers.port}/camera"
    with pytest.raises(SourceError, match=r"rtsp://\*\*\*@127.0.0.1") as caught:
        open_camera(address.replace("secret", "wrong"), camera_id="c", options=OPTIONS)
    assert "wrong" not in str(caught.value)
    with open_camera(address, camera_id="c", options=OPTIONS) as camera:
        frame = camera.next_frame(20)
        assert frame is not None
        assert frame.image.shape == (120, 160, 3)
        servers.stop()
        wait_until(lambda: camera.health.reconnects >= 1 and camera.health.state is not CameraState.LIVE)
        servers.start("viewer", "secret")
        before = camera.health.frames
        wait_until(lambda: camera.health.frames > before + 5)
        assert camera.health.state is CameraState.LIVE
