"""Photos read by several processes, each with networks of its own on one thread.

What goes to a worker is a `Unit`, plain values without an open handle, and what comes back are its readings, so the
same unit can be read by any other machinery. Units are read in any order and given in theirs. A worker that is killed
costs no photo: its units, and those that waited, are read again by new ones.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import ClassVar, Self

from attendance.errors import AttendanceError
from attendance.pipeline import FaceReader
from attendance.stills import Reading, StillOptions, StillReader, in_units

_log = logging.getLogger(__name__)

MOST_ENDS = 3
"""How often in a row the workers may be ended from outside before a unit is read; then the run ends."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Photos to read together, and how."""

    options: StillOptions
    paths: tuple[Path, ...]


class WorkerPool:
    """Processes that read units; none is started before there is a unit.

    Args:
        load: gives a worker its networks; called in the worker, so it must be importable there (a function of a module,
            or a `functools.partial` of one).
        workers: how many.
    """

    def __init__(self, load: Callable[[], FaceReader], workers: int) -> None:
        self._load = load
        self._workers = workers
        self._executor = self._new()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; those that are reading finish their unit first."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def read(self, units: Iterable[Unit]) -> Iterator[list[Reading]]:
        """The readings of each unit, in order; a few units are read ahead.

        Raises:
            AttendanceError: what a worker raises, or that workers were ended again and again.
        """
        rest = iter(units)
        ahead: deque[tuple[Unit, Future[list[Reading]]]] = deque()
        ends = 0
        try:
            while True:
                try:
                    for unit in islice(rest, 2 * self._workers - len(ahead)):
                        # Until it is submitted the unit stands there as one that failed, should the pool be broken.
                        ahead.append((unit, _failed()))
                        ahead[-1] = (unit, self._executor.submit(_read, unit))
                    if not ahead:
                        return
                    readings = ahead[0][1].result()
                except BrokenProcessPool as error:
                    ends += 1
                    self._check(ends, ahead[0][0], error)
                    self._restart(ahead)
                    continue
                ends = 0
                ahead.popleft()
                yield readings
        finally:
            for _, future in ahead:
                future.cancel()

    def _check(self, ends: int, unit: Unit, error: Exception) -> None:
        if ends < MOST_ENDS:
            _log.warning("a worker was ended from outside; its photos are read again")
            return
        raise AttendanceError(
            f"enrol.workers: expected workers to read {unit.paths[0]} and the {len(unit.paths) - 1} photos after it, "
            f"but one was ended {ends} times meanwhile (killed, or out of memory?): set enrol.workers lower, to 1 for "
            "none, and run again to go on"
        ) from error

    def _restart(self, ahead: deque[tuple[Unit, Future[list[Reading]]]]) -> None:
        """New workers for the units that have not been read."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._new()
        for place, (unit, future) in enumerate(ahead):
            if future.cancelled() or future.exception() is not None:
                ahead[place] = (unit, self._executor.submit(_read, unit))

    def _new(self) -> ProcessPoolExecutor:
        # Never forked: a copy of a process whose libraries have threads may wait for one of them for ever.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, context, initializer=_begin, initargs=(self._load,))


class PooledReader(StillReader):
    """A reader of photos by a pool. Fewer than ``from_photos`` are read in this process, as workers take time to start.

    The readings are the same, to the last digit, by any number of workers. ``pool`` is asked when there are enough
    photos, and gives None where they shall be read in this process all the same.
    """

    def __init__(
        self,
        load: Callable[[], FaceReader],
        options: StillOptions,
        *,
        pool: Callable[[], WorkerPool | None],
        from_photos: int = 1,
    ) -> None:
        super().__init__(load, options)
        self._pool = pool
        self._from_photos = from_photos

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """One reading per path, in order."""
        rest = iter(paths)
        first = list(islice(rest, self._from_photos))
        pool = None if len(first) < self._from_photos else self._pool()
        if pool is None:
            yield from super().read(chain(first, rest))
            return
        units = in_units(chain(first, rest), self.options.batch_size)
        for readings in pool.read(Unit(self.options, tuple(unit)) for unit in units):
            yield from readings


class _Worker:
    """What a worker process remembers."""

    load: ClassVar[Callable[[], FaceReader]]

    @cached_property
    def reader(self) -> FaceReader:
        return type(self).load()


_worker = _Worker()


def _begin(load: Callable[[], FaceReader]) -> None:
    """Set a worker process up."""
    # Ctrl-C reaches the whole group: the main process decides, and a worker ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.load = staticmethod(load)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _read(unit: Unit) -> list[Reading]:
    return list(StillReader(lambda: _worker.reader, unit.options).read(unit.paths))


def _failed() -> Future[list[Reading]]:
    future: Future[list[Reading]] = Future()
    future.set_exception(BrokenProcessPool())
    return future
