"""A data set in the experiments' layout, of people made by code, and a detector that knows where their faces are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from attendance.align import arcface_112
from attendance.detect.port import Detector
from attendance.types import Face, RGBImage
from tests.lab.made_people import made_folder
from tests.lab.train.tiny import tiny

SIDE, PEOPLE, PHOTOS = 48, 16, 4


class WholePicture(Detector):
    """Finds one face, which fills the picture."""

    device = "cpu"

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        template = arcface_112().template
        assert template is not None
        points = template * (SIDE / 112.0)
        return [[Face(np.array([0, 0, SIDE, SIDE], np.float32), 1.0, points.astype(np.float32))] for _ in images]


def made_lfw(root: Path) -> Path:
    """Sixteen people with four photos, every other one of the report half, and 48 pairs in two folds."""
    made_folder(root / "images", people=PEOPLE, photos=PHOTOS, side=SIDE)
    halves = [(f"person-{person:02d}", "report" if person % 2 else "tune") for person in range(PEOPLE)]
    _write(root / "split.csv", [("person", "half", "photos"), *[(who, half, PHOTOS) for who, half in halves]])
    report = [who for who, half in halves if half == "report"]
    rows: list[tuple[object, ...]] = [("image_a", "image_b", "same", "fold")]
    for place, who in enumerate(report):
        other = report[(place + 1) % len(report)]
        for photo in range(1, PHOTOS):
            rows.append((f"{who}/00.png", f"{who}/{photo:02d}.png", 1, place % 2))
            rows.append((f"{who}/{photo:02d}.png", f"{other}/{photo:02d}.png", 0, place % 2))
    _write(root / "pairs_report.csv", rows)
    return root


def made_plan(folder: Path, *, iterations: int = 6) -> Path:
    """An experiment of two losses, the second of which diverges at once, a trial, and the tiny recipe."""
    recipe = tiny(folder, iterations=iterations)
    recipe["data"] |= {"path": "somewhere/tune", "kind": "crops", "cache": None, "strangers": 0.34, "split_seed": 0}
    recipe["network"] = {"backbone": "iresnet-34", "dimension": 16, "numbers": {"width": 0.125, "most_blocks": 1}}
    recipe["checkpoint_every"] = 2
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    diverging = "stages.0.optimiser={rate: 1.0e+30, momentum: 0.0}"
    rows = [
        {"name": "n-softmax", "label": "N-softmax"},
        {"name": "wild", "label": "wild", "set": [diverging], "published": 0.8},
    ]
    experiment = {"title": "Tiny", "order": 1, "about": "What is asked.", "recipe": "tiny", "minutes": 1, "rows": rows}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    trials = {"name": "n-softmax", "label": "as it is"}
    chosen = {**experiment, "title": "Chosen", "order": 2, "trial": True, "rows": [trials]}
    (folder / "chosen.yaml").write_text(yaml.safe_dump(chosen))
    return folder


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
