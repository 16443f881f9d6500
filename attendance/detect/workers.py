"""The detector's threads: each runs whole pieces of work with single-threaded torch operations and numba kernels.

One pool instead of two: torch's own threads keep spinning after an operation and would slow every kernel that follows.
Pieces that one thread takes through a whole network also beat operations that are each split over threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_T = TypeVar("_T")


class Workers:
    """A pool of ``threads`` threads, in each of which torch uses that thread alone. Safe to share between threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="detect")
        before = torch.get_num_threads()
        together = threading.Barrier(threads)
        list(self._pool.map(lambda _: self._alone(together), range(threads)))
        # torch keeps the number per thread, but also takes the last one set as the default of threads to come.
        torch.set_num_threads(before)

    def map(self, task: Callable[[_T], None], pieces: Iterable[_T]) -> None:
        """Run ``task`` on every piece, in any order, and wait; the first exception is raised."""
        for _ in self._pool.map(task, pieces):
            pass

    @staticmethod
    def _alone(together: threading.Barrier) -> None:
        # The barrier holds each task until every thread has one, so that no thread is missed.
        together.wait()
        torch.set_num_threads(1)
        together.wait()
