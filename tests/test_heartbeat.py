"""A kiosk's health in the ledger: written by a thread of its own, quiet about a ledger that is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from attendance.errors import LedgerUnavailableError
from attendance.heartbeat import Heartbeat
from attendance.ledger.registry import Register, Registered
from attendance.ledger.sqlite import SqliteLedger
from tests.fakes import at


class Away(SqliteLedger):
    """A ledger that is away as long as it is told to be, and counts how often it was asked."""

    away = False
    asked = 0

    def find_registered(self, register: Register, key: str) -> Registered | None:
        self.asked += 1
        if self.away:
            raise LedgerUnavailableError("the server is away: wait for it")
        return super().find_registered(register, key)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Away]:
    with Away(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={}) as opened:
        yield opened


def clock() -> Callable[[], datetime]:
    seconds = iter(range(10_000))
    return lambda: at(next(seconds))


def look() -> dict[str, Any]:
    return {"punches": 3, "cameras": []}


def wait_until(true: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(1000):
        if true():
            return
        waited.wait(0.01)
    raise AssertionError("waited in vain")


def health(ledger: Away) -> Registered:
    [found] = ledger.registered(Register.HEALTH)
    return found


def test_health_is_written_again_and_again_and_at_the_end(ledger: Away) -> None:
    heartbeat = Heartbeat(ledger, "hall", run="a", look=look, now=clock(), every_s=0.01)
    heartbeat.start()
    wait_until(lambda: ledger.asked > 6)
    assert health(ledger).value["ended_at"] is None
    heartbeat.stop()
    found = health(ledger)
    assert (found.key, found.value["run"], found.value["punches"], found.version >= 3) == ("hall", "a", 3, True)
    assert found.value["started_at"] == at(0) < found.value["seen_at"] == found.value["ended_at"]
    heartbeat.stop()


def test_a_ledger_that_is_away_is_told_once_and_again_after_it_was_there(
    ledger: Away, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.away = True
    heartbeat = Heartbeat(ledger, "hall", run="a", look=look, now=clock(), every_s=0.01)
    with caplog.at_level(logging.WARNING):
        heartbeat.start()
        wait_until(lambda: ledger.asked > 3)
        ledger.away = False
        wait_until(lambda: bool(ledger.registered(Register.HEALTH)))
        assert caplog.text.count("health cannot be written") == 1
        heartbeat.stop()
    assert caplog.text.count("health cannot be written") == 1


def test_another_kiosk_under_the_same_name_is_told_once_and_one_that_ended_is_not(
    ledger: Away, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.register(Register.HEALTH, "hall", {"run": "b", "seen_at": at(99), "ended_at": at(99), **look()})
    ledger.register(Register.HEALTH, "gate", {"run": "b", "seen_at": at(9_999), "ended_at": None, **look()})
    for kiosk, told in (("hall", 0), ("gate", 1)):
        heartbeat = Heartbeat(ledger, kiosk, run="a", look=look, now=clock(), every_s=0.01)
        heartbeat.start()
        heartbeat.stop()
        assert caplog.text.count("another kiosk runs under the name") == told
