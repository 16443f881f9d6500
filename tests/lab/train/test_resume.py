"""A run that is killed and goes on gives the curve and the weights of an unbroken one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lab.train.loop import train
from lab.train.recipe import Recipe
from lab.train.recipe_file import read_recipe
from tests.lab.made_people import made_folder
from tests.lab.train.tiny import tiny

ROOT = Path(__file__).resolve().parents[3]
STEPS = (8, 10)


def recipe_with_everything(folder: Path) -> Path:
    """Whatever keeps a state or draws: stages, losses, drawn classes, both optimisers, fp16's scale, dropout, means."""
    stages = [
        {
            "iterations": STEPS[0],
            "batch_size": 8,
            "losses": [{"loss": "adaface", "numbers": {"scale": 16.0}}, {"loss": "center"}],
            "optimiser": {"rate": 0.05, "clip_norm": 5.0},
            "schedule": {"kind": "step", "unit": "iterations", "milestones": [4, 6], "warmup": 2},
        },
        {
            "iterations": STEPS[1],
            "batch_size": 8,
            "losses": [
                {"loss": "elasticface-arc", "numbers": {"scale": 16.0}},
                {"loss": "sphereface", "anneal": {"number": "blend", "start": 100.0, "rate": 0.5, "least": 5.0}},
            ],
            "optimiser": {"name": "adamw", "rate": 0.001},
            "schedule": {"kind": "cosine"},
        },
    ]
    plain = tiny(
        folder,
        stages=stages,
        class_rate=0.5,
        precision="fp16",
        ema=0.9,
        data={"sampler": "balanced", "validation_photos": 1},
        log_every=1,
    )
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(plain, default=str))))
    return path


def losses_of(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def lines_of(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def run_and_kill(recipe: Path, out: Path, *, after_lines: int) -> None:
    """Start the command, and end it without warning once its log is so much longer."""
    before = lines_of(out)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "train", str(recipe), "--out", str(out), "--resume", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(6000):
            if lines_of(out) - before >= after_lines or process.poll() is not None:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.kill()
        process.wait()


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return set(one) == set(two) and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


@pytest.fixture
def one_thread() -> Any:
    """As the killed processes have it: sums of several threads may round another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_goes_on_to_the_last_digit(tmp_path: Path) -> None:
    made_folder(tmp_path / "people", people=8, photos=5)
    path = recipe_with_everything(tmp_path)
    recipe: Recipe = read_recipe(path)
    unbroken = train(recipe, out=tmp_path / "unbroken")
    out = tmp_path / "broken"
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    run_and_kill(path, out, after_lines=chance.randint(2, 12))
    resumed = train(recipe, out=out, resume=True)
    curve = losses_of(tmp_path / "unbroken")
    assert [step for step, _ in curve] == list(range(1, sum(STEPS) + 1))
    assert losses_of(out) == curve, f"kills drawn with seed {seed}"
    assert resumed == unbroken
    weights = [torch.load(run / "model.pt", weights_only=True) for run in (tmp_path / "unbroken", out)]
    assert same(*weights)
