"""The plan that is shipped holds together, and a plan that does not is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from attendance.errors import UsageError
from lab.experiments.faces import HELD_OUT, SPLIT_SEED, TUNE, VIEWS
from lab.experiments.plan import read_experiments, runs_of
from lab.experiments.timing import timed_runs
from lab.losses.registry import LOSSES
from lab.nets.registry import build_backbone
from lab.train.objective import Objective
from lab.train.processes import Processes
from lab.train.weights import dimension_of

RUNS = runs_of(read_experiments())
RECIPES = {run.name: run.recipe(Path("work")) for run in RUNS if run.trains and run.seed == 0}


def test_names_and_fingerprints_tell_runs_apart() -> None:
    assert len({run.name for run in RUNS}) == len(RUNS)
    trained = [run for run in RUNS if run.trains]
    resolved = [run.recipe(Path("work")).model_dump_json() for run in trained if run.experiment == "losses"]
    assert len(set(resolved)) == len(resolved)


def test_every_loss_is_in_the_shoot_out_three_times() -> None:
    seen: dict[str, set[int]] = {}
    for run in RUNS:
        if run.experiment == "losses":
            [term] = RECIPES[run.name.replace(f"seed-{run.seed}", "seed-0")].stages[-1].losses
            seen.setdefault(term.loss, set()).add(run.seed)
    assert set(seen) == set(LOSSES) and all(seeds == {0, 1, 2} for seeds in seen.values())


def test_published_margins_are_run() -> None:
    published = {run.entry.label: run.entry.published for run in RUNS if run.entry.published}
    assert published == {
        "CosFace 0.4": 0.837,
        "ArcFace 0.25": 0.844,
        "ArcFace 1.5": 0.812,
        "Triplet 1.5, batch-hard": 0.698,
        "gamma 0.2": 0.81,
        "gamma 0.5": 0.837,
        "plain linear layers (gamma 1.0)": 0.839,
    }


def test_every_run_holds_the_same_people_out() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.data.path in (Path("work") / TUNE, Path("work") / VIEWS), name
        assert (recipe.data.strangers, recipe.data.split_seed) == (HELD_OUT, SPLIT_SEED), name
        assert (recipe.data.path.name == VIEWS) == (recipe.stages[0].distil is not None), name


def test_every_run_can_be_built() -> None:
    networks = {f"{recipe.network} {recipe.data.input_px}": recipe for recipe in RECIPES.values()}
    with torch.device("meta"):
        for recipe in networks.values():
            numbers: dict[str, Any] = dict(recipe.network.numbers)
            how = recipe.network
            net = build_backbone(how.backbone, dimension=how.dimension, input_px=recipe.data.input_px, **numbers)
            assert sum(weight.numel() for weight in net.parameters()) > 100_000
        for recipe in RECIPES.values():
            Objective(
                recipe.stages,
                dimension=dimension_of(recipe.network),
                classes=5,
                processes=Processes(0, 1, torch.device("cpu")),
            )


def test_each_row_is_timed_with_its_first_seed() -> None:
    timed = timed_runs(RUNS)
    assert set(timed) == {run.entry_name for run in RUNS if run.trains and not run.trial}
    assert all(run.seed == 0 for run in timed.values()) and timed["losses/softmax"].name == "losses/softmax/seed-0"


def test_runs_that_exports_are_made_of_are_planned() -> None:
    trained = {run.name for run in RUNS if run.trains}
    assert {name for run in RUNS for name in run.entry.export} < trained


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: a", "order: Field required"),
        ("- a", "valid dictionary"),
        ("title: [", "cannot be read"),
        (
            "{title: a, order: 1, about: a, recipe: r, minutes: 1, rows: [{name: a, label: a}, {name: a, label: b}]}",
            "differ",
        ),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "one.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_experiments(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none"):
        read_experiments(tmp_path)
