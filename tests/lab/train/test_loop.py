"""The loop, run whole on people made by code: every loss, every precision, stages, teachers, and what it leaves."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from attendance.errors import ModelError, UsageError
from lab.losses.registry import LOSSES
from lab.train.journal import DivergedError
from lab.train.loop import train
from lab.train.weights import load_weights
from tests.lab.made_people import made_folder
from tests.lab.train.tiny import tiny_recipe

SCALES = {"numbers": {"scale": 16.0}}
UNSCALED = ("softmax", "center", "sphereface", "triplet-batch-hard", "triplet-semi-hard")

# Two photos of every person in every batch, so that one step's loss can be compared with another's.
EVERYBODY: dict[str, Any] = {
    "iterations": 8,
    "batch_size": 16,
    "optimiser": {"name": "adamw", "rate": 0.003},
    "augment": {},
    "data": {"sampler": "people", "photos_per_person": 2},
    "checkpoint_every": 100,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people with five photos each, and the cache that all tests share."""
    root = tmp_path_factory.mktemp("loop")
    made_folder(root / "people", people=8, photos=5)
    return root


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses_of(out: Path) -> list[float]:
    return [row["loss"] for row in rows_of(out) if "loss" in row]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_falls(loss: str, folder: Path, tmp_path: Path) -> None:
    term: dict[str, Any] = {"loss": loss, **({} if loss in UNSCALED else SCALES)}
    if loss == "sphereface":
        term["anneal"] = {"number": "blend", "start": 1000.0, "rate": 0.12, "least": 5.0}
    train(tiny_recipe(folder, losses=[term], **EVERYBODY), out=tmp_path / "run")
    require_falling(losses_of(tmp_path / "run"))


def require_falling(losses: list[float]) -> None:
    assert len(losses) == EVERYBODY["iterations"] and all(map(math.isfinite, losses))
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="hardware: no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_graphics_card_learns_too(precision: str, folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(folder, precision=precision, class_rate=0.5, channels_last=True, device="cuda", **EVERYBODY)
    train(recipe, out=tmp_path / "run")
    losses = losses_of(tmp_path / "run")
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.parametrize(("precision", "class_rate"), [("bf16", 1.0), ("fp16", 0.5)])
def test_half_precision_learns_too(precision: str, class_rate: float, folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(folder, precision=precision, class_rate=class_rate, channels_last=True, **EVERYBODY)
    train(recipe, out=tmp_path / "run")
    require_falling(losses_of(tmp_path / "run"))


def test_it_learns_the_people_it_knows_and_tells_strangers_apart(folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        folder,
        epochs=10,
        optimiser={"rate": 0.05, "clip_norm": 5.0},
        schedule={"kind": "cosine", "warmup": 1},
        data={"validation_photos": 1, "strangers": 0.25},
        validate_every=5.0,
        ema=0.7,
    )
    result = train(recipe, out=tmp_path / "run")
    assert result["classes"] == 6 and result["faces"] == 24 and result["unread"] == 0
    assert result["steps"] == 30 and not result["stopped"]
    figures = result["figures"]
    assert figures["train"]["accuracy"] > 0.9 and figures["validation"]["accuracy"] > 0.8
    assert figures["strangers"]["auc"] > 0.8 and figures["strangers"]["pairs"] == 45
    judged = [row for row in rows_of(tmp_path / "run") if "figures" in row]
    assert [row["step"] for row in judged] == [15, 30] and judged[-1]["figures"] == figures


def test_the_run_s_folder_says_everything(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = tiny_recipe(folder, iterations=5)
    result = train(recipe, out=out)
    assert json.loads((out / "result.json").read_text()) == result
    assert set(json.loads((out / "environment.json").read_text())) >= {"commit", "torch", "python", "begun_utc"}
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000003", "step-00000005"]
    net, network, input_px = load_weights(out / "model.pt")
    assert (network.backbone, network.dimension, input_px, net.training) == ("timm:test_efficientnet", 16, 32, False)
    shown = {(value.tag, event.step): value.simple_value for event in events(out) for value in event.summary.value}
    losses = losses_of(out)
    for step in range(5):
        assert shown["loss", step + 1] == pytest.approx(losses[step])
    assert ("figures/train/accuracy", 5) in shown and ("rate", 1) in shown
    assert train(recipe, out=out, resume=True) == result  # it was finished already
    assert losses_of(out) == losses
    with pytest.raises(UsageError, match="holds a run already; --resume goes on with it"):
        train(recipe, out=out)
    with pytest.raises(UsageError, match=r"differs from .*recipe\.yaml in seed"):
        train(tiny_recipe(folder, iterations=5, seed=1), out=out, resume=True)
    train(tiny_recipe(folder, iterations=5, checkpoint_every=50), out=out, resume=True)  # no number follows from it
    (out / "checkpoints" / "step-00000005" / "rank-0.pt").write_bytes(b"broken")
    with pytest.raises(ModelError, match="the file cannot be read"):
        train(recipe, out=out, resume=True)


def events(out: Path) -> list[Any]:
    """TensorBoard's file: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    (path,) = (out / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event()
        event.ParseFromString(data[12 : 12 + length])
        found.append(event)
        data = data[16 + length :]
    return found


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows its people."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(tiny_recipe(folder, iterations=20, augment={}), out=out)
    return out / "model.pt"


def test_stages_follow_each_other_with_one_set_of_directions(folder: Path, tmp_path: Path, trained: Path) -> None:
    """First the directions alone, the network untouched; then everything, from where they are."""
    directions = {
        "iterations": 20,
        "batch_size": 8,
        "losses": [{"loss": "n-softmax", "numbers": {"scale": 16.0}}],
        "optimiser": {"name": "adamw", "rate": 0.05, "weight_decay": 0.0},
        "train_backbone": False,
    }
    everything = {
        "iterations": 4,
        "batch_size": 8,
        "losses": [
            {"loss": "li-arcface", "numbers": {"scale": 16.0}},
            {"loss": "arcface-safe", "weight": 0.5, "numbers": {"scale": 16.0}},
            {"loss": "triplet-batch-hard"},
        ],
        "optimiser": {"rate": 0.001},
    }
    network = {"weights": trained}
    one = tiny_recipe(folder, stages=[directions], network=network, augment={})
    train(one, out=tmp_path / "one")
    before, after = (load_weights(path)[0].state_dict() for path in (trained, tmp_path / "one" / "model.pt"))
    assert all(torch.equal(before[key], after[key]) for key in before)
    two = tiny_recipe(folder, stages=[directions, everything], network=network, augment={})
    result = train(two, out=tmp_path / "two")
    rows = [row for row in rows_of(tmp_path / "two") if "loss" in row]
    assert [row["stage"] for row in rows] == [0] * 20 + [1] * 4 and result["steps"] == 24
    assert set(rows[-1]["terms"]) == {"0-li-arcface", "1-arcface-safe", "2-triplet-batch-hard"}
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1]["terms"].values()))
    assert rows[20]["terms"]["0-li-arcface"] < 12.0  # the directions were learnt: from scratch it begins above 14
    assert result["figures"]["train"]["accuracy"] > 0.9


def test_a_teacher_s_features_and_relations_are_learnt(folder: Path, tmp_path: Path, trained: Path) -> None:
    distil = {"teacher": {"backbone": "timm:test_efficientnet", "dimension": 16, "weights": trained}, "feature": 1.0}
    common: dict[str, Any] = {
        "iterations": 12,
        "losses": [],
        "optimiser": {"name": "adamw", "rate": 0.003},
        "augment": {},
    }
    alike = tiny_recipe(folder, distil=distil, **common)
    train(alike, out=tmp_path / "alike")
    losses = losses_of(tmp_path / "alike")
    assert losses[-1] < 0.5 * losses[0]
    relations = {**distil, "distance": 1.0, "angle": 1.0}
    smaller = tiny_recipe(folder, distil=relations, network={"dimension": 8}, **common)
    train(smaller, out=tmp_path / "smaller")
    losses = losses_of(tmp_path / "smaller")
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_no_number_stops_the_run(folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(folder, iterations=40, optimiser={"rate": 1e30}, losses=[{"loss": "softmax"}])
    with pytest.raises(DivergedError, match=r"expected a loss, got (nan|inf)"):
        train(recipe, out=tmp_path / "run")


def test_a_request_to_stop_keeps_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = tiny_recipe(folder, iterations=400, checkpoint_every=10_000, log_every=1)
    handler = signal.getsignal(signal.SIGTERM)

    def ask() -> None:
        while not (out / "log.jsonl").exists() or len(rows_of(out)) < 4:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    result = train(recipe, out=out)
    asking.join()
    assert result["stopped"] and 2 <= result["steps"] < 400
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not (out / "model.pt").exists()
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step-{result['steps']:08d}"]
