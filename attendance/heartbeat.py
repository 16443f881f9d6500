"""A kiosk's health in the ledger: a small document written every few seconds by a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from attendance.errors import AttendanceError
from attendance.ledger.registry import Register, Registered

logger = logging.getLogger(__name__)

_JOIN_S = 5.0


class HealthRegister(Protocol):
    """Where health is written; failures are the ledger port's."""

    def find_registered(self, register: Register, key: str) -> Registered | None:
        """See the port."""

    def register(self, register: Register, key: str, value: dict[str, Any]) -> Registered:
        """See the port."""


class Heartbeat:
    """Writes what ``look`` says between `start` and `stop`, every ``every_s`` seconds, and once more at the end.

    ``run`` is this run's own id: another kiosk that writes under the same name is noticed and logged. A ledger that
    is away is logged when that changes, and delays nobody.
    """

    def __init__(
        self,
        ledger: HealthRegister,
        kiosk: str,
        *,
        run: str,
        look: Callable[[], Mapping[str, Any]],
        now: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._ledger, self._kiosk, self._run = ledger, kiosk, run
        self._look, self._now, self._every_s = look, now, every_s
        self._started_at = now()
        self._failing = self._has_rival = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write for the last time and end the thread; waits a few seconds at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _beat(self) -> None:
        while True:
            self._write(ended=False)
            if self._stop.wait(self._every_s):
                break
        self._write(ended=True)

    def _write(self, *, ended: bool) -> None:
        now = self._now()
        value = {
            "run": self._run,
            "started_at": self._started_at,
            "seen_at": now,
            "ended_at": now if ended else None,
            **self._look(),
        }
        try:
            before = self._ledger.find_registered(Register.HEALTH, self._kiosk)
            self._warn_of_rival(before)
            self._ledger.register(Register.HEALTH, self._kiosk, value)
        except AttendanceError as error:
            self._failed(error)
        except Exception as error:
            logger.debug("the heartbeat met something unforeseen and goes on", exc_info=True)
            self._failed(error)
        else:
            self._failing = False

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            logger.warning("the kiosk's health cannot be written: %s", error)
        self._failing = True

    def _warn_of_rival(self, before: Registered | None) -> None:
        """A run that began after ours, or did not end and was seen since, has our name."""
        if before is None or before.value["run"] == self._run or before.value["ended_at"] is not None:
            return
        if before.value["seen_at"] > self._started_at and not self._has_rival:
            self._has_rival = True
            logger.warning("another kiosk runs under the name %s: give each its own kiosk.id", self._kiosk)
