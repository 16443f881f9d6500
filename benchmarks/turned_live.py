"""What turned heads cost before a camera: recognised and taken for others, by how far the five points turn them.

Galleries hold photos that an enrolment takes; whoever is left comes with every photo, turned or not. It is what the
limit of yaw for live frames rests on (half `tune`).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.app import App
from attendance.config import load
from attendance.quality import measure_pose
from benchmarks.photos import cell, data_set, face_of, open_rgb, parser_of
from benchmarks.promise_draws import Photos, Tally, draw, gallery_of, point_of, read_half, taken_for
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks turned_live"
EDGES = (0.0, 30.0, 38.0, 43.0, 49.0, 55.0, 90.0)
SIZE, TEMPLATES, DRAWS = 50, 3, 100


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    arguments = parser_of(COMMAND, "What turned heads cost before a camera.").parse_args(argv)
    lfw = data_set(arguments, COMMAND)
    if lfw is None:
        return 0
    with App(load(None, environment={})) as app:
        photos = read_half(app, lfw, arguments.half, arguments.work)
        photos = photos.without(photos.faulty)
        yaws = read_yaws(app, photos, lfw.people(arguments.half))
        data = measure(photos, yaws, app)
    table = _table(data)
    for row in table.rows:
        print(" | ".join(row))
    if arguments.half != "report":
        print("no result is written: that takes the half kept for reporting")
        return 0
    files = write_result("turned_live", "Turned heads before a camera", tables=[table], data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0


def read_yaws(app: App, photos: Photos, people: Mapping[str, Sequence[Path]]) -> NDArray[np.float64]:
    """Degrees (M,) to either side, as the gate measures them; NaN without a face."""
    paths = {f"{path.parent.name}/{path.name}": path for own in people.values() for path in own}
    faces = (face_of(app, open_rgb(paths[name])) for name in photos.names)
    return np.array([np.nan if face is None else abs(measure_pose(face.points).yaw_deg) for face in faces])


def measure(photos: Photos, yaws: NDArray[np.float64], app: App) -> dict[str, Any]:
    """Missed and accepted of each band of yaw, over draws of people enrolled from photos that enrolment takes."""
    limits = app.rulebook.quality_limits()
    turned = np.flatnonzero(~(yaws <= limits.max_yaw_deg))
    bands = {f"{low:g} to {high:g}": (low, high) for low, high in itertools.pairwise(EDGES)}
    people = len(photos.rows)
    missed = {band: Tally.empty(people) for band in bands}
    accepted = {band: Tally.empty(people) for band in bands}
    measured = app.rulebook.measured()
    for seed in range(DRAWS):
        drawn = draw(photos, size=SIZE, templates=TEMPLATES, seed=seed, keep=turned)
        gallery, rule = gallery_of(drawn, "turned"), point_of(drawn, measured, app.settings.decide.target_fpir).rule
        enrolled = {entry.template_id.partition("-")[2] for entry in drawn.entries}
        rows = np.array([row for row in range(len(yaws)) if f"{row:06d}" not in enrolled and np.isfinite(yaws[row])])
        found = taken_for(gallery.nearest(photos.vectors[rows], k=2), rule)
        known = np.isin(photos.person[rows], drawn.enrolled)
        wrong = np.array([who != int(true) for who, true in zip(found, photos.person[rows], strict=True)])
        anyone = np.array([who is not None for who in found])
        for band, (low, high) in bands.items():
            within = (yaws[rows] >= low) & (yaws[rows] < high)
            ours, others = within & known, within & ~known
            missed[band].add(photos.person[rows][ours], wrong[ours])
            accepted[band].add(photos.person[rows][others], anyone[others])
    photos_of_band = {band: int(((yaws >= low) & (yaws < high)).sum()) for band, (low, high) in bands.items()}
    return {
        "target_fpir": app.settings.decide.target_fpir,
        "live_max_yaw_deg": limits.live.max_yaw_deg,
        "bands": [
            {
                "yaw_deg": band,
                "photos": photos_of_band[band],
                "missed": missed[band].to_json() if missed[band].trials.any() else None,
                "accepted": accepted[band].to_json() if accepted[band].trials.any() else None,
            }
            for band in bands
        ],
    }


def _table(data: Mapping[str, Any]) -> Table:
    rows = [
        [
            each["yaw_deg"],
            str(each["photos"]),
            *(cell(each[name]) if each[name] is not None else "" for name in ("missed", "accepted")),
        ]
        for each in data["bands"]
    ]
    return Table(
        "By yaw",
        ["yaw by the five points", "photos", "enrolled people missed", "strangers accepted"],
        rows,
        f"{DRAWS} draws of {SIZE} people with {TEMPLATES} photos, at the default target. A miss is a photo of somebody "
        "enrolled that is not given to them. Intervals: 95 %, drawing people.",
    )


if __name__ == "__main__":
    sys.exit(main())
