"""Crops that lie beside what a teacher made of them: trained on as they are, taught without the teacher."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import SourceError, UsageError
from lab.data.cache import TARGETS, cached
from lab.data.folder import FolderSource
from lab.train.loop import train
from lab.train.recipe import Recipe
from tests.lab.made_people import made_folder
from tests.lab.train.tiny import tiny_recipe

DISTIL = {"feature": 1.0, "distance": 1.0}


def taught_by_crops(folder: Path, *, targets: bool = True, iterations: int = 12) -> Recipe:
    made_folder(folder / "people", people=6, photos=4)
    crops = cached(FolderSource(folder / "people"), folder / "cache", size_px=32).folder
    if targets:
        vectors = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
        np.save(crops / TARGETS, np.repeat(vectors, 4, axis=0))
    data = {"kind": "crops", "path": crops, "strangers": 0.34, "split_seed": 1}
    return tiny_recipe(folder, data=data, losses=[], distil=DISTIL, iterations=iterations)


def test_a_network_learns_what_was_kept_beside_the_crops(tmp_path: Path) -> None:
    recipe = taught_by_crops(tmp_path, iterations=25)
    train(recipe, out=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_who_is_held_out_is_the_same_for_every_seed(tmp_path: Path) -> None:
    recipe = taught_by_crops(tmp_path, iterations=1)
    counts = {train(recipe.model_copy(update={"seed": seed}), out=tmp_path / str(seed))["faces"] for seed in range(3)}
    assert counts == {16}


def test_a_run_with_a_time_stops_at_it_and_goes_on(tmp_path: Path) -> None:
    recipe = taught_by_crops(tmp_path, iterations=4)
    assert train(recipe, out=tmp_path / "run", stop_at=time.monotonic())["stopped"]
    result = train(recipe, out=tmp_path / "run", resume=True)
    assert (result["steps"], result["stopped"]) == (4, False)


def test_without_targets_or_crops_it_says_so(tmp_path: Path) -> None:
    recipe = taught_by_crops(tmp_path, targets=False)
    with pytest.raises(UsageError, match=r"targets\.npy"):
        train(recipe, out=tmp_path / "run")
    data = recipe.data.model_copy(update={"path": tmp_path / "people"})
    with pytest.raises(SourceError, match="expected crops"):
        train(recipe.model_copy(update={"data": data}), out=tmp_path / "other")
