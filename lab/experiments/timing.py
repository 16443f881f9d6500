"""Times of a step and of a face, taken on a machine that does nothing else: a run's own share it with whatever."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lab.experiments.plan import Run
from lab.experiments.runner import Laboratory, make_ready, milliseconds, processor, read_log
from lab.train.loop import train
from lab.train.recipe import Recipe
from lab.train.run_folder import LOG, WEIGHTS
from lab.train.weights import load_weights

STEPS, LOOK = 12, 2
"""Steps that are taken, and steps between two looks at the clock; the first look is left out."""


def take_times(laboratory: Laboratory, run: Run) -> dict[str, Any]:
    """Seconds a step and milliseconds a face (medians) of a run's last stage, with its data, loss and optimiser."""
    recipe = short(run.recipe(laboratory.work))
    make_ready(laboratory, recipe)
    with tempfile.TemporaryDirectory() as place:
        train(recipe, out=Path(place))
        speeds = [row["images_per_s"] for row in read_log(Path(place) / LOG) if "images_per_s" in row]
        net, _, _ = load_weights(Path(place) / WEIGHTS)
    batch = recipe.stages[-1].batch_size
    return {
        "fingerprint": run.fingerprint(),
        "seconds_a_step": statistics.median(batch / speed for speed in speeds[1:]),
        "milliseconds_a_face": milliseconds(net, recipe.data.input_px),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "threads": laboratory.threads,
        "torch": torch.__version__,
    }


def keep_times(laboratory: Laboratory, runs: list[Run], *, stop_at: float | None) -> list[str]:
    """Take the times of each entry once, with its first seed, as long as there is time; the names that were taken."""
    taken = []
    for name, run in timed_runs(runs).items():
        known = laboratory.results.times()
        if known.get(name, {}).get("fingerprint") == run.fingerprint():
            continue
        if stop_at is not None and time.monotonic() >= stop_at:
            break
        laboratory.results.keep_times({**known, name: take_times(laboratory, run)})
        taken.append(name)
    return taken


def timed_runs(runs: list[Run]) -> dict[str, Run]:
    """The first run of each entry that trains and is no trial, by experiment/row."""
    firsts: dict[str, Run] = {}
    for run in runs:
        if run.trains and not run.trial:
            firsts.setdefault(run.entry_name, run)
    return firsts


def short(recipe: Recipe) -> Recipe:
    """The last stage for a few steps, with nothing else to do."""
    plain = json.loads(recipe.model_dump_json())
    stage = plain["stages"][-1] | {"iterations": STEPS, "epochs": None, "schedule": {}}
    plain |= {"stages": [stage], "validate_every": None, "log_every": LOOK}
    plain["data"] |= {"strangers": 0.0}
    return Recipe.model_validate(plain)
