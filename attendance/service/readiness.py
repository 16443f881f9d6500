"""Whether the service can do its work now: the model, and the stores that are configured, each looked at apart.

A look at a store may hang as long as its driver waits, so looks run in a thread of their own, one at a time, and their
last answer is given again for a moment: asking often costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from attendance.app import App
from attendance.errors import AttendanceError

_log = logging.getLogger(__name__)

KEEP_S = 1.0
PATIENCE_S = 5.0


class Check(StrEnum):
    """What a look found. ``none``: nothing of the kind is configured or there yet, and nothing is amiss."""

    OK = "ok"
    NONE = "none"
    FAILED = "failed"


Look = Callable[[], Check]


class Readiness:
    """The looks by name, and what they found last."""

    def __init__(self, looks: Mapping[str, Look], *, patience_s: float = PATIENCE_S) -> None:
        """``patience_s``: how long a look may take before it counts as failed."""
        self._looks = looks
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._found: dict[str, Check] = {}
        self._found_at = -math.inf
        self._begun: dict[str, Check] = {}
        self._looking: asyncio.Future[dict[str, Check]] | None = None

    async def checks(self) -> dict[str, Check]:
        """What every look finds; one that does not come back in time has failed."""
        if time.monotonic() - self._found_at < KEEP_S:
            return self._found
        if self._looking is None or self._looking.done():
            self._looking = asyncio.wrap_future(self._thread.submit(self._look))
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), self._patience_s)
        except TimeoutError:
            return {name: self._begun.get(name, Check.FAILED) for name in self._looks}

    def close(self) -> None:
        """Look no more; a look that hangs is left behind."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> dict[str, Check]:
        self._begun = {}
        for name, look in self._looks.items():
            try:
                self._begun[name] = look()
            except (AttendanceError, OSError) as error:
                # The message may name addresses and paths: it is for the log, not for who asks.
                _log.warning("not ready: %s: %s", name, error)
                self._begun[name] = Check.FAILED
        self._found, self._found_at = self._begun, time.monotonic()
        return self._found


def looks_at(app: App, *, is_loaded: Callable[[], bool]) -> dict[str, Look]:
    """The looks for an app: ``model``, ``ledger``, ``gallery``."""

    def model() -> Check:
        return Check.OK if is_loaded() else Check.FAILED

    def ledger() -> Check:
        if not app.has_ledger:
            return Check.NONE
        try:
            app.ledger.template_revision()
        except AttendanceError:
            app.telemetry.ledger_up(False)
            raise
        app.telemetry.ledger_up(True)
        return Check.OK

    def gallery() -> Check:
        return Check.OK if app.has_gallery else Check.NONE

    return {"model": model, "ledger": ledger, "gallery": gallery}
