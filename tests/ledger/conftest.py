"""Ledgers of every adapter, and people and punches made by code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pymongo import monitoring

from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import AttendanceRow, Consent, Direction, Person, Punch, Template
from tests.ledger.server import Server, fresh_database, stop_shared_server

Opener = Callable[..., Ledger]

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
ZONES = {"main": ZoneInfo("Europe/Berlin"), "annex": ZoneInfo("America/New_York")}


def open_sqlite(folder: Path, cooldown_s: float, time_zones: Mapping[str, ZoneInfo]) -> Ledger:
    return SqliteLedger(folder / "store" / "ledger.sqlite", cooldown_s=cooldown_s, time_zones=time_zones)


def open_mongo(folder: Path, cooldown_s: float, time_zones: Mapping[str, ZoneInfo]) -> Ledger:
    return MongoLedger(fresh_database(folder), cooldown_s=cooldown_s, time_zones=time_zones)


# An adapter joins the contract suite by one line here: it opens the store that the folder stands for, again and again.
FACTORIES: dict[str, Callable[[Path, float, Mapping[str, ZoneInfo]], Ledger]] = {
    "sqlite": open_sqlite,
    "mongo": open_mongo,
}


@pytest.fixture(scope="session", autouse=True)
def _stopped_at_the_end() -> Iterator[None]:
    """The server that the tests share is started by the first that needs it."""
    yield
    stop_shared_server()


@pytest.fixture
def mongo_url(tmp_path: Path) -> str:
    """An empty database on the shared server, or on the one that MONGODB_URL names."""
    return fresh_database(tmp_path)


class Heard(monitoring.CommandListener):
    """Every command that is sent while somebody listens."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.commands is not None and event.command_name in COLLECTION_COMMANDS:
            self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Not looked at."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Not looked at."""


COLLECTION_COMMANDS = ("find", "insert", "update", "delete", "aggregate", "distinct", "count", "findAndModify")
HEARD = Heard()
monitoring.register(HEARD)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    HEARD.commands = found
    yield found
    HEARD.commands = None


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill; it ends with the test, without ceremony."""
    server = Server(tmp_path / "server")
    yield server
    server.kill()


@pytest.fixture(params=sorted(FACTORIES))
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store each time it is called; everything opened is closed at the end."""
    opened: list[Ledger] = []

    def opener(*, cooldown_s: float = 300.0, time_zones: Mapping[str, ZoneInfo] = ZONES) -> Ledger:
        ledger = FACTORIES[request.param](tmp_path, cooldown_s, time_zones)
        opened.append(ledger)
        return ledger

    yield opener
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Opener) -> Ledger:
    """A new, empty ledger with the sites main (Berlin) and annex (New York), cooldown 300 s."""
    return open_ledger()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "ledger.sqlite"


@pytest.fixture
def make_punch() -> Callable[..., Punch]:
    """A punch ``at_s`` seconds after Monday 2026-01-05 08:00 UTC; further keywords replace its fields."""

    def make(number: int, at_s: float = 0.0, **changes: Any) -> Punch:
        observed_at = START + timedelta(seconds=at_s)
        values: dict[str, Any] = {
            "event_id": f"event-{number:05d}",
            "subject_ref": "ref-01",
            "journal_id": "journal-a",
            "journal_counter": number,
            "observed_at": observed_at,
            "recorded_at": observed_at + timedelta(milliseconds=40),
            "site": "main",
            "camera_id": "door",
            "direction": Direction.IN,
            "method": "face",
            "similarity": 0.9123456789,
            "runner_up_ref": None,
            "runner_up_similarity": None,
            "margin": None,
            "threshold": 0.91,
            "card_id": "card-1",
            "template_revision": 3,
            "track_id": number,
        }
        return Punch(**{**values, **changes})

    return make


@pytest.fixture
def make_person() -> Callable[..., Person]:
    """Person ``person-<number>`` with the reference ``ref-<number>`` and ``templates`` random templates."""

    def make(number: int, *, templates: int = 0, **changes: Any) -> Person:
        random = np.random.default_rng(number)
        made = tuple(
            Template(
                template_id=f"template-{number:02d}-{i}",
                vector=random.standard_normal(128).astype(np.float32),
                card_id="card-1",
                source_label="photos",
                path=f"person-{number:02d}/{i}.jpg",
                sha256=f"{i:064x}",
                batch="batch-1",
                created_at=START,
            )
            for i in range(templates)
        )
        values: dict[str, Any] = {
            "identity_id": f"person-{number:02d}",
            "subject_ref": f"ref-{number:02d}",
            "version": 1,
            "created_at": START,
            "consent": Consent(policy="attested", version="1", at=START, by="operator"),
            "templates": made,
        }
        return Person(**{**values, **changes})

    return make


@pytest.fixture
def expected_rows() -> Callable[..., list[AttendanceRow]]:
    """Attendance by the plain words, slowly: a punch counts unless one that counts lies within the cooldown before."""

    def expect(
        punches: Iterable[Punch],
        *,
        cooldown_s: float = 300.0,
        zones: Mapping[str, ZoneInfo] = ZONES,
        names: Mapping[str, str] | None = None,
    ) -> list[AttendanceRow]:
        counting: list[Punch] = []
        for punch in sorted(punches, key=lambda p: (p.observed_at, p.journal_id, p.journal_counter)):
            same = [
                c
                for c in counting
                if (c.subject_ref, c.site, c.direction) == (punch.subject_ref, punch.site, punch.direction)
            ]
            if all((punch.observed_at - c.observed_at).total_seconds() >= cooldown_s for c in same):
                counting.append(punch)
        rows = [_row(punch, cooldown_s, zones.get(punch.site), names or {}) for punch in counting]
        return sorted(rows, key=lambda row: (row.observed_at, row.event_id))

    return expect


def _row(punch: Punch, cooldown_s: float, zone: ZoneInfo | None, names: Mapping[str, str]) -> AttendanceRow:
    local = punch.observed_at.astimezone(UTC if zone is None else zone)
    return AttendanceRow(
        event_id=punch.event_id,
        subject_ref=punch.subject_ref,
        identity_id=names.get(punch.subject_ref),
        site=punch.site,
        camera_id=punch.camera_id,
        observed_at=punch.observed_at,
        local_day=local.date(),
        direction=punch.direction,
        rules=f"v1 cooldown={cooldown_s:g} zone={'UTC (site not configured)' if zone is None else zone}",
        time_zone="UTC" if zone is None else str(zone),
    )


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Run ``work(0..count-1)`` at once; the first error of any is raised."""
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(work, number) for number in range(count)]:
            future.result()
