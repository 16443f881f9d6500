"""``ledger copy|rebuild``: move everything to another store, and count the attendance anew."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attendance.cli.base import EXIT_OK, Context, add_command, add_group
from attendance.errors import UsageError
from attendance.ledger.copying import copy_ledger
from attendance.ledger.opening import is_server, ledger_url, open_ledger, registered_zones
from attendance.ledger.port import Ledger


def register(commands: Any) -> None:
    """Add the group."""
    group = add_group(
        commands, "ledger", summary="copy the ledger, or count the attendance anew", example="python -m attendance "
        "ledger copy store/ledger.sqlite mongodb://localhost:27017/attendance",
    )  # fmt: skip
    parser = add_command(
        group,
        "copy",
        summary="copy people, punches, settings, cameras and sites into another ledger, compared by counts and hashes; "
        "run it again after an interruption and it goes on",
        example="python -m attendance ledger copy store/ledger.sqlite @secrets/mongodb_url",
        command=copy,
    )
    what = "an SQLite file, a mongodb:// address without a password, or @FILE that holds an address"
    parser.add_argument("source", metavar="FROM", help=what)
    parser.add_argument("target", metavar="TO", help="the same; made where it is new")
    add_command(
        group,
        "rebuild",
        summary="derive the attendance rows anew from all punches",
        example="python -m attendance ledger rebuild",
        command=rebuild,
    )


def copy(arguments: argparse.Namespace, context: Context) -> int:
    """Copy and compare; LedgerError where anything differs."""
    source, target = _place(arguments.source), _place(arguments.target)
    if isinstance(source, Path) and not source.is_file():
        raise UsageError(f"FROM must be a ledger that exists, got {source}: name its file, such as store/ledger.sqlite")
    if source == target:
        raise UsageError("FROM and TO must be two ledgers, got the same twice: name another target")
    started = time.monotonic()
    with _open(source, context) as old, _open(target, context) as new:
        copied = copy_ledger(old, new)
    seconds = time.monotonic() - started
    context.say(
        f"{copied.people} people, {copied.punches} punches, {copied.settings} settings, {copied.registered} cameras "
        f"and sites, and {copied.attendance} attendance rows are the same in both; "
        f"{copied.written} records written in {seconds:.1f} s"
    )
    context.write_json({**asdict(copied), "seconds": round(seconds, 3)})
    return EXIT_OK


def rebuild(_: argparse.Namespace, context: Context) -> int:
    """Count every site anew."""
    with context.open_store() as app:
        rows = app.ledger.rebuild_attendance()
    context.say(f"{rows} attendance rows")
    context.write_json({"attendance": rows})
    return EXIT_OK


def _place(text: str) -> Path | str:
    if text.startswith("@"):
        return ledger_url("", Path(text[1:]))
    if not is_server(text):
        return Path(text)
    if "@" in urlsplit(text).netloc and ":" in urlsplit(text).netloc.rpartition("@")[0]:
        raise UsageError("a password on the command line is seen by everybody: put the address in a file, give @FILE")
    return text


def _open(place: Path | str, context: Context) -> Ledger:
    settings = context.settings
    url, path = ("", place) if isinstance(place, Path) else (place, settings.store.path / "ledger.sqlite")
    zones = settings.time_zones()
    if "sites" not in settings.model_fields_set:
        zones |= registered_zones(url, path)
    return open_ledger(url, path, cooldown_s=settings.attendance.cooldown_s, time_zones=zones)
