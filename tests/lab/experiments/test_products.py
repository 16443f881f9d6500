"""A model is judged and shown to the kiosk by the product's own programs; with the default one everybody is known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from attendance.config import load
from lab.experiments import products
from lab.experiments.photos import Photos

MODEL, TARGETS = "dlib-resnet29", (0.003, 0.1)
KNOWN, PHOTOS = 3, 7


@pytest.fixture(scope="module")
def judged(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Three people and a stranger, with the product's own model; the folder, which holds the store, and the figures."""
    root = tmp_path_factory.mktemp("products")
    source = shared_data / "data" / "lfw-dev"
    people = _most_photos(source / "split.csv")
    for place, who in enumerate(people):
        (root / "images" / who).mkdir(parents=True)
        # The stranger has a photo less: who has most is enrolled.
        for path in sorted((source / "images" / who).iterdir())[: PHOTOS - (place == KNOWN)]:
            (root / "images" / who / path.name).symlink_to(path.resolve())
    _write(root / "split.csv", [("person", "half"), *[(who, "report") for who in people]])
    first, second, third = (sorted((root / "images" / who).iterdir()) for who in people[:KNOWN])
    pairs = [
        (*(f"{path.parent.name}/{path.name}" for path in one[:2]), 1, fold) for fold, one in ((0, first), (1, second))
    ]
    pairs += [
        (f"{one[0].parent.name}/{one[0].name}", f"{other[0].parent.name}/{other[0].name}", 0, fold)
        for fold, one, other in ((0, first, second), (1, second, third))
    ]
    _write(root / "pairs_report.csv", [("image_a", "image_b", "same", "fold"), *pairs])
    settings = load(None, overrides={"store.path": root / "store", "model.id": MODEL, "model.threads": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "PEOPLE", KNOWN)
        return root, products._in_the_product(Photos(root, root), settings, root, TARGETS[1:])


def test_it_is_judged_at_its_own_target_and_at_those_asked_for(judged: tuple[Path, dict[str, Any]]) -> None:
    strict, loose = judged[1]["at_targets"]
    assert (strict["target_fpir"], loose["target_fpir"]) == TARGETS
    assert strict["threshold"] > loose["threshold"]
    assert strict["top1"] == 1.0 and strict["probes"] == KNOWN * (PHOTOS - products.ENROLLED)
    assert strict["fpir"] == 0.0 and strict["strangers"] == PHOTOS - 1
    assert judged[1]["pairs"]["accuracy"] == 1.0


def test_the_kiosk_tells_who_is_shown_and_not_who_is_not_enrolled(judged: tuple[Path, dict[str, Any]]) -> None:
    root = judged[0]
    enrolled = sorted(path.name for path in (root / "enrolled").iterdir())
    [stranger] = [folder for folder in (root / "images").iterdir() if folder.name not in enrolled]
    shown = sorted((root / "probes" / enrolled[1]).iterdir())[0]
    shown.unlink()
    shown.symlink_to(sorted(stranger.iterdir())[0].resolve())
    for told in products.walk_past(root, root / "store", MODEL, targets=TARGETS, threads=1):
        assert told == {"shown": 3, "right": 2, "wrong": 0, "none": 1}


def _most_photos(split: Path) -> list[str]:
    with split.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["half"] == "tune"]
    return [row["person"] for row in sorted(rows, key=lambda row: (-int(row["photos"]), row["person"]))[: KNOWN + 1]]


def _write(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
