"""Between vision and the stores: what is known of the tracks waits here for the thread that records and tells it.

Vision never waits. When the queue is full, or is not empty in time at the end, what it held is counted as lost: the
punches as not recorded, the events as not written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from attendance.kiosk import Kiosk, Sighting

logger = logging.getLogger(__name__)

_LOOK_S = 0.1


class Results:
    """A bounded queue and the thread that settles what comes out of it, in order."""

    def __init__(self, *, bound: int, on_fault: Callable[[Exception], None]) -> None:
        """``on_fault`` is told, by that thread, of what settling raised; it goes on with the next result."""
        self.bound = bound
        self.highest = 0
        self._on_fault = on_fault
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[Kiosk, Sighting]] = deque()
        self._at_work: Kiosk | None = None
        self._is_closed = self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)

    @property
    def depth(self) -> int:
        """How many results wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to settle."""
        self._thread.start()

    def put(self, kiosk: Kiosk, sighting: Sighting) -> None:
        """Leave a result; where there is no room, or none is taken any more, it is lost, which the kiosk counts."""
        with self._changed:
            fits = len(self._waiting) < self.bound and not self._is_closed
            if fits:
                self._waiting.append((kiosk, sighting))
                self.highest = max(self.highest, len(self._waiting))
                self._changed.notify_all()
        if not fits:
            kiosk.lose(sighting, why=f"of {self.bound} results that may wait for the ledger and the events file all do")

    def drain(self, wait_s: float, *, patient: bool = False, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Wait until all is settled, ``wait_s`` at most (``patient``: for each result), or until ``hurry`` says to.

        What is left then is lost, and False is returned. The thread may hang in a store: it is left behind.
        """
        until_s, depth = time.monotonic() + wait_s, self.depth
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        while self._thread.is_alive() and time.monotonic() < until_s and not hurry():
            self._thread.join(min(_LOOK_S, max(until_s - time.monotonic(), 0.0)))
            if patient and self.depth < depth:
                until_s, depth = time.monotonic() + wait_s, self.depth
        if not self._thread.is_alive():
            return True
        with self._changed:
            # It may have ended meanwhile; then nothing waits and nobody is at work.
            self._is_given_up = True
            left, kiosk = list(self._waiting), self._at_work
            self._waiting.clear()
        why = "the ledger or the events file did not answer before the end"
        if kiosk is not None:
            kiosk.give_up(why=why)
        for waiting, sighting in left:
            waiting.lose(sighting, why=why)
        return kiosk is None and not left

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            kiosk, sighting = taken
            try:
                kiosk.settle(sighting)
            except Exception as error:
                logger.debug("a result was not settled", exc_info=True)
                kiosk.fail()
                self._on_fault(error)
            with self._changed:
                self._at_work = None

    def _take(self) -> tuple[Kiosk, Sighting] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_given_up or not self._waiting:
                return None
            kiosk, sighting = self._waiting.popleft()
            # Noted under the lock: whoever gives up finds each result either waiting or begun.
            self._at_work = kiosk
            kiosk.begin(sighting)
            return kiosk, sighting
