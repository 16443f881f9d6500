"""Running the service: its socket, its connections, its end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from attendance.app import App
from attendance.errors import UsageError
from attendance.service.application import create_app
from attendance.service.security import access_for

_log = logging.getLogger(__name__)

HEAD_S = 10.0
"""How long a connection may take to send the head of a request, and what was not read of the last one."""

SHUTDOWN_S = 8
"""How long running requests may go on after SIGTERM: less than the 10 s after which container engines kill."""

MOST_CONNECTIONS = 512
"""Connections at once; half of the files that a process may usually have open."""

_BACKLOG = 128
_SOCKET_ERRORS = {
    errno.EADDRINUSE: "the port is in use: name another with --port, or end the program that has it",
    errno.EACCES: "the system does not allow it: name a port from 1024 on with --port",
    errno.EADDRNOTAVAIL: "this machine has no such address: name one of its own with --host",
}


@dataclass(frozen=True, slots=True)
class Started:
    """Where the service answers: URL, host as it was named, port, and whether a token is demanded."""

    url: str
    host: str
    port: int
    needs_token: bool


def serve(app: App, *, host: str, port: int, on_start: Callable[[Started], None]) -> None:
    """Serve until SIGINT or SIGTERM, in the main thread; ``on_start`` is called when connections are answered.

    Raises UsageError where the address cannot be had, ConfigError where a token is missing, ModelError where the model
    cannot be loaded.
    """
    listener = bind(host, port)
    try:
        address, bound = listener.getsockname()[:2]
        access = access_for(app.settings.service, host=host, address=address)
        app.reader  # noqa: B018  # loads the networks now, where a fault still ends the command in one line
        api = create_app(app, access=access)
        started = Started(_url(host, bound), host, bound, access.token is not None)
        server = _Server(_config(api), lambda: on_start(started))
        with _ended_by_signals(server):
            server.run(sockets=[listener])
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of ``host``; UsageError where that cannot be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: expected an address of this machine, got no address by that name") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are still closing can be taken again at once; Windows means another thing by it.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = _SOCKET_ERRORS.get(error.errno or 0, error.strerror or "it failed")
        raise UsageError(f"cannot listen on {host} port {port}: {reason}") from error
    return listener


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(api: Any) -> uvicorn.Config:
    return uvicorn.Config(
        api,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, listen, tell."""
        await super().startup(sockets)
        self._on_start()


class PatientProtocol(H11Protocol):
    """HTTP on one connection, whose patience ends: uvicorn itself waits for ever for the head of a request."""

    head_s = HEAD_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            _log.warning("more than %d connections: closing the newest", MOST_CONNECTIONS)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the connection."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Begin to count where no request is being answered; the application counts for one that is."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_s, self._give_up)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM end the server and nothing else.

    uvicorn raises the signals that ended it once more afterwards, which by default would kill the process after all.
    """

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
