"""A ledger that may be away: all that a running kiosk asks of it, and no long wait for it in front of the camera."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from attendance.errors import LedgerUnavailableError
from attendance.ledger.port import Ledger, PersonVersion, Recorded, TemplateRevision
from attendance.ledger.registry import Register, Registered
from attendance.types import Person, Punch

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class ReachingLedger:
    """Opens its ledger when it is first asked for something, and again until that succeeds.

    A punch waits for the ledger once at most, and no longer than ``patience_s``: when anything found it away, `record`
    refuses at once until a question of another thread (the mirror's follower asks every few seconds) was answered. A
    punch that was given up on may be stored all the same. Raises what the ledger raises.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], *, patience_s: float = 4.0) -> None:
        self._open = open_ledger
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None
        self._away: str | None = None
        self._patience_s = patience_s
        self._punches: SimpleQueue[tuple[Punch, Future[Recorded]] | None] = SimpleQueue()
        # A server that hangs is given up by its driver later than people walk on, or never: not even the end of the
        # program waits for this thread.
        self._recording = threading.Thread(target=self._record, name="recording", daemon=True)

    @property
    def is_away(self) -> bool:
        """Whether the last that was heard of the ledger is that it cannot be reached."""
        return self._away is not None

    def template_revision(self) -> TemplateRevision:
        """See the port."""
        return self._asked(lambda ledger: ledger.template_revision())

    def person_versions(self) -> dict[str, PersonVersion]:
        """See the port."""
        return self._asked(lambda ledger: ledger.person_versions())

    def people(self, identity_ids: Sequence[str] | None = None) -> list[Person]:
        """See the port."""
        return self._asked(lambda ledger: ledger.people(identity_ids))

    def register(self, register: Register, key: str, value: dict[str, Any]) -> Registered:
        """See the port."""
        return self._asked(lambda ledger: ledger.register(register, key, value))

    def find_registered(self, register: Register, key: str) -> Registered | None:
        """See the port."""
        return self._asked(lambda ledger: ledger.find_registered(register, key))

    def record(self, punch: Punch) -> Recorded:
        """See the port; refuses at once while the ledger is known to be away."""
        if self._away is not None:
            raise LedgerUnavailableError(self._away)
        if self._recording.ident is None:
            self._recording.start()
        answer: Future[Recorded] = Future()
        self._punches.put((punch, answer))
        try:
            return answer.result(self._patience_s)
        except TimeoutError:
            error = LedgerUnavailableError(
                f"the ledger did not confirm a punch within {self._patience_s:g} s; it may be stored: "
                "look at the server and the network"
            )
            self._note_away(error)
            raise error from None

    def close(self) -> None:
        """Take no punch any more, and wait for none; the ledger itself is closed by whoever opened it."""
        self._punches.put(None)

    def _record(self) -> None:
        while (asked := self._punches.get()) is not None:
            self._answer(*asked)

    def _answer(self, punch: Punch, answer: Future[Recorded]) -> None:
        try:
            answer.set_result(self._asked(lambda ledger: ledger.record(punch)))
        except Exception as error:
            logger.debug("a punch was not recorded", exc_info=True)
            answer.set_exception(error)

    def _asked(self, question: Callable[[Ledger], _T]) -> _T:
        try:
            answer = question(self._opened())
        except LedgerUnavailableError as error:
            self._note_away(error)
            raise
        if self._away is not None:
            self._away = None
            logger.warning("the ledger is back")
        return answer

    def _note_away(self, error: LedgerUnavailableError) -> None:
        if self._away is None:
            logger.error("the ledger is away, and nothing is recorded until it is back: %s", error)
        self._away = str(error)

    def _opened(self) -> Ledger:
        with self._opening:
            if self._ledger is None:
                self._ledger = self._open()
            return self._ledger
