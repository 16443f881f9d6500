"""Backup and restore of 100,000 punches and 5,000 people: seconds, and whether every report is the same afterwards.

Each command is run as a user runs it, start of Python included; a restore ends with the gallery made anew. The server
is the one that MONGODB_URL names (an empty database on it, and one of that name with _back, are needed), else
SecantusDB, which stands in for it in the tests and is written in Python: its figures say nothing about MongoDB's speed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import yaml

from attendance.ledger.copying import copy_ledger
from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Consent, Direction, Person, Punch, Template
from benchmarks.report import Table, write_result
from benchmarks.wire_server import wire_server

START = datetime(2026, 1, 1, 5, tzinfo=UTC)
ZONES = {"main": ZoneInfo("Europe/Berlin"), "annex": ZoneInfo("America/New_York")}
CARD, DIMENSION = "dlib-resnet29", 128
ROOT = Path(__file__).resolve().parents[1]
PROMISED_S = 60.0
REPORTS = [["--by", by, "--format", form] for by in ("punch", "day", "person") for form in ("csv", "json")]
Row = tuple[str, str, str, str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result; 1 where a report differs or the file's way takes longer than promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backup")
    parser.add_argument("--punches", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--templates", type=int, default=4, help="of each person (4)")
    parser.add_argument("--no-server", action="store_true", help="measure the ledger in a file alone")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-backup-") as name:
        rows = _measure(Path(name), arguments)
    for row in rows:
        print("  ".join(row))
    note = (
        f"{arguments.people} people with {arguments.templates} templates each, {arguments.punches} punches. Seconds of "
        f"whole commands. The promise is {PROMISED_S:g} s for both together."
    )
    columns = ("ledger", "backup s", "restore s", "together s", "reports equal, byte by byte")
    write_result(
        "backup",
        "Backup and restore",
        tables=[Table("There and back", columns, rows, note)],
        data={"ways": [dict(zip(columns, row, strict=True)) for row in rows]},
        command="python -m benchmarks.backup "
        f"--punches {arguments.punches} --people {arguments.people} --templates {arguments.templates}"
        + (" --no-server" if arguments.no_server else ""),
    )
    kept = all(row[4].startswith(f"{len(REPORTS)} of") for row in rows) and float(rows[0][3]) < PROMISED_S
    return 0 if kept else 1


def _measure(folder: Path, arguments: argparse.Namespace) -> list[Row]:
    key, file = folder / "key", folder / "file"
    configuration = folder / "config.yaml"
    _write_configuration(configuration, key)
    with SqliteLedger(file / "ledger.sqlite", cooldown_s=300.0, time_zones=ZONES) as ledger:
        _fill(ledger, punches=arguments.punches, people=arguments.people, templates=arguments.templates)
    _run(configuration, file, "backup", "--make-key", str(key))
    rows = [_there_and_back("SQLite", folder, (configuration, file), (configuration, folder / "file-back"))]
    if arguments.no_server:
        return rows
    with wire_server(folder) as url:
        remote, back = folder / "remote.yaml", folder / "back.yaml"
        _write_configuration(remote, key, url)
        _write_configuration(back, key, f"{url}_back")
        with (
            SqliteLedger(file / "ledger.sqlite", cooldown_s=300.0, time_zones=ZONES) as ledger,
            MongoLedger(url, cooldown_s=300.0, time_zones=ZONES, timeout_s=60.0) as filled,
        ):
            copy_ledger(ledger, filled)
        place = (remote, folder / "remote"), (back, folder / "remote-back")
        rows.append(_there_and_back("MongoDB's protocol", folder, *place))
    return rows


def _write_configuration(path: Path, key: Path, url: str = "") -> None:
    values = {
        "ledger": {"url": url},
        "backup": {"key_file": str(key)},
        "sites": [{"id": site, "time_zone": str(zone)} for site, zone in ZONES.items()],
        "cameras": [{"id": "door", "site": "main"}],
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


Place = tuple[Path, Path]


def _there_and_back(name: str, folder: Path, source: Place, target: Place) -> Row:
    before = [_run(*source, "report", *flags)[1] for flags in REPORTS]
    copy = folder / f"{source[1].name}.age"
    backup_s, told = _run(*source, "backup", str(copy), "--json", "-")
    restore_s, _ = _run(*target, "restore", str(copy), "--json", "-")
    equal = sum(_run(*target, "report", *flags)[1] == old for flags, old in zip(REPORTS, before, strict=True))
    print(f"{name}: {json.loads(told)['bytes'] / 1e6:.1f} MB", flush=True)
    together = f"{backup_s + restore_s:.1f}"
    return name, f"{backup_s:.1f}", f"{restore_s:.1f}", together, f"{equal} of {len(REPORTS)}"


def _run(configuration: Path, store: Path, *words: str) -> tuple[float, bytes]:
    """Run a command; its seconds and standard output."""
    store.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "attendance", *words, "--config", str(configuration), "--store", str(store)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - started, done.stdout


def _fill(ledger: Ledger, *, punches: int, people: int, templates: int) -> None:
    """The same people and punches every time, over sixty days at two sites."""
    chance, noise = random.Random(1), np.random.default_rng(1)
    ledger.import_people([_person(number, templates, noise) for number in range(people)])
    ledger.import_punches([_punch(number, people, chance) for number in range(punches)])
    ledger.rebuild_attendance()


def _person(number: int, templates: int, noise: np.random.Generator) -> Person:
    vectors = noise.standard_normal((templates, DIMENSION)).astype(np.float32)
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
        name=f"Person {number}",
        department=f"department-{number % 7}",
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
        site=chance.choice(list(ZONES)),
        camera_id="door",
        direction=chance.choice([Direction.IN, Direction.OUT]),
        method="face",
        similarity=0.96 + 0.03 * chance.random(),
        runner_up_ref=None,
        runner_up_similarity=None,
        margin=None,
        threshold=0.95,
        card_id=CARD,
        template_revision=1,
        track_id=number,
    )


if __name__ == "__main__":
    sys.exit(main())
