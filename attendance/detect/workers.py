"""The detector's threads: each runs whole pieces of work with single-threaded torch operations and numba kernels.

One pool instead of two: torch's own threads keep spinning after an operation and would slow every kernel that follows.
Pieces that one thread takes through a whole network also beat operations that are each split over threads. The thread
that asks works too: waking another one costs as much as a small piece of work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_T = TypeVar("_T")


class Workers:
    """``threads`` threads, the caller among them, in each of which torch uses that thread alone while it works here.

    Safe to share between threads.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None
        if threads > 1:
            helpers = threads - 1
            self._pool = ThreadPoolExecutor(helpers, thread_name_prefix="detect")
            before = torch.get_num_threads()
            together = threading.Barrier(helpers)
            list(self._pool.map(lambda _: _alone(together), range(helpers)))
            # torch keeps the number per thread, but also takes the last one set as the default of threads to come.
            torch.set_num_threads(before)

    def map(self, task: Callable[[_T], None], pieces: Iterable[_T]) -> None:
        """Run ``task`` on every piece, in any order, and wait; the first exception is raised."""
        waiting = list(pieces)
        todo = iter(waiting)  # shared: the next piece goes to whoever is free

        def work() -> None:
            for piece in todo:
                task(piece)

        helpers = min(self.threads, len(waiting)) - 1
        others = [] if self._pool is None else [self._pool.submit(work) for _ in range(helpers)]
        try:
            with _one_thread():
                work()
        finally:
            # One that has not begun by now has nothing left to do; one that has is waited for, whatever happened here.
            errors = [other.exception() for other in others if not other.cancel()]
        for error in errors:
            if error is not None:
                raise error


@contextmanager
def _one_thread() -> Iterator[None]:
    """The calling thread's torch operations run in this thread alone."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _alone(together: threading.Barrier) -> None:
    # The barrier holds each task until every thread has one, so that no thread is missed.
    together.wait()
    torch.set_num_threads(1)
    together.wait()
