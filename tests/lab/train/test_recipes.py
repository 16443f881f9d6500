"""Every recipe of the project can be run, and what a recipe may not say is told in one line."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from attendance.errors import UsageError
from lab.__main__ import main
from lab.data.augment import Augment
from lab.nets.registry import build_backbone
from lab.train.objective import Objective
from lab.train.optimise import build_optimiser
from lab.train.processes import Processes
from lab.train.recipe import (
    Anneal,
    Data,
    Distillation,
    Network,
    Optimiser,
    Recipe,
    Schedule,
    Stage,
    Term,
)
from lab.train.recipe_file import first_difference, read_recipe, recipe_files, recipe_text
from lab.train.weights import dimension_of, save_weights
from tests.lab.made_people import made_folder, png
from tests.lab.train.tiny import tiny, tiny_recipe

# What the project promises, written out.
PROMISED = (
    "adaface-iresnet100 airface arcface-headed-resnet50 arcface-iresnet100 arcface-iresnet50 "
    "arcface-mobilefacenet-pretrained arcface-resnet50-vggface2 distil-mobilefacenet edgeface-lfw-arcface "
    "edgeface-lfw-cosface edgeface-lfw-triplet edgeface-s elasticface-iresnet100 finetune-own-folder "
    "li-arcface-mobilefacenet sphereface-resnet50-vggface2 triplet-resnet50-vggface2"
)


def test_the_recipes_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", "recipes", "--json", str(tmp_path / "list.json")]) == 0
    listed = json.loads((tmp_path / "list.json").read_text())["recipes"]
    assert [row["name"] for row in listed] == PROMISED.split()
    assert all(row["description"] and row["source"] for row in listed)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == PROMISED.split()


@pytest.mark.parametrize("name", PROMISED.split())
def test_networks_losses_and_patterns_of_every_recipe_exist(name: str) -> None:
    recipe = read_recipe(recipe_files()[name])
    with torch.device("meta"):
        net = build_backbone(
            recipe.network.backbone,
            dimension=recipe.network.dimension,
            input_px=recipe.data.input_px,
            **dict(recipe.network.numbers),  # type: ignore[arg-type]
        )
    objective = Objective(
        recipe.stages,
        dimension=dimension_of(recipe.network),
        classes=4,
        processes=Processes(0, 1, torch.device("cpu")),
        class_rate=recipe.class_rate,
    )
    for number, stage in enumerate(recipe.stages):
        build_optimiser(stage.optimiser, net, objective, nn.Identity())
        if stage.losses:
            embeddings = torch.randn(4, dimension_of(recipe.network))
            assert torch.isfinite(objective(number, embeddings, torch.arange(4), step=0).loss)


def test_a_recipe_is_written_down_whole_and_read_back(tmp_path: Path) -> None:
    for path in recipe_files().values():
        recipe = read_recipe(path)
        (tmp_path / "whole.yaml").write_text(recipe_text(recipe))
        assert read_recipe(tmp_path / "whole.yaml") == recipe
    assert first_difference(recipe, recipe) is None


def test_keys_are_set_from_the_command_line() -> None:
    path = recipe_files()["airface"]
    changes = ["data.path=people", "stages.1.optimiser.rate=0.5", "stages.0.losses.0.numbers.margin=0.3", "ema=0.9"]
    changed, plain = read_recipe(path, changes), read_recipe(path)
    assert changed.data.path == Path("people") and changed.stages[1].optimiser.rate == 0.5
    assert changed.stages[0].losses[0].numbers["margin"] == 0.3 and changed.ema == 0.9
    assert first_difference(plain, changed) == "data.path"
    assert first_difference(plain, read_recipe(path, ["data.workers=1"]), ignored=["data.workers"]) is None


WRONG = {
    "seeds=1": "seeds: Extra inputs are not permitted, got 1",
    "seed=-1": "seed: Input should be greater than or equal to 0, got -1",
    "stages.0.losses.0.los=cosface": r"stages\.0\.losses\.0\.los: Extra inputs",
    "stages.1.iterations=3": "expected a place from 0 to 0, got '1'",
    "stages.0.iterations=3": "expected either epochs or iterations",
    "stages.0.schedule={kind: step}": "milestones: a step schedule has some",
    "stages.0.losses=[]": "losses: expected one or more, or distil",
    "stages.0.distil={teacher: {backbone: airface}, feature: 1}": "an untrained network teaches nothing",
    "stages.0.distil={teacher: {backbone: airface, weights: a.pt}}": "a weight above 0 for feature, distance or angle",
    "data.kind=video": "data.kind: Input should be 'folder', 'record' or 'crops'",
    "data.cache=null": "cache: expected a folder",
    "augment.flip=2": "augment.flip: Input should be less than or equal to 1",
    "seed.a=1": "seed: Input should be a valid integer",
    "seed": "expected key=value",
    "seed=[": "the value is no YAML",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_key_or_value_is_one_line_and_exit_code_2(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_folder(tmp_path / "people", people=2, photos=1)
    plain = json.loads(json.dumps(tiny(tmp_path, epochs=1), default=str))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain))
    out = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "r.yaml"), "--set", change, "--out", out]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    with pytest.raises(UsageError, match=WRONG[change]):
        read_recipe(tmp_path / "r.yaml", [change])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"backbone": "airfice"}}, "a backbone that exists, got 'airfice'"),
        ({"network": {"numbers": {"gamma": 0.5}}}, "expected its own numbers|unexpected keyword"),
        ({"network": {"weights": "none.pt"}}, "none.pt: there is no such file"),
        ({"losses": [{"loss": "arc"}]}, "expected a loss that exists, got 'arc'"),
        ({"losses": [{"loss": "cosface", "numbers": {"m": 1}}]}, "expected its own numbers"),
        ({"data": {"path": "nowhere"}}, "nowhere"),
        ({"data": {"verify": ["none.bin"]}}, "none.bin: the verification set cannot be read"),
        ({"batch_size": 99}, "expected 99 faces for a batch, got 8"),
        ({"device": "tpu"}, "expected auto, cpu or cuda, got 'tpu'"),
        ({"optimiser": {"decay_factors": {"no.such": 2.0}}}, "no weight fits 'no.such'"),
    ],
    ids=str,
)
def test_what_a_recipe_names_and_is_not_there_is_one_line(
    changes: dict[str, object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_folder(tmp_path / "people", people=4, photos=2)
    plain = json.loads(json.dumps(tiny(tmp_path, epochs=1, **changes), default=str))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain))
    code = main(["train", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert code == 2 and said.count("\n") == 1
    assert any(part in said for part in message.split("|")), said
    plain.update(json.loads(json.dumps(tiny(tmp_path, iterations=1), default=str)))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain))
    assert main(["train", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "run"), "--quiet"]) == 0


def test_a_recipe_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "arcfice"]) == 2
    assert "expected a recipe, got 'arcfice': name a file, or one of adaface-iresnet100" in capsys.readouterr().err


def test_the_command_tunes_a_network_on_an_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The project's own recipe, on crops made by code and a small network, judged on a verification set."""
    made_folder(tmp_path / "people", people=10, photos=4)
    crops = [png(person, number) for person in range(12) for number in (8, 9)]
    pairs = [crops[2 * i : 2 * i + 2] for i in range(12)] + [[crops[2 * i], crops[2 * i - 2]] for i in range(12)]
    (tmp_path / "own.bin").write_bytes(
        pickle.dumps(([crop for pair in pairs for crop in pair], [True] * 12 + [False] * 12))
    )
    small: Recipe = tiny_recipe(tmp_path, epochs=1)
    net = build_backbone(small.network.backbone, dimension=16, input_px=32)
    save_weights(tmp_path / "begun.pt", net, small.network, input_px=32)
    words = [
        f"data.path={tmp_path / 'people'}",
        f"data.cache={tmp_path / 'cache'}",
        f"data.verify=[{tmp_path / 'own.bin'}]",
        "data.aligned=true",
        "data.input_px=32",
        "data.workers=0",
        f"network={{backbone: 'timm:test_efficientnet', dimension: 16, weights: {tmp_path / 'begun.pt'}}}",
        "stages.0.batch_size=8",
        "stages.0.epochs=1",
        "stages.1.batch_size=8",
        "stages.1.epochs=2",
        "device=cpu",
    ]
    sets = [word for change in words for word in ("--set", change)]
    out = tmp_path / "run"
    assert main(["train", "finetune-own-folder", *sets, "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{out}: 24 faces of 8 people, 0 files without a face"
    assert lines[1].startswith("9 steps, last loss ")
    assert [line.split(":")[0] for line in lines[2:]] == ["train", "validation", "strangers", "own"]
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["figures"]["own"]["pairs"] == 24 and 0.0 <= result["figures"]["own"]["accuracy"] <= 1.0
    assert result["figures"]["validation"]["accuracy"] is not None


def test_every_key_stands_on_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "lab" / "training.md").read_text(encoding="utf-8")
    for model in (Recipe, Network, Data, Augment, Stage, Term, Anneal, Optimiser, Schedule, Distillation):
        for key, field in model.model_fields.items():
            assert re.search(rf"^\| `{key}` \| .* \| {re.escape(str(field.description))} \|$", page, re.MULTILINE), key
