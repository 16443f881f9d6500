"""The ledger: copying 200,000 punches and 5,000 people between files and a server, and whether both answer alike.

They are copied between files, and to and from a MongoDB server; then file and server are asked 200 random questions and
must answer alike, field by field.

The server is the one that MONGODB_URL names (an empty database on it is needed), else SecantusDB, which stands in for
it in the tests and is written in Python: its figures say nothing about the speed of MongoDB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from attendance.ledger.copying import copy_ledger
from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from benchmarks.ledger_questions import Answers, compare_answers, timed
from benchmarks.ledger_set import ZONES, fill
from benchmarks.report import Table, environment, write_result
from benchmarks.wire_server import wire_server

Row = tuple[str, str, str, str]
COPY_COLUMNS = ("copy", "records", "seconds", "records/s")
ANSWER_COLUMNS = ("ledgers", "questions", "records compared", "seconds of each")
NOTE = (
    "A record is a person with templates or a punch; the attendance rows, nearly as many again, are written and "
    "compared in the same time and not counted. All of it is read back and compared."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger")
    parser.add_argument(
        "part", nargs="?", choices=["files", "parity"], default="parity", help="files: without a server"
    )
    parser.add_argument("--punches", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where the result goes (benchmarks/results)")
    arguments = parser.parse_args(argv)
    environment()
    copies: list[Row] = []
    answers: list[tuple[str, Answers]] = []
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as name:
        folder = Path(name)
        with _file(folder / "source.sqlite") as source:
            fill(source, arguments.punches, arguments.people)
        copies.append(_by_command(folder))
        if arguments.part == "parity":
            _with_a_server(folder, arguments, copies, answers)
    _write(arguments, copies, answers)
    return 0


def _by_command(folder: Path) -> Row:
    """The whole command as its user types it, from its start to its end."""
    sites = [{"id": site, "time_zone": str(zone)} for site, zone in ZONES.items()]
    (folder / "attendance.yaml").write_text(json.dumps({"sites": sites}), encoding="utf-8")
    options = ["--config", str(folder / "attendance.yaml"), "--store", str(folder / "store"), "--quiet"]
    options += ["--json", str(folder / "copied.json")]
    files = [str(folder / "source.sqlite"), str(folder / "copy.sqlite")]
    command = [sys.executable, "-m", "attendance", "ledger", "copy", *files, *options]
    _, seconds = timed(lambda: subprocess.run(command, check=True))
    copied = json.loads((folder / "copied.json").read_text(encoding="utf-8"))
    return _row("SQLite to SQLite, the whole command", copied["people"] + copied["punches"], seconds)


def _with_a_server(
    folder: Path, arguments: argparse.Namespace, copies: list[Row], answers: list[tuple[str, Answers]]
) -> None:
    with (
        _file(folder / "source.sqlite") as source,
        wire_server(folder) as url,
        MongoLedger(url, cooldown_s=300.0, time_zones=ZONES, timeout_s=600.0) as server,
        _file(folder / "back.sqlite") as back,
    ):
        copies.append(_copied("SQLite to MongoDB's protocol", source, server))
        copies.append(_copied("MongoDB's protocol to SQLite", server, back))
        for name, other in (("SQLite and MongoDB's protocol", server), ("SQLite and the copy that came back", back)):
            found = compare_answers(source, other, questions=arguments.questions, people=arguments.people)
            answers.append((name, found))


def _copied(name: str, source: Ledger, target: Ledger) -> Row:
    copied, seconds = timed(lambda: copy_ledger(source, target))
    return _row(name, copied.people + copied.punches, seconds)


def _row(name: str, records: int, seconds: float) -> Row:
    return name, str(records), f"{seconds:.1f}", f"{records / seconds:.0f}"


def _write(arguments: argparse.Namespace, copies: Sequence[Row], answers: Sequence[tuple[str, Answers]]) -> None:
    tables = [Table("Copies", COPY_COLUMNS, copies, NOTE)]
    rows = [
        (name, str(each.questions), str(each.records), " and ".join(f"{part:.1f}" for part in each.seconds))
        for name, each in answers
    ]
    if rows:
        note = "Raw punches, attendance rows and the three forms of the report; not one field differs."
        tables.append(Table("Random questions answered alike", ANSWER_COLUMNS, rows, note))
    for row in [*copies, *rows]:
        print("  ".join(row))
    options = f"--punches {arguments.punches} --people {arguments.people} --questions {arguments.questions}"
    write_result(
        "ledger" if arguments.part == "parity" else "ledger-files",
        "Copying a ledger, and asking it",
        tables=tables,
        data={
            "copies": [dict(zip(COPY_COLUMNS, row, strict=True)) for row in copies],
            "answers": [{"ledgers": name, **asdict(each)} for name, each in answers],
        },
        command=f"python -m benchmarks.ledger {arguments.part} {options}",
        **({} if arguments.folder is None else {"folder": arguments.folder}),
    )


def _file(path: Path) -> SqliteLedger:
    return SqliteLedger(path, cooldown_s=300.0, time_zones=ZONES)


if __name__ == "__main__":
    sys.exit(main())
