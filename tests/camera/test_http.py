"""An HTTP camera (motion JPEG) on this machine that serves, falls silent, hangs up, stops and comes back."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from attendance.camera import CameraState, LiveOptions, open_camera
from attendance.errors import SourceError

WaitUntil = Callable[[Callable[[], bool]], None]

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = LiveOptions(
    open_timeout_s=10, read_timeout_s=1, stall_after_s=10, backoff_first_s=0.05, backoff_max_s=0.2, close_wait_s=3
)


def jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (160, 120), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class HttpCamera(ThreadingHTTPServer):
    """Serves one picture for ever; ``is_silent`` keeps connections open and sends nothing, ``hang_up`` ends them."""

    daemon_threads = True
    # Otherwise closing waits for handlers, which a silent camera never ends.
    block_on_close = False
    # The port is taken again at once when the camera comes back.
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.picture = jpeg((200, 30, 10))
        self.is_silent = threading.Event()
        self.hang_up = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.hang_up.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error."""


class Handler(BaseHTTPRequestHandler):
    server: HttpCamera

    def do_GET(self) -> None:
        if self.path != "/video":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        while not self.server.hang_up.is_set():
            if not self.server.is_silent.is_set():
                picture = self.server.picture
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
            time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        """Tests stay quiet."""


@pytest.fixture
def server() -> Iterator[HttpCamera]:
    camera = HttpCamera()
    yield camera
    camera.stop()


def url(server: HttpCamera) -> str:
    return f"http://127.0.0.1:{server.server_port}/video"


def test_frames_arrive_in_rgb(server: HttpCamera, wait_until: WaitUntil) -> None:
    with open_camera(url(server), camera_id="c", options=OPTIONS) as camera:
        assert camera.is_live
        frame = camera.next_frame(20)
        assert frame is not None
        assert frame.image.shape == (120, 160, 3)
        red, green, blue = frame.image[60, 80].tolist()
        assert red > 190
        assert green < 45
        assert blue < 25
        wait_until(lambda: camera.health.frames > 10)
        assert camera.health.state is CameraState.LIVE
        assert camera.health.dropped > 0


def test_a_stream_that_hangs_up_is_connected_to_again(server: HttpCamera, wait_until: WaitUntil) -> None:
    with open_camera(url(server), camera_id="c", options=OPTIONS) as camera:
        server.hang_up.set()
        wait_until(lambda: camera.health.last_error is not None)
        server.hang_up.clear()
        before = camera.health.frames
        wait_until(lambda: camera.health.frames > before + 5)
        assert camera.health.reconnects >= 1


def test_a_server_that_stops_and_comes_back(wait_until: WaitUntil) -> None:
    first = HttpCamera()
    with open_camera(url(first), camera_id="c", options=OPTIONS) as camera:
        first.stop()
        wait_until(lambda: camera.health.reconnects >= 2 and camera.health.state is not CameraState.LIVE)
        second = HttpCamera(first.server_port)
        before = camera.health.frames
        wait_until(lambda: camera.health.frames > before + 5)
        assert camera.health.state is CameraState.LIVE
    second.stop()


def test_a_silent_stream_is_noticed_and_closing_does_not_wait_for_it(server: HttpCamera, wait_until: WaitUntil) -> None:
    camera = open_camera(url(server), camera_id="c", options=OPTIONS)
    server.is_silent.set()
    wait_until(lambda: camera.health.state is CameraState.STALLED)
    assert not camera.has_ended
    camera.close()
    assert camera.has_ended


@pytest.mark.parametrize("path", ["/missing", "/video?password=secret"])
def test_an_address_without_a_stream(server: HttpCamera, path: str) -> None:
    address = f"http://user:secret@127.0.0.1:{server.server_port}{path}"
    with pytest.raises(SourceError, match="expected a video stream") as caught:
        open_camera(address, camera_id="c", options=OPTIONS)
    assert "secret" not in str(caught.value)


def test_a_program_ends_well_while_a_read_hangs(server: HttpCamera) -> None:
    """Python aborts when a thread comes back from the decoder while it shuts down, so the end waits for that."""
    program = (
        "import sys\n"
        "from attendance.camera import CameraState, LiveOptions, open_camera\n"
        "options = LiveOptions(open_timeout_s=5, read_timeout_s=1.5, stall_after_s=0.5, close_wait_s=0.1)\n"
        "with open_camera(sys.argv[1], camera_id='c', options=options) as camera:\n"
        "    sys.stdout.write('open\\n')\n"
        "    sys.stdout.flush()\n"
        "    for frame in camera.frames(keep_going=lambda: camera.health.state is not CameraState.STALLED):\n"
        "        pass\n"
    )
    command = [sys.executable, "-c", program, url(server)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "open\n"
        server.is_silent.set()
        errors = running.communicate(timeout=30)[1]
    assert running.returncode == 0, errors
    assert "left behind" in errors
