"""The outermost layer: every answer is counted, logged and dressed in the headers that browsers are told to keep to.

The log names the route's pattern, never the address that was asked for, its query, or a photo's name.
"""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attendance.service.problem import Code, problem_response
from attendance.telemetry import Telemetry

_log = logging.getLogger(__name__)

UNMATCHED, REFUSED = "unmatched", "refused"
"""The routes of what has none: no such address, and requests that were sent away before one was looked for."""

CLIENT_LEFT = 499
"""The status that is counted when who asked went away before the answer."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A form's own origin is still told, which `no-referrer` would hide.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Observe:
    """Counts, logs, adds headers; answers HEAD as GET without its body; what nobody expected becomes ``internal``."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on and see to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = str(scope["method"])
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        answer = _Answer(send, is_head=method == "HEAD")
        try:
            with self._telemetry.http_in_flight():
                await self._app(inner, receive, answer.send)
        except ClientDisconnect:
            answer.status = CLIENT_LEFT
        except Exception:  # noqa: BLE001  # the outermost loop of a request
            _log.exception("request %s failed", answer.request_id)
            await self._fail(inner, receive, answer)
        finally:
            self._note(inner, method, answer.status, time.perf_counter() - started)

    @staticmethod
    async def _fail(scope: Scope, receive: Receive, answer: _Answer) -> None:
        if answer.has_begun:
            raise RuntimeError("the answer broke off")
        detail = f"something went wrong that the service's log tells under request {answer.request_id}"
        await problem_response(Code.INTERNAL, detail)(scope, receive, answer.send)

    def _note(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED if status == 404 else REFUSED)
        self._telemetry.http(method=method, route=route, status=status, seconds=seconds)
        _log.info("%s %s %d in %.0f ms", method, route, status, seconds * 1000.0)


class _Answer:
    """One answer on its way out."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self.request_id = uuid.uuid4().hex
        self.status = CLIENT_LEFT
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Send one message, the first with the headers."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers["X-Request-ID"] = self.request_id
            headers.setdefault("Cache-Control", "no-store")
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
