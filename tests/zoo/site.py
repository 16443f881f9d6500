"""A real HTTP server on this machine that can fail in every way that a download must survive."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = bytes(range(256)) * 1024
"""What the site has under every address: 256 KiB."""


@dataclass(slots=True)
class Site:
    """What the server does; each list gives one request after the other what it says, then nothing special happens."""

    base: str = ""
    body: bytes = BODY
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the connection is closed."""
    stalls: list[int] = field(default_factory=list)
    drips: list[int] = field(default_factory=list)
    dripped: int = 0
    """Bytes after which nothing more comes, until the site closes."""
    wrong: list[bytes] = field(default_factory=list)
    """Bodies given instead."""
    length_off_by: list[int] = field(default_factory=list)
    """What Content-Length is wrong by."""
    content_range: str | None = None
    encoding: str | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request."""
    closing: threading.Event = field(default_factory=threading.Event)


def _next(values: list[int]) -> int | None:
    return values.pop(0) if values else None


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append((self.path, wanted))
        self.close_connection = True
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = _next(site.statuses)
        if status is not None and status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(site.wrong.pop(0) if site.wrong else site.body, wanted)

    def _send(self, body: bytes, wanted: str | None) -> None:
        site = self.site
        start = int(found[1]) if site.ranges and wanted and (found := re.match(r"bytes=(\d+)-", wanted)) else 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = body[start:]
        self.send_response(206 if start else 200)
        if start:
            told = site.content_range if site.content_range else f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", told)
        if site.encoding is not None:
            self.send_header("Content-Encoding", site.encoding)
        off_by = _next(site.length_off_by)
        self.send_header("Content-Length", str(len(part) + (0 if off_by is None else off_by)))
        self.end_headers()
        cut, stall, drip = _next(site.cuts), _next(site.stalls), _next(site.drips)
        if drip is not None:
            self._drip(part, drip)
            return
        try:
            self.wfile.write(part if cut is None and stall is None else part[: cut if cut is not None else stall])
            self.wfile.flush()
        except OSError:
            return
        if stall is not None:
            site.closing.wait(30)

    def _drip(self, part: bytes, after: int) -> None:
        """Ten bytes twenty times a second, which is no silence, for two seconds at most."""
        try:
            self.wfile.write(part[:after])
            for at in range(after, after + 400, 10):
                self.wfile.write(part[at : at + 10])
                self.wfile.flush()
                self.site.dripped += 1
                if self.site.closing.wait(0.05):
                    return
        except OSError:
            return


@contextmanager
def serving() -> Iterator[Site]:
    """A site for as long as the context lasts."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
