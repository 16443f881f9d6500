"""A network is exported, measured, made coarser, and run by the product's own commands through its card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attendance.cli.build import main as build_database
from attendance.cli.realtime import main as realtime_attendance
from attendance.embed.onnx import OnnxEmbedder
from attendance.embed.registry import find_card, load_embedder
from attendance.errors import ModelError
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, load
from lab.__main__ import main
from lab.export.onnx_file import require_parity, write_onnx
from lab.export.quantise import Precision, quantise
from lab.nets.registry import build_backbone
from lab.train.recipe import Network
from lab.train.weights import load_weights, save_weights
from tests.lab.made_people import made_folder, made_photo

CHIPS = np.stack([made_photo(person, 9) for person in range(12)])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learnt nothing, and people to measure it on."""
    root = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    network = Network(backbone="timm:test_efficientnet", dimension=16)
    net = build_backbone(network.backbone, dimension=16, input_px=32)
    with torch.no_grad():  # statistics of real faces, so that no layer is dead
        net.train()(torch.from_numpy(CHIPS).permute(0, 3, 1, 2).float() / 127.5 - 1.0)
    save_weights(root / "model.pt", net.eval(), network, input_px=32)
    made_folder(root / "people", people=24, photos=4)
    return root


def arguments(root: Path, name: str) -> list[str]:
    place = ["--to", str(root / "store" / "models" / name), "--images", str(root / "people"), "--aligned"]
    return ["export", str(root / "model.pt"), *place, "--licence", "CC0 1.0", "--quiet"]


@pytest.fixture(scope="module")
def exported(root: Path) -> dict[str, Any]:
    """The command's result; the model lies in the store."""
    target = root / "result.json"
    assert main([*arguments(root, "tiny"), "--precision", "int8-static", "--json", str(target)]) == 0
    result: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return result


def test_the_card_says_what_the_file_is_and_what_was_measured(root: Path, exported: dict[str, Any]) -> None:
    folder = root / "store" / "models" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["card.yaml", "weights.onnx"]
    card = find_card("tiny", folder.parent)
    assert card.sha256 == hashlib.sha256((folder / "weights.onnx").read_bytes()).hexdigest() == exported["sha256"]
    assert (card.dimension, card.input.size_px, card.license) == (16, 32, "CC0 1.0")
    vectors = load_embedder(card, device="cpu", threads=1, models_dir=folder.parent).embed(
        np.stack([made_photo(person, number) for person in range(24) for number in range(4)])
    )
    impostors = sorted(float(vectors[i] @ vectors[j]) for i in range(96) for j in range(i) if i // 4 != j // 4)
    for rate, cosine in card.thresholds.items():
        assert cosine == pytest.approx(impostors[len(impostors) - round(rate * len(impostors))], abs=2e-5)
    assert sorted(card.thresholds) == [0.01, 0.1]
    assert card.impostors is not None and card.impostors.pairs == len(impostors)
    assert exported["card_is_whole"] is False


def test_both_precisions_are_judged_beside_each_other(exported: dict[str, Any]) -> None:
    assert exported["largest_difference"] < 1e-5
    before, after = exported["files"]["float32"], exported["files"]["int8-static"]
    assert after["bytes"] < before["bytes"]
    assert before["ms_a_face"] > 0.0 and after["ms_a_face"] > 0.0
    assert 0.5 < before["auc"] <= 1.0 and abs(before["auc"] - after["auc"]) < 0.1
    assert after["cosine_to_float32"]["mean"] > 0.9


def test_the_file_is_the_network_and_dynamic_integers_are_near_it(root: Path, tmp_path: Path) -> None:
    net, _, side = load_weights(root / "model.pt")
    write_onnx(net, tmp_path / "float.onnx", input_px=side)
    quantise(tmp_path / "float.onnx", tmp_path / "int8.onnx", Precision.INT8_DYNAMIC, calibration=CHIPS)
    from lab.export.card import unmeasured_card

    found = []
    for name in ("float.onnx", "int8.onnx"):
        data = (tmp_path / name).read_bytes()
        card = unmeasured_card("tiny", data, input_px=32, dimension=16, licence="CC0 1.0", source="test")
        found.append(OnnxEmbedder(card, data, device="cpu", threads=1).embed(CHIPS))
    with torch.no_grad():
        wanted = net((torch.from_numpy(CHIPS).permute(0, 3, 1, 2).float() - 127.5) / 127.5).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.abs(found[0] - wanted).max() < 1e-5
    assert (found[0] * found[1]).sum(axis=1).mean() > 0.95


class Attending(torch.nn.Module):
    """Channels that are weighed against each other, as EdgeFace's are: shapes that depend on the batch's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3, stride=4)
        self.last = torch.nn.Linear(16 * 8 * 8, 16)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) -> (N, 16)."""
        channels = self.conv(pixels).flatten(2)
        like = torch.nn.functional.normalize(channels, dim=-1)
        weighed = (like @ like.transpose(1, 2)).softmax(-1) @ channels
        features: torch.Tensor = self.last(weighed.flatten(1))
        return features


def test_a_network_that_attends_is_quantised_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_onnx(Attending().eval(), tmp_path / "float.onnx", input_px=32)
    quantise(tmp_path / "float.onnx", tmp_path / "int8.onnx", Precision.INT8_STATIC, calibration=CHIPS)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.7 * (tmp_path / "float.onnx").stat().st_size


def test_a_file_that_differs_is_refused() -> None:
    one = np.eye(3, dtype=np.float32)
    with pytest.raises(ModelError, match="differ from the network"):
        require_parity(one, one + np.float32(2e-4))
    with pytest.raises(ModelError, match="got nan"):
        require_parity(one, one * np.float32(np.nan))


def test_the_product_s_commands_run_the_exported_model(root: Path, exported: dict[str, Any], tmp_path: Path) -> None:
    people, seen = tmp_path / "people", tmp_path / "seen"
    seen.mkdir()
    for number, portrait in enumerate((GRACE_HOPPER, EILEEN_COLLINS)):
        folder = people / f"person-0{number}"
        folder.mkdir(parents=True)
        Image.fromarray(load(portrait)).save(folder / "1.png")
    for frame in range(4):
        Image.fromarray(load(GRACE_HOPPER)).save(seen / f"{frame}.png")
    flags = ["--store", str(root / "store"), "--quiet"]
    config = tmp_path / "config.yaml"
    config.write_text("model: {id: tiny}\nenrol: {duplicates: flag}\n", encoding="utf-8")
    flags += ["--config", str(config)]
    assert build_database([str(people), *flags]) == 0
    events = tmp_path / "events.jsonl"
    recorded = ["--source", str(seen), "--fps", "10", "--start", "2026-03-02T08:00:00Z", "--headless"]
    assert realtime_attendance([*recorded, "--events", str(events), *flags]) == 0
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    assert lines and {line["model"] for line in lines} == {exported["model"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--to", "a b"], "expected a folder named as the model's id"),
        (["--images", "none"], "there is no such folder"),
    ],
)
def test_wrong_use_is_one_line(root: Path, changes: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(root, "other"), *changes]) == 2
    assert said in capsys.readouterr().err


def test_a_model_that_is_there_is_not_overwritten(
    root: Path, exported: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(root, exported["model"])) == 2
    assert "exists already" in capsys.readouterr().err
