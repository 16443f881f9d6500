"""A run that is asked to stop finishes its step and keeps a checkpoint."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from attendance.errors import AttendanceError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(AttendanceError):
    """A run was asked to stop a second time, while it finished its step."""


class StopRequest:
    """While it is entered, Ctrl-C and SIGTERM raise ``asked`` instead of ending the program; the second one ends it.

    From ``time.monotonic()`` = ``at`` on it is asked anyway.
    """

    def __init__(self, at: float | None = None) -> None:
        self._signalled = False
        self._at = math.inf if at is None else at
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """Whether the run shall stop."""
        return self._signalled or time.monotonic() >= self._at

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise StoppedError("stopped at once; --resume goes on from the last checkpoint")
        self._signalled = True
