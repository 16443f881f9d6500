"""Torch embedders: mirrored chips, and checkpoints read key by key."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from attendance.embed.card import ColourOrder, InputSpec, WeightFormat
from attendance.embed.torch import TorchEmbedder, build_network, read_checkpoint, read_safetensors
from attendance.errors import ModelError
from attendance.nets.device import Mode
from attendance.nets.resnet50 import ResNet50
from tests.embed.conftest import SIDE, card


class LeftColumn(nn.Module):
    """(N, 3, H, W) -> mean of the leftmost column by channel, and 1: it tells left from right."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., 0].mean(dim=2), torch.ones(len(x), 1)], dim=1)


def test_the_mirrored_output_is_added_before_the_length_is_taken() -> None:
    spec = InputSpec(SIDE, ColourOrder.RGB, (0.0, 0.0, 0.0), (0.01, 0.01, 0.01), mirror=True)
    chips = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    got = TorchEmbedder(card(input=spec), LeftColumn(), device="cpu").embed(chips)
    sides = (chips[:, :, 0].astype(np.float64) + chips[:, :, -1]).mean(axis=1) * 0.01
    expected = np.column_stack([sides, np.full(3, 2.0)])
    np.testing.assert_allclose(got, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_fewer_digits_move_a_vector_little_and_mirrored_faces_are_added_in_all() -> None:
    """The path of half precision, in the half that a processor has too."""
    spec = InputSpec(SIDE, ColourOrder.BGR, (0.0, 0.0, 0.0), (0.01, 0.01, 0.01), mirror=True)
    chips = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    mode = Mode(torch.bfloat16, graphs=True)
    fewer, all_digits = (
        TorchEmbedder(card(input=spec), LeftColumn(), device="cpu", mode=each).embed(chips) for each in (mode, Mode())
    )
    assert fewer.dtype == np.float32
    assert not np.array_equal(fewer, all_digits)
    np.testing.assert_allclose(np.sum(fewer * all_digits, axis=1), 1.0, atol=1e-4)


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def resnet_card(**changes: Any) -> Any:
    return card(format=WeightFormat.TORCH, network="resnet50", dimension=512, **changes)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(4)
    return ResNet50().state_dict()


def test_a_published_checkpoint_loads_through_its_key_map(state: dict[str, Tensor]) -> None:
    """As seed models are published: the weights under ``model_state``, the backbone's keys with a prefix, a head."""
    content = {f"backbone.{key}": value for key, value in state.items()} | {"head.weight": torch.zeros(3, 512)}
    data = saved({"epoch": 3, "model_state": content})
    model_card = resnet_card(state_key="model_state", key_map={"backbone.": "", "head.": None})
    network = build_network(model_card, read_checkpoint(model_card, data))
    faces = torch.randn(1, 3, 112, 112)
    plain = ResNet50().eval()
    plain.load_state_dict(state)
    with torch.inference_mode():
        torch.testing.assert_close(network(faces), plain(faces), atol=1e-5, rtol=1e-4)


def test_safetensors_load_the_same_weights(state: dict[str, Tensor]) -> None:
    read = read_safetensors(resnet_card(), safetensors.torch.save(state))
    assert all(torch.equal(read[key], value) for key, value in state.items())
    build_network(resnet_card(), read)


def test_missing_and_unexpected_keys_are_named(state: dict[str, Tensor]) -> None:
    changed = {key: value for key, value in state.items() if key != "fc.bias"} | {"head.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"missing: fc\.bias; unexpected: head\.weight"):
        build_network(resnet_card(), changed)


def test_another_shape_is_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match=r"fc\.bias of shape \(512,\), got \(7,\)"):
        build_network(resnet_card(), state | {"fc.bias": torch.zeros(7)})


def test_an_old_file_without_counters_loads(state: dict[str, Tensor]) -> None:
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    assert len(old) < len(state)
    loaded, whole = (build_network(resnet_card(), content).state_dict() for content in (old, state))
    assert all(torch.equal(loaded[key], whole[key]) for key in whole if "num_batches" not in key)


def test_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"'vgg'.*dlib_resnet29, facenet, resnet50"):
        build_network(card(network="vgg"), {})


class Payload:
    """What a pickle from elsewhere can carry: a call that runs while it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.target,))


def test_a_checkpoint_that_carries_code_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    with pytest.raises(ModelError, match="tensors alone"):
        read_checkpoint(resnet_card(), saved({"model_state": Payload(target)}))
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "cannot be read"),
        (b"text", "cannot be read"),
        (saved({"w": torch.zeros(1000)})[:-600], "cannot be read"),
        (saved([torch.zeros(2)]), "got list"),
        (saved({"epoch": 3}), "tensor at 'epoch', got int"),
    ],
    ids=["empty", "text", "cut", "list", "no-tensors"],
)
def test_other_files_are_refused(content: bytes, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        read_checkpoint(resnet_card(), content)


def test_damaged_safetensors_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match="damaged"):
        read_safetensors(resnet_card(), safetensors.torch.save({"w": state["fc.bias"]})[:-8])


def test_two_keys_of_one_name_are_refused() -> None:
    data = saved({"a.w": torch.zeros(1), "b.w": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"two weights the name 'w'"):
        read_checkpoint(resnet_card(key_map={"a.": "", "b.": ""}), data)
