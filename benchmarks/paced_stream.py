"""A network camera made of pictures: motion JPEG over HTTP at its own pace, whoever watches and however slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from attendance.types import RGBImage

QUALITY = 92


class PacedStream(ThreadingHTTPServer):
    """Repeats the first picture until ``is_awaited`` says yes, then sends each picture once at its time, then the last
    one until it is closed. ``sent_at`` holds when each was sent, in s of `time.monotonic`, before its first byte.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, pictures: Sequence[bytes], *, fps: float, is_awaited: Callable[[], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pictures, self.fps, self.is_awaited = pictures, fps, is_awaited
        self.sent_at: list[float] = []
        self.closed, self.ended = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://127.0.0.1:{self.server_port}/video"

    def close(self) -> None:
        """End it."""
        self.closed.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: PacedStream
    # The end of a picture does not wait until its beginning is acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        stream = self.server
        due = time.monotonic()
        index = 0
        while not stream.closed.is_set():
            begun = index > 0 or stream.is_awaited()
            picture = stream.pictures[min(index, len(stream.pictures) - 1)]
            if begun and index < len(stream.pictures):
                stream.sent_at.append(time.monotonic())
                index += 1
            elif index:
                stream.ended.set()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            self.wfile.flush()
            due += 1.0 / stream.fps
            time.sleep(max(due - time.monotonic(), 0.0))

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def encoded(image: RGBImage) -> bytes:
    """A picture as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def decoded(picture: bytes) -> RGBImage:
    """RGB uint8 (H, W, 3)."""
    bgr = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])
