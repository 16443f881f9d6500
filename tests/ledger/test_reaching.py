"""A ledger that may be away: opened late, and no punch waits for it twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attendance.errors import LedgerError, LedgerUnavailableError
from attendance.ledger.port import Ledger, Recorded, TemplateRevision
from attendance.ledger.reaching import ReachingLedger
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Punch


class Flaky(SqliteLedger):
    """A ledger that can be taken away, and counts the punches that it was asked to record."""

    away = refuses = False
    asked = 0

    def record(self, punch: Punch) -> Recorded:
        self.asked += 1
        if self.away:
            raise LedgerUnavailableError("the server is away: wait for it")
        if self.refuses:
            raise LedgerError("the server refused it: look at the user's role")
        return super().record(punch)

    def template_revision(self) -> TemplateRevision:
        if self.away:
            raise LedgerUnavailableError("the server is away: wait for it")
        return super().template_revision()


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[Flaky]:
    with Flaky(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={}) as opened:
        yield opened


def test_only_the_first_punch_waits_and_an_answered_question_lets_punches_through_again(
    flaky: Flaky, make_punch: Callable[..., Punch], caplog: pytest.LogCaptureFixture
) -> None:
    reaching = ReachingLedger(lambda: flaky)
    assert reaching.record(make_punch(1)).counted
    flaky.away = True
    with caplog.at_level(logging.WARNING):
        for number in (2, 3, 4):
            with pytest.raises(LedgerUnavailableError, match="the server is away"):
                reaching.record(make_punch(number))
        assert (flaky.asked, reaching.is_away) == (2, True)
        with pytest.raises(LedgerUnavailableError):
            reaching.template_revision()
        flaky.away = False
        with pytest.raises(LedgerUnavailableError):
            reaching.record(make_punch(5))
        assert reaching.template_revision().revision == 0
        assert not reaching.is_away
        assert reaching.record(make_punch(6, 400)).counted
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert [punch.event_id for punch in flaky.punches()] == ["event-00001", "event-00006"]


def test_a_ledger_that_hangs_is_given_up_and_what_it_stores_later_is_stored(
    flaky: Flaky, make_punch: Callable[..., Punch]
) -> None:
    released = threading.Event()

    class Hanging(ReachingLedger):
        def _opened(self) -> Ledger:
            released.wait(60)
            return super()._opened()

    reaching = Hanging(lambda: flaky, patience_s=0.05)
    with pytest.raises(LedgerUnavailableError, match=r"within 0\.05 s; it may be stored"):
        reaching.record(make_punch(1))
    assert reaching.is_away
    with pytest.raises(LedgerUnavailableError):
        reaching.record(make_punch(2))
    released.set()
    assert reaching.template_revision().revision == 0
    assert reaching.record(make_punch(3)).inserted
    assert [punch.event_id for punch in flaky.punches()] == ["event-00001", "event-00003"]
    reaching.close()


def test_what_the_ledger_refuses_does_not_make_it_away(flaky: Flaky, make_punch: Callable[..., Punch]) -> None:
    reaching = ReachingLedger(lambda: flaky)
    flaky.refuses = True
    for number in (1, 2):
        with pytest.raises(LedgerError, match="refused"):
            reaching.record(make_punch(number))
    assert (flaky.asked, reaching.is_away) == (2, False)


def test_it_is_opened_when_it_can_be_and_once(flaky: Flaky, make_punch: Callable[..., Punch]) -> None:
    attempts: list[int] = []

    def open_ledger() -> Ledger:
        attempts.append(1)
        if len(attempts) < 3:
            raise LedgerUnavailableError("cannot be reached: look at the network")
        return flaky

    reaching = ReachingLedger(open_ledger)
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError):
            reaching.template_revision()
    with pytest.raises(LedgerUnavailableError):
        reaching.record(make_punch(1))
    assert len(attempts) == 2
    assert reaching.people() == []
    assert reaching.record(make_punch(1)).inserted
    assert (reaching.person_versions(), len(attempts)) == ({}, 3)
