"""The ledger: copying 200,000 punches and 5,000 people between files, and to and from a MongoDB server.

The server is the one that MONGODB_URL names (an empty database on it is needed), else SecantusDB, which stands in for
it in the tests and is written in Python: its figures say nothing about the speed of MongoDB.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from attendance.ledger.copying import Copied, copy_ledger
from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Ledger, PunchQuery
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Consent, Direction, Person, Punch, Template
from benchmarks.report import Table, write_result

START = datetime(2026, 1, 1, 5, tzinfo=UTC)
ZONES = {"main": ZoneInfo("Europe/Berlin"), "annex": ZoneInfo("America/New_York")}
CARD = "dlib-resnet29"
BATCH = 5000
QUERIES = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger")
    parser.add_argument("--punches", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=5000)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as name:
        rows = _measure(Path(name), arguments.punches, arguments.people)
    for row in rows:
        print("  ".join(row))
    table = Table("Copies, each compared by count and hash", ("copy", "records", "seconds", "records/s"), rows)
    write_result(
        "ledger",
        "Copying a ledger",
        tables=[table],
        data={"copies": [list(row) for row in rows]},
        command=f"python -m benchmarks.ledger --punches {arguments.punches} --people {arguments.people}",
    )
    return 0


def _measure(folder: Path, punches: int, people: int) -> list[tuple[str, str, str, str]]:
    rows = []
    with _file(folder / "source.sqlite") as source:
        fill(source, punches=punches, people=people)
        with _file(folder / "copy.sqlite") as copy:
            rows.append(_timed("SQLite to SQLite", lambda: copy_ledger(source, copy)))
        with server(folder) as url, MongoLedger(url, cooldown_s=300.0, time_zones=ZONES, timeout_s=60.0) as remote:
            rows.append(_timed("SQLite to MongoDB's protocol", lambda: copy_ledger(source, remote)))
            with _file(folder / "back.sqlite") as back:
                rows.append(_timed("MongoDB's protocol to SQLite", lambda: copy_ledger(remote, back)))
            rows.append(_same_answers(source, remote, people))
    return rows


def _timed(name: str, work: Callable[[], Copied]) -> tuple[str, str, str, str]:
    started = time.perf_counter()
    copied = work()
    seconds = time.perf_counter() - started
    records = copied.people + copied.punches
    return name, str(records), f"{seconds:.1f}", f"{records / seconds:.0f}"


def _same_answers(one: Ledger, other: Ledger, people: int) -> tuple[str, str, str, str]:
    """Ask both the same random questions; AssertionError where an answer differs."""
    chance = random.Random(2)
    started = time.perf_counter()
    for _ in range(QUERIES):
        first = (START + timedelta(days=chance.randrange(60))).date()
        query = PunchQuery(
            first_day=first,
            last_day=first + timedelta(days=chance.randrange(2)),
            identity_id=chance.choice([None, f"person-{chance.randrange(people):05d}"]),
            site=chance.choice([None, "main", "annex"]),
        )
        if one.attendance(query) != other.attendance(query):
            raise AssertionError(f"the stores answer {query} differently")
    seconds = time.perf_counter() - started
    return "random questions answered alike", str(QUERIES), f"{seconds:.1f}", f"{QUERIES / seconds:.0f}"


def _file(path: Path) -> SqliteLedger:
    return SqliteLedger(path, cooldown_s=300.0, time_zones=ZONES)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of an empty database to measure with, for as long as the context lasts."""
    outside = os.environ.get("MONGODB_URL", "")
    if outside:
        yield outside
        return
    from tests.ledger.server import Server

    process = Server(folder / "server")
    try:
        yield process.url("bench")
    finally:
        process.stop()


def fill(ledger: Ledger, *, punches: int, people: int, templates: int = 1) -> None:
    """People with so many templates each, and punches over sixty days at two sites; the same ones every time."""
    chance, noise = random.Random(1), np.random.default_rng(1)
    for start in range(0, people, BATCH):
        ledger.import_people([_person(n, templates, noise) for n in range(start, min(start + BATCH, people))])
    for start in range(0, punches, BATCH):
        ledger.import_punches([_punch(n, people, chance) for n in range(start, min(start + BATCH, punches))])
    ledger.rebuild_attendance()


def _person(number: int, templates: int, noise: np.random.Generator) -> Person:
    vectors = noise.standard_normal((templates, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = tuple(
        Template(
            template_id=f"template-{number}-{index}",
            vector=vector,
            card_id=CARD,
            source_label="photos",
            path=f"{number}/{index}.jpg",
            sha256=f"{number:064x}",
            batch="batch",
            created_at=START,
        )
        for index, vector in enumerate(vectors)
    )
    return Person(
        identity_id=f"person-{number:05d}",
        subject_ref=f"ref-{number:05d}",
        version=1,
        created_at=START,
        consent=Consent(policy="attested", version="1", at=START, by="operator"),
        templates=made,
    )


def _punch(number: int, people: int, chance: random.Random) -> Punch:
    observed_at = START + timedelta(milliseconds=chance.randrange(60 * 86_400_000))
    return Punch(
        event_id=f"event-{number:08d}",
        subject_ref=f"ref-{chance.randrange(people):05d}",
        journal_id="journal",
        journal_counter=number,
        observed_at=observed_at,
        recorded_at=observed_at,
        site=chance.choice(["main", "annex"]),
        camera_id="door",
        direction=chance.choice([Direction.IN, Direction.OUT]),
        method="face",
        similarity=0.9 + 0.1 * chance.random(),
        runner_up_ref=None,
        runner_up_similarity=None,
        margin=None,
        threshold=0.9,
        card_id=CARD,
        template_revision=1,
        track_id=number,
    )


if __name__ == "__main__":
    sys.exit(main())
