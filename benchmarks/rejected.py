"""Rejected faces: whether whoever was taken for somebody is taken for them again, and what it costs the person."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attendance.app import App
from attendance.config import load
from attendance.decide import Rule, decide
from attendance.operating import Measured
from attendance.rejected import beside_rejected
from attendance.types import Candidate, Float32, Outcome
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.promise_draws import Drawn, Photos, Tally, draw, gallery_of, point_of, read_half
from benchmarks.report import Table, share, write_result

COMMAND = "python -m benchmarks rejected"
WORK = Path(__file__).parents[1] / "build" / "promise"
CELLS = ((50, 1), (200, 1), (50, 3), (120, 3))
TARGET = 0.01
DRAWS = 20
NOTHING = np.empty((0, 0), np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Rejected faces.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="where vectors are kept")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos (report); tune writes no result")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"galleries a size ({DRAWS})")
    arguments = parser.parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    with App(load(None, environment={}, overrides={"store.path": arguments.work / "store"})) as app:
        photos = read_half(app, lfw, arguments.half, arguments.work)
        measured = app.rulebook.measured()
    photos = photos.without(photos.faulty)
    cells = [measure(photos, measured, size=n, templates=k, draws=arguments.draws) for n, k in CELLS]
    data: dict[str, Any] = {"half": arguments.half, "draws": arguments.draws, "target_fpir": TARGET, "cells": cells}
    table = _table(data)
    for row in table.rows:
        print(" | ".join(row))
    if arguments.half != "report" or arguments.draws != DRAWS:
        print("no result is written: that takes the half kept for reporting and all draws")
        return 0
    files = write_result("rejected", "Rejected faces", tables=[table], data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0


def measure(photos: Photos, measured: Measured, *, size: int, templates: int, draws: int) -> dict[str, Any]:
    """One photo of each stranger who is accepted is rejected; their other photos and the known ones come again."""
    people = len(photos.rows)
    again, missed, missed_before, near = (Tally.empty(people) for _ in range(4))
    for seed in range(draws):
        drawn = draw(photos, size=size, templates=templates, seed=seed)
        rule = point_of(drawn, measured, TARGET).rule
        _count(photos, drawn, rule, again=again, missed=missed, before=missed_before, near=near, seed=seed)
    return {
        "size": size,
        "templates": templates,
        "accepted_again": again.to_json(),
        "missed_before": missed_before.to_json(),
        "missed": missed.to_json(),
        "missed_by_the_rejecting": near.to_json(),
    }


def _count(
    photos: Photos, drawn: Drawn, rule: Rule, *, again: Tally, missed: Tally, before: Tally, near: Tally, seed: int
) -> None:
    gallery = gallery_of(drawn, "rejected")
    others = gallery.nearest(photos.vectors[drawn.strangers], k=2)
    taken = {int(row): who for row, near_ in zip(drawn.strangers, others, strict=True) if (who := _taken(near_, rule))}
    faces: dict[str, list[int]] = {}
    rng = np.random.default_rng([seed, 5])
    for person in sorted({int(photos.person[row]) for row in taken}):
        rows = [row for row in photos.rows[person].tolist() if row in taken]
        chosen = int(rng.choice(rows))
        faces.setdefault(taken[chosen], []).append(chosen)

    def faces_of(identity_id: str) -> Float32:
        rows = faces.get(identity_id, [])
        return photos.vectors[rows] if rows else NOTHING

    candidates = dict(zip(drawn.strangers.tolist(), others, strict=True))
    for who, rows in faces.items():
        for row in rows:
            same = [r for r in photos.rows[int(photos.person[row])].tolist() if r != row and taken.get(r) == who]
            told = [_taken(beside_rejected(candidates[r], photos.vectors[r], faces_of), rule) == who for r in same]
            again.add(photos.person[same], np.array(told, np.bool_))
    own = gallery.nearest(photos.vectors[drawn.probes], k=2) if len(drawn.probes) else []
    for row, each in zip(drawn.probes.tolist(), own, strict=True):
        place = np.array([photos.person[row]])
        truth = f"{int(photos.person[row]):06d}"
        bare = _taken(each, rule) == truth
        kept = _taken(beside_rejected(each, photos.vectors[row], faces_of), rule) == truth
        before.add(place, np.array([not bare]))
        missed.add(place, np.array([not kept]))
        if bare and truth in faces:
            near.add(place, np.array([not kept]))


def _taken(candidates: Sequence[Candidate], rule: Rule) -> str | None:
    found = decide(candidates, rule)
    return found.best.identity_id if found.outcome is Outcome.KNOWN and found.best is not None else None


def _table(data: Mapping[str, Any]) -> Table:
    def cell(tally: Mapping[str, Any]) -> str:
        return f"{share(tally['rate'], tally['interval'])} of {tally['trials']}"

    keys = ("accepted_again", "missed_before", "missed", "missed_by_the_rejecting")
    rows = [
        [f"{each['size']} people, {each['templates']} photos", *(cell(each[key]) for key in keys)]
        for each in data["cells"]
    ]
    columns = [
        "gallery",
        "the stranger's other photos still accepted",
        "known photos missed before",
        "after",
        "of those found before, of people with a rejected face",
    ]
    return Table(
        "A stranger who was taken for somebody, after one photo of theirs was rejected",
        columns,
        rows,
        f"{data['draws']} galleries a size, target FPIR {100 * TARGET:g} %: of every stranger who is accepted one "
        "photo is rejected, so that these are the people who look most like one another. Of their other photos those "
        "that were accepted as the same person come again. Photos of errata.csv are left out. Intervals: 95 %, drawing "
        "people.",
    )


if __name__ == "__main__":
    sys.exit(main())
