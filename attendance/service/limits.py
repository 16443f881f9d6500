"""How much and how long: the size of a request, counted while it arrives, and its time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attendance.service.problem import Code, ProblemError
from attendance.service.vision import RETRY_AFTER

MEGABYTE = 1_000_000


class Limits:
    """Ends a request that is too large (413), arrives too slowly (408) or is not answered in time (503)."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, within its limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Counted(receive, send, self._max_bytes)
        try:
            request.announced(Headers(scope=scope).get("content-length"))
            async with asyncio.timeout(self._timeout_s):
                await self._app(scope, request.receive, request.send)
        except ProblemError as error:
            await self._answer(error, request, scope)
        except TimeoutError:
            await self._answer(self._too_late(request), request, scope)

    @staticmethod
    async def _answer(error: ProblemError, request: _Counted, scope: Scope) -> None:
        if request.is_answered:
            raise error
        await error.response()(scope, request.receive, request.send)

    def _too_late(self, request: _Counted) -> ProblemError:
        if request.has_arrived:
            return ProblemError(
                Code.OVERLOADED,
                f"there was no answer within {self._timeout_s:g} s: ask again later",
                headers=RETRY_AFTER,
            )
        detail = f"expected the whole request within {self._timeout_s:g} s: send smaller photos, or by a faster line"
        # What is still on its way would be taken for the next request.
        return ProblemError(Code.TIMEOUT, detail, headers={"Connection": "close"})


class _Counted:
    """One request: how much of it has come, and whether it is answered."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive, self._send, self._max_bytes = receive, send, max_bytes
        self._bytes = 0
        self.has_arrived = False
        self.is_answered = False

    def announced(self, length: str | None) -> None:
        """Refuse by what the head says, before anything is read."""
        if length is not None and length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(f"{length} bytes")

    async def receive(self) -> Message:
        """The next piece, counted."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._max_bytes:
                raise self._too_large("more")
            self.has_arrived = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """The answer, noted."""
        self.is_answered = True
        await self._send(message)

    def _too_large(self, got: str) -> ProblemError:
        return ProblemError(
            Code.IMAGE_TOO_LARGE,
            f"expected a request of at most {self._max_bytes} bytes, got {got}: send smaller photos",
        )
