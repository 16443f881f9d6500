"""From a model's id to an embedder: cards, weights, the converted copy of dlib's file, devices."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from attendance.embed.card_file import card_text
from attendance.embed.dlib import find_weights
from attendance.embed.dlib_cache import CACHE_FILE, load_state
from attendance.embed.registry import DEFAULT_MODEL, find_card, load_embedder
from attendance.errors import ModelError
from tests.embed.conftest import SIDE, WEIGHTS, card
from tests.embed.onnx_file import channel_means

ONNX = channel_means(WEIGHTS, side=SIDE)


def store(models_dir: Path, weights: bytes = ONNX, name: str = "weights.onnx") -> None:
    folder = models_dir / "tiny"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(card_text(card(ONNX)), encoding="utf-8")
    (folder / name).write_bytes(weights)


def nowhere() -> Path:
    raise AssertionError("dlib's file was asked for although the copy serves")


def test_the_default_model_embeds(tmp_path: Path) -> None:
    embedder = load_embedder(find_card(DEFAULT_MODEL), device="cpu", threads=1, models_dir=tmp_path)
    chips = np.random.default_rng(0).integers(0, 256, (2, 150, 150, 3), dtype=np.uint8)
    first = embedder.embed(chips)
    assert first.shape == (2, 128)
    assert embedder.describe() == "model dlib-resnet29 (128-D) on cpu"
    assert [path.name for path in (tmp_path / DEFAULT_MODEL).iterdir()] == [CACHE_FILE]
    again = load_embedder(find_card(DEFAULT_MODEL), device="cpu", threads=1, models_dir=tmp_path)
    np.testing.assert_array_equal(again.embed(chips), first)


def test_the_copy_serves_without_dlibs_file(tmp_path: Path) -> None:
    model_card = find_card(DEFAULT_MODEL)
    direct = load_state(model_card, find_weights=find_weights, folder=None)
    load_state(model_card, find_weights=find_weights, folder=tmp_path)
    copied = load_state(model_card, find_weights=nowhere, folder=tmp_path)
    assert copied.keys() == direct.keys()
    assert all(torch.equal(copied[name], direct[name]) for name in direct)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other-source"])
def test_a_damaged_copy_is_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    model_card = find_card(DEFAULT_MODEL)
    direct = load_state(model_card, find_weights=find_weights, folder=tmp_path)
    path = tmp_path / CACHE_FILE
    good = path.read_bytes()
    middle = len(good) // 2
    bad = {
        "flip": good[:middle] + bytes([good[middle] ^ 16]) + good[middle + 1 :],
        "cut": good[:middle],
        "empty": b"",
        "other-source": good.replace(model_card.sha256.encode(), b"0" * 64),
    }[damage]
    path.write_bytes(bad)
    again = load_state(model_card, find_weights=find_weights, folder=tmp_path)
    assert all(torch.equal(again[name], direct[name]) for name in direct)
    load_state(model_card, find_weights=nowhere, folder=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [CACHE_FILE]
    assert ("damaged" in caplog.text) == (damage != "other-source")


def test_where_no_copy_can_be_kept_it_goes_on_without(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be", encoding="utf-8")
    state = load_state(find_card(DEFAULT_MODEL), find_weights=find_weights, folder=tmp_path / "models" / "dlib")
    assert len(state) == 59


def test_another_file_than_the_cards_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dlib.dat"
    shutil.copyfile(find_weights(), path)
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\x00\x01")
    with pytest.raises(ModelError, match=r"SHA-256 55533b28.*got.*install face_recognition_models==0\.3\.0 again"):
        load_state(find_card(DEFAULT_MODEL), find_weights=lambda: path, folder=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_unknown_id_lists_the_known_ones(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(ModelError, match=r"no model 'none' .*known are dlib-resnet29, tiny"):
        find_card("none", tmp_path)


def test_a_stored_model_loads(tmp_path: Path) -> None:
    store(tmp_path)
    embedder = load_embedder(find_card("tiny", tmp_path), device="cpu", threads=1, models_dir=tmp_path)
    assert embedder.embed(np.zeros((2, SIDE, SIDE, 3), np.uint8)).shape == (2, 4)


def test_a_card_under_another_name_is_refused(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "tiny").rename(tmp_path / "huge")
    with pytest.raises(ModelError, match=r"id: expected huge.*got tiny"):
        find_card("huge", tmp_path)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    store(tmp_path, ONNX + b"\x00")
    with pytest.raises(ModelError, match="model tiny: expected weights with SHA-256"):
        load_embedder(find_card("tiny", tmp_path), device="cpu", models_dir=tmp_path)


def test_missing_and_doubled_weights_are_named(tmp_path: Path) -> None:
    store(tmp_path, name="other.onnx")
    with pytest.raises(ModelError, match=r"expected one file named weights .*got none: fetch it from these tests"):
        load_embedder(find_card("tiny", tmp_path), device="cpu", models_dir=tmp_path)
    for name in ("weights", "weights.pt"):
        (tmp_path / "tiny" / name).write_bytes(ONNX)
    with pytest.raises(ModelError, match=r"got weights, weights\.pt"):
        load_embedder(find_card("tiny", tmp_path), device="cpu", models_dir=tmp_path)
    with pytest.raises(ModelError, match="the store's models folder"):
        load_embedder(find_card("tiny", tmp_path), device="cpu")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ModelError, match="auto, cpu, cuda, got 'tpu'"):
        load_embedder(find_card(DEFAULT_MODEL), device="tpu")


def test_half_precision_on_the_processor_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ModelError, match=r"model\.precision: expected fp32 or auto .* got fp16"):
        load_embedder(find_card(DEFAULT_MODEL), device="cpu", precision="fp16")


def test_cuda_runs_or_says_that_it_is_not_there() -> None:
    model_card = dataclasses.replace(find_card(DEFAULT_MODEL))
    if torch.cuda.is_available():
        embedder = load_embedder(model_card, device="cuda")
        cpu = load_embedder(model_card, device="cpu")
        chips = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), dtype=np.uint8)
        np.testing.assert_allclose(embedder.embed(chips), cpu.embed(chips), atol=2e-3)
        return
    with pytest.raises(ModelError, match=r"CUDA device, PyTorch finds none: set model.device to cpu or auto"):
        load_embedder(model_card, device="cuda")
