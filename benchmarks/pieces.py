"""Benchmarks in pieces: each measured in a process of its own, kept, and put together when all are there.

A piece is short, so that a machine can be kept quiet for it, and its memory is its own. What was measured under another
stamp (by default the commit) is not put together with it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lfw import DEFAULT_DATA, Lfw
from benchmarks.report import Table, environment, write_result

WORK = Path(__file__).parents[1] / "build"

Measured = dict[str, Any]
"""What a piece found, plain values only."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a piece is given: the photos, and rounds of each timing."""

    lfw: Lfw
    rounds: int


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark. ``conclude`` makes the result of all pieces: data with ``promises`` (name to whether it is kept)."""

    name: str
    title: str
    pieces: Mapping[str, Callable[[Options], Measured]]
    conclude: Callable[[Mapping[str, Measured]], tuple[Measured, Sequence[Table]]]
    threads: int
    rounds: int = 5
    needs: Callable[[Options], str | None] = lambda options: None
    """Why it cannot be measured here, or None."""

    @property
    def command(self) -> str:
        """What measures all of it."""
        return f"python -m benchmarks.{self.name}"


def needs_photos(options: Options) -> str | None:
    """`Part.needs` of parts that read the data set."""
    return None if options.lfw.is_there() else f"no data set (images/, split.csv) in {options.lfw.root}"


def run(part: Part, argv: Sequence[str] | None, *, folder: Path | None = None) -> int:
    """Measure all pieces, or the one asked for, and write the result when all are there; 1 where a promise is missed.

    ``folder`` keeps what the pieces found; default build/<name>.
    """
    arguments = _parser(part).parse_args(argv)
    options = Options(Lfw(arguments.data), arguments.rounds)
    kept = WORK / part.name if folder is None else folder
    reason = part.needs(options)
    if reason is not None:
        print(f"{part.command}: skipped: {reason}")
        return 0
    stamp = arguments.stamp if arguments.stamp else environment()["commit"]
    if arguments.piece is not None:
        found = part.pieces[arguments.piece](options)
        print(json.dumps(found), flush=True)
        keep(kept, arguments.piece, stamp, found)
        if arguments.stamp:
            return 0
    else:
        for name in part.pieces:
            print(f"-- {part.name} {name}", flush=True)
            _apart(part, name, arguments, stamp)
    found_all = kept_pieces(kept, part.pieces, stamp)
    missing = [name for name in part.pieces if name not in found_all]
    if missing:
        print(f"{part.command}: no result yet, still to be measured: {', '.join(missing)}")
        return 0
    return _write(part, found_all, dry=arguments.dry)


def _parser(part: Part) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=part.command, description=part.title)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--rounds", type=int, default=part.rounds, help=f"rounds of each timing ({part.rounds})")
    parser.add_argument("--piece", choices=part.pieces, help="this one alone; the result is written with the last")
    parser.add_argument("--stamp", default="", help="what the pieces of one result have in common (the commit)")
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser


def _apart(part: Part, piece: str, arguments: argparse.Namespace, stamp: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{part.name}", "--piece", piece, "--stamp", stamp]
    command += ["--data", str(arguments.data), "--rounds", str(arguments.rounds)]
    code = subprocess.run(command, cwd=WORK.parent, check=False).returncode
    if code != 0:
        raise SystemExit(f"{part.command}: piece {piece} ended with {code}")


def keep(folder: Path, piece: str, stamp: str, found: Measured) -> None:
    """Keep what a piece found, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{piece}.partial"
    partial.write_text(json.dumps({"stamp": stamp, "found": found}), encoding="utf-8")
    os.replace(partial, folder / f"{piece}.json")


def kept_pieces(folder: Path, names: Mapping[str, object], stamp: str) -> dict[str, Measured]:
    """What was kept under the stamp, in the order of ``names``."""
    kept: dict[str, Measured] = {}
    for name in names:
        path = folder / f"{name}.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if content.get("stamp") == stamp:
            kept[name] = content["found"]
    return kept


def _write(part: Part, found: Mapping[str, Measured], *, dry: bool) -> int:
    data, tables = part.conclude(found)
    if not dry:
        write_result(part.name, part.title, tables=tables, data=data, command=part.command, threads=part.threads)
    promises = data["promises"]
    print(promises)
    return 0 if all(promises.values()) else 1
