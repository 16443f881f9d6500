"""Covered faces: whether a photo's likeness to its person's others tells, on coverings that nothing was set by."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attendance.align import align
from attendance.app import App
from attendance.config import load
from attendance.faces import FaceRule, choose_face
from attendance.search.port import mean_direction
from attendance.types import Float32, RGBImage
from benchmarks.hygiene_photos import open_rgb
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.promise_draws import Tally, read_half
from benchmarks.report import Table, share, write_result

COMMAND = "python -m benchmarks occlusion"
WORK = Path(__file__).parents[1] / "build" / "promise"
PEOPLE = 150
LIMITS = (0.90, 0.91, 0.92, 0.93, 0.94, 0.95)

Cover = Callable[[RGBImage, Float32, np.random.Generator], RGBImage]
"""An aligned chip, the five points on it and random numbers -> the chip with a covering."""


def _lower(points: Float32, side: int, rng: np.random.Generator) -> Float32:
    """Where a mask lies: from the nose down over the chin, 0..1 (S, S, 1)."""
    top = points[2, 1] - rng.uniform(0.0, 0.08) * side
    left, right = points[3, 0] - 0.24 * side, points[4, 0] + 0.24 * side
    outline = [[left, top], [points[2, 0], top - 0.04 * side], [right, top], [right, side], [left, side]]
    inside = np.zeros((side, side), np.float32)
    cv2.fillPoly(inside, [np.array(outline, np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), 1.0)[:, :, None], np.float32)


def _laid(chip: RGBImage, cloth: Float32, inside: Float32) -> RGBImage:
    return np.asarray(np.clip(chip * (1.0 - inside) + cloth * inside, 0, 255), np.uint8)


def _plain_mask(chip: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    side = chip.shape[0]
    folds = 12.0 * np.sin(np.arange(side) * rng.uniform(0.2, 0.4))[:, None, None]
    colour = np.array([(230, 235, 240), (120, 170, 205), (40, 40, 45)][int(rng.integers(3))], np.float32)
    return _laid(chip, (colour + folds).astype(np.float32), _lower(points, side, rng))


def _patterned_mask(chip: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    cells = rng.uniform(20, 230, (int(rng.integers(6, 20)), int(rng.integers(6, 20)), 3)).astype(np.float32)
    cloth = np.asarray(cv2.resize(cells, chip.shape[:2], interpolation=cv2.INTER_LINEAR), np.float32)
    return _laid(chip, cloth, _lower(points, chip.shape[0], rng))


def _dark_glasses(chip: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    side, inside = chip.shape[0], np.zeros(chip.shape[:2], np.float32)
    axes = (int(side * rng.uniform(0.13, 0.17)), int(side * rng.uniform(0.09, 0.13)))
    for x, y in points[:2].tolist():
        cv2.ellipse(inside, (int(x), int(y)), axes, 0, 0, 360, 1.0, -1)
    cv2.line(inside, (int(points[0, 0]), int(points[0, 1])), (int(points[1, 0]), int(points[1, 1])), 1.0, side // 50)
    glare = rng.uniform(10, 60) * np.linspace(1.5, 0.5, side)[:, None, None] * np.ones(3)
    return _laid(chip, glare.astype(np.float32), inside[:, :, None])


def _hand(chip: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    side, inside = chip.shape[0], np.zeros(chip.shape[:2], np.float32)
    start = points[3, 0] - rng.uniform(0.0, 0.15) * side
    for finger in range(4):
        foot = (int(start + 0.11 * finger * side), side)
        tip = (int(foot[0] + rng.normal(0, 0.03) * side), int(points[2, 1] + rng.uniform(-0.02, 0.12) * side))
        cv2.line(inside, foot, tip, 1.0, int(0.1 * side))
    cheek = chip[int(points[2, 1]) - 8 : int(points[2, 1]) + 8, int(points[0, 0]) : int(points[1, 0])]
    skin = cheek.reshape(-1, 3).mean(axis=0) * rng.uniform(0.8, 1.1)
    round_ = 0.6 + 0.45 * np.asarray(cv2.GaussianBlur(inside, (0, 0), side / 50))[:, :, None]
    return _laid(chip, (skin * round_).astype(np.float32), inside[:, :, None])


COVERS: Mapping[str, Cover] = {
    "plain mask": _plain_mask,
    "patterned mask": _patterned_mask,
    "dark glasses": _dark_glasses,
    "hand before the mouth": _hand,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Covered faces by likeness to the person's others.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="where vectors are kept")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos (report); tune writes no result")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"people with three photos and more ({PEOPLE})")
    arguments = parser.parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    with App(load(None, environment={})) as app:
        data = measure(app, lfw, arguments.half, people=arguments.people, work=arguments.work)
    table = _table(data)
    for row in table.rows:
        print(" | ".join(row))
    if arguments.half != "report" or arguments.people != PEOPLE:
        print("no result is written: that takes the half kept for reporting and all people")
        return 0
    files = write_result("occlusion", "Covered faces", tables=[table], data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0


def measure(app: App, lfw: Lfw, half: str, *, people: int, work: Path) -> dict[str, Any]:
    """Share of photos below each limit, bare and covered."""
    photos = read_half(app, lfw, half, work)
    rng = np.random.default_rng(7)
    several = [rows for rows in photos.rows if len(rows) >= 3]
    chosen = [several[place] for place in sorted(rng.permutation(len(several))[:people].tolist())]
    tallies = {name: {limit: Tally.empty(len(chosen)) for limit in LIMITS} for name in ("bare", *COVERS)}
    for place, rows in enumerate(chosen):
        others = mean_direction(photos.vectors[rows[1:6]])
        for name, vector in _vectors(app, lfw.images / photos.names[rows[0]], rng).items():
            for limit in LIMITS:
                low = np.array([float(vector @ others) < limit])
                tallies[name][limit].add(np.array([place]), low)
    limits = app.outlier_limits()
    return {
        "half": half,
        "people": len(chosen),
        "limit_of_enrolment": None if limits is None else limits.mean,
        "below": {name: {f"{k:g}": t.to_json() for k, t in of.items()} for name, of in tallies.items()},
    }


def _vectors(app: App, path: Path, rng: np.random.Generator) -> dict[str, Float32]:
    """The photo's vector, and those with each covering; nothing where no face is found."""
    image = open_rgb(path)
    face = choose_face(app.reader.detect([image])[0], (image.shape[0], image.shape[1]), FaceRule.CENTRE).face
    template = app.card.alignment.template
    if face is None or template is None:
        return {}
    chip = align(image, [face], app.card.alignment)[0]
    chips = [chip, *(cover(chip, template, rng) for cover in COVERS.values())]
    return dict(zip(("bare", *COVERS), app.embedder.embed(np.stack(chips)), strict=True))


def _table(data: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{limit:g}",
            *(share(of[f"{limit:g}"]["rate"], of[f"{limit:g}"]["interval"]) for of in data["below"].values()),
        ]
        for limit in LIMITS
    ]
    return Table(
        "Photos less like their person's others than a limit",
        ["limit (cosine)", *data["below"]],
        rows,
        f"One photo of {data['people']} people against the mean direction of up to five others; coverings drawn "
        f"by code on the aligned face. An enrolment refuses below {data['limit_of_enrolment']:.3f}, which was set by "
        "other people's photos and not by any covering. Intervals: 95 %, drawing people.",
    )


if __name__ == "__main__":
    sys.exit(main())
