"""Photos in bulk: read by this process, or by as many workers as are configured or pay."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from tqdm import tqdm

from attendance.app import App
from attendance.cli.base import Context
from attendance.config import Settings
from attendance.enrol import PooledReader, WorkerPool
from attendance.faces import FaceRule
from attendance.logs import configure
from attendance.pipeline import FaceReader
from attendance.stills import StillReader

FROM_PHOTOS = 500
"""Photos from which on workers are started unasked: fewer are read sooner than workers have loaded their networks."""

MOST_WORKERS = 8
"""Workers that are started unasked at most: each takes the memory of its networks."""

LINE_EVERY_S = 30.0

MakeApp = Callable[[Settings], App]


class BulkReading:
    """Gives readers of photos that share one pool of workers, which is made when a reader has enough photos for it."""

    def __init__(self, app: App, context: Context, make_app: MakeApp) -> None:
        self._app = app
        self._context = context
        self._make_app = make_app
        self._exit = ExitStack()

    def __enter__(self) -> BulkReading:
        return self

    def __exit__(self, *raised: object) -> None:
        self._exit.close()

    def stills(self, rule: FaceRule, *, strict: bool, load: Callable[[], FaceReader]) -> StillReader:
        """A reader as `App.stills` gives it."""
        alone = self._app.stills(rule=rule, strict=strict, load=load)
        workers = self._app.settings.enrol.workers
        if workers == 1:
            return alone
        from_photos = FROM_PHOTOS if workers is None else 1
        return PooledReader(load, alone.options, pool=lambda: self._pool, from_photos=from_photos)

    @functools.cached_property
    def _pool(self) -> WorkerPool | None:
        from attendance.embed.registry import resolve_device

        settings = self._app.settings
        workers = settings.enrol.workers
        if workers is None:
            # A graphics card is fed best by one process.
            alone = resolve_device(settings.model.device) != "cpu"
            workers = 1 if alone else min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        if workers == 1:
            return None
        self._context.say(f"{workers} processes read photos; model {self._app.card.id}")
        pool = WorkerPool(functools.partial(worker_reader, self._make_app, settings), workers)
        return self._exit.enter_context(pool)


def worker_reader(make_app: MakeApp, settings: Settings) -> FaceReader:
    """A worker's networks, on one thread, by the same configuration."""
    import cv2

    cv2.setNumThreads(1)
    configure(settings.log.level, settings.log.format)
    model = settings.model.model_copy(update={"threads": 1})
    return make_app(settings.model_copy(update={"model": model})).reader


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What is told how many more photos were dealt with: a bar on a terminal, elsewhere a line now and then."""
    if sys.stderr.isatty() or quiet:
        with tqdm(total=total, desc="enrolling", unit="photo", disable=quiet, leave=False) as bar:
            yield functools.partial(_advance, bar)
    else:
        yield _Lines(total).advance


def _advance(bar: tqdm[NoReturn], photos: int) -> None:
    bar.update(photos)


class _Lines:
    """Progress for a log: how many of how many, the rate and the time left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = self._told = time.monotonic()

    def advance(self, photos: int) -> None:
        self._done += photos
        now = time.monotonic()
        if now - self._told < LINE_EVERY_S:
            return
        self._told = now
        rate = self._done / (now - self._began)
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        line = f"enrolling: {self._done} of {self._total} photos, {rate:.1f} a second, {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)
