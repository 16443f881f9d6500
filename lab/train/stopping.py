"""A run that is asked to stop finishes its step and keeps a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from attendance.errors import AttendanceError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(AttendanceError):
    """A run was asked to stop a second time, while it finished its step."""


class StopRequest:
    """While it is entered, Ctrl-C and SIGTERM raise ``asked`` instead of ending the program; the second one ends it."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise StoppedError("stopped at once; --resume goes on from the last checkpoint")
        self.asked = True
