"""How often the gate names a turned head, by an angle that another model's 68 points measured."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attendance.app import App
from attendance.config import load
from attendance.stills import Reading
from benchmarks.photos import cell, data_set, parser_of, read_strictly, readings_file
from benchmarks.promise_draws import Tally
from benchmarks.record_head_angles import ANGLES, KEPT_DEG
from benchmarks.report import Table, share, write_result

COMMAND = "python -m benchmarks turned"
EDGES = (KEPT_DEG, 40.0, 45.0, 47.0, 90.0)
GOOD_DEG, CLEARLY_DEG = 40.0, 47.0
"""A good photo shows a head turned by less than the first; one turned by the second and more is to be named."""
PROMISED = {"named": 0.90, "good_refused": 0.02}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result; 1 where a promise is missed."""
    arguments = parser_of(COMMAND, "How often turned heads are named.").parse_args(argv)
    lfw = data_set(arguments, COMMAND)
    if lfw is None:
        return 0
    people = lfw.people(arguments.half)
    with App(load(None, environment={})) as app:
        kept = readings_file(app, arguments.work, arguments.half)
        readings = read_strictly(app, [path for own in people.values() for path in own], kept)
    data = measure(people, readings)
    tables = _tables(data)
    for row in (row for table in tables for row in table.rows):
        print(" | ".join(row))
    if arguments.half != "report":
        print("no result is written: that takes the half kept for reporting")
        return 0
    files = write_result("turned", "Turned heads named", tables=tables, data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0 if all(data["promises"].values()) else 1


def measure(people: Mapping[str, Sequence[Path]], readings: Mapping[Path, Reading]) -> dict[str, Any]:
    """Named by how far they are turned, and refused of the good ones."""
    angles = read_angles()
    bands = {f"{low:g} to {high:g}": (low, high) for low, high in itertools.pairwise(EDGES)}
    named = {band: Tally.empty(len(people)) for band in (*bands, "clearly")}
    signs = {"left": Tally.empty(len(people)), "right": Tally.empty(len(people))}
    good = Tally.empty(len(people))
    for place, paths in enumerate(people.values()):
        for path in paths:
            who, reading = np.array([place]), readings[path]
            yaw = angles.get(reading.sha256, 0.0)
            told = np.array(["turned" in reading.detail])
            if abs(yaw) < GOOD_DEG:
                good.add(who, np.array([reading.reason is not None]))
            if abs(yaw) < KEPT_DEG:
                continue
            named[next(band for band, (low, high) in bands.items() if low <= abs(yaw) < high)].add(who, told)
            if abs(yaw) >= CLEARLY_DEG:
                named["clearly"].add(who, told)
                signs["right" if yaw > 0 else "left"].add(who, told)
    result: dict[str, Any] = {
        "clearly_deg": CLEARLY_DEG,
        "named": {band: tally.to_json() for band, tally in named.items() if tally.trials.sum()},
        "signs": {sign: tally.to_json() for sign, tally in signs.items() if tally.trials.sum()},
        "good_refused": good.to_json(),
    }
    result["promises"] = {
        "named": result["named"].get("clearly", {"rate": 1.0})["rate"] >= PROMISED["named"],
        "good": result["good_refused"]["rate"] < PROMISED["good_refused"],
    }
    return result


def read_angles() -> dict[str, float]:
    """SHA-256 of a photo -> yaw in degrees, of those that are turned."""
    with ANGLES.open(encoding="utf-8", newline="") as file:
        return {row["sha256"]: float(row["yaw_deg"]) for row in csv.DictReader(file)}


def _tables(data: Mapping[str, Any]) -> list[Table]:
    rows = [
        [f"{band} degrees" if band != "clearly" else f"{CLEARLY_DEG:g} and more", str(told["trials"]), cell(told)]
        for band, told in data["named"].items()
    ]
    rows += [[f"of these, to the {sign}", str(told["trials"]), cell(told)] for sign, told in data["signs"].items()]
    good = data["good_refused"]
    return [
        Table(
            "Named `turned`",
            ["yaw by dlib's 68 points", "photos", "named"],
            rows,
            f"Promised: at least {share(PROMISED['named'])} of heads turned by {CLEARLY_DEG:g} degrees or more. The "
            "angles stand in head_angles.csv (benchmarks/record_head_angles.py): an average head without its nose's "
            "tip fitted to 14 of dlib's 68 points, the median of six looks. Intervals: 95 %, drawing people.",
        ),
        Table(
            "Photos of heads turned by less",
            ["photos", "refused, for whatever fault"],
            [[str(good["trials"]), cell(good)]],
            f"Turned by less than {GOOD_DEG:g} degrees. Promised: less than {share(PROMISED['good_refused'])}.",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
