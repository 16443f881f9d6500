"""EdgeFace against timm's EdgeNeXt, which the published checkpoints were trained on, and against their keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lab.nets.edgeface import EdgeFace, LoRaLin
from lab.nets.timm_net import create

TIMM = {"xxs": "edgenext_xx_small", "xs": "edgenext_x_small", "s": "edgenext_small", "base": "edgenext_base"}


def published_keys(size: str) -> dict[str, str]:
    lines = (Path(__file__).parent / "edgeface_keys.txt").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"[{size}]") + 1
    keys: dict[str, str] = {}
    for line in lines[start:]:
        if line.startswith("["):
            break
        name, shape = line.split()
        keys[name] = shape
    return keys


def shapes(state: dict[str, Tensor]) -> dict[str, str]:
    return {name: "x".join(map(str, value.shape)) for name, value in state.items()}


@pytest.mark.parametrize("size", ["xs", "s"])
def test_low_rank_sizes_have_the_published_keys_and_shapes(size: str) -> None:
    with torch.device("meta"):
        assert shapes(EdgeFace(size).state_dict()) == published_keys(size)


@pytest.mark.parametrize("size", ["xxs", "base"])
def test_plain_sizes_have_the_keys_and_shapes_of_timm_s_network_as_published(size: str) -> None:
    with torch.device("meta"):
        reference = create(TIMM[size], input_px=112, num_classes=512).state_dict()
        ours = EdgeFace(size).state_dict()
    assert shapes(ours) == {f"model.{name}": shape for name, shape in shapes(reference).items()}


def drawn(net: EdgeFace) -> EdgeFace:
    """Every weight is drawn, so that each part is seen in the output: as made, most are scaled by a millionth."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "gamma" in name or "norm" in name or "stem.1" in name or "downsample.0" in name or "temperature" in name:
                value.uniform_(0.5, 1.5)
            else:
                value.normal_(0.0, 0.05)
    return net.eval()


@pytest.mark.parametrize(("size", "input_px"), [("xxs", 64), ("xs", 112)])
def test_outputs_are_those_of_timm_s_network_with_the_same_weights(size: str, input_px: int) -> None:
    net = drawn(EdgeFace(size, gamma=1.0))
    reference = create(TIMM[size], input_px=112, num_classes=512).eval()
    reference.load_state_dict({name.removeprefix("model."): value for name, value in net.state_dict().items()})
    face = torch.randn(2, 3, input_px, input_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, ours = reference(face), net(face)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_low_rank_network_is_the_plain_one_with_the_product_of_its_matrices() -> None:
    low = drawn(EdgeFace("xs"))
    plain = EdgeFace("xs", gamma=1.0).eval()
    state: dict[str, Tensor] = {}
    for name, value in low.state_dict().items():
        if name.endswith("linear1.weight"):
            stem = name.removesuffix("linear1.weight")
            state[f"{stem}weight"] = low.state_dict()[f"{stem}linear2.weight"] @ value
        elif name.endswith("linear2.bias"):
            state[f"{name.removesuffix('linear2.bias')}bias"] = value
        elif not name.endswith("linear2.weight"):
            state[name] = value
    plain.load_state_dict(state)
    face = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(low(face), plain(face), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sides", "gamma", "rank"), [((192, 512), 0.6, 115), ((304, 152), 0.5, 76), ((3, 9), 0.1, 2)])
def test_a_low_rank_layer_has_the_rank_of_its_equation(sides: tuple[int, int], gamma: float, rank: int) -> None:
    layer = LoRaLin(*sides, gamma=gamma)
    assert layer.linear1.weight.shape == (rank, sides[0])
    assert layer.linear2.weight.shape == (sides[1], rank)
    assert layer.linear1.bias is None
