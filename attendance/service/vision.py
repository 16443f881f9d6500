"""The networks work in one thread, one request after the other; few wait, and the rest is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from attendance.service.problem import Code, ProblemError

RETRY_AFTER = {"Retry-After": "2"}
"""Seconds after which asking again makes sense: a comparison takes well under one."""

T = TypeVar("T")


class Vision:
    """The thread that the networks belong to. A place is taken before a request's photos are read into memory."""

    def __init__(self, *, max_waiting: int) -> None:
        self._places = max_waiting + 1
        self._taken = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vision")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those who wait or are served; ProblemError (``overloaded``) when there is none."""
        if self._taken >= self._places:
            raise ProblemError(
                Code.OVERLOADED,
                f"{self._taken} requests with photos are being answered already: ask again later",
                headers=RETRY_AFTER,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises, run in the thread. Who stops waiting takes work away that has not begun."""
        return await asyncio.wrap_future(self._thread.submit(work))

    def close(self) -> None:
        """Finish what has begun and drop the rest."""
        self._thread.shutdown(wait=True, cancel_futures=True)
