"""dlib's network against dlib itself: its own output on the same chips, recorded in dlib_reference.json."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from attendance.embed.dlib import find_weights, read_weights
from attendance.errors import ModelError
from attendance.nets.dlib_resnet29 import DlibResNet29, ResidualBlock
from attendance.types import Float32, RGBImage

REFERENCE = Path(__file__).with_name("dlib_reference.json")
MEAN_RGB = np.array([122.782, 117.001, 104.298], np.float32)


@pytest.fixture(scope="module")
def data() -> bytes:
    return find_weights().read_bytes()


@pytest.fixture(scope="module")
def network(data: bytes) -> DlibResNet29:
    net = DlibResNet29().eval()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in read_weights(data).items()})
    return net


def packaged(package: str, path: str) -> RGBImage:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    with Image.open(Path(spec.submodule_search_locations[0]) / path) as image:
        return np.asarray(image.convert("RGB"))


def chip_of(name: str) -> RGBImage:
    if name == "grace_hopper":
        return packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")[90:390:2, 120:420:2]
    if name == "astronaut":
        return packaged("skimage", "data/astronaut.png")[40:190, 150:300]
    return np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["grace_hopper", "astronaut", "noise"])
def test_gives_what_dlib_gives(network: DlibResNet29, name: str) -> None:
    recorded: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    expected = np.array(recorded["vectors"][name], np.float32)
    pixels = (chip_of(name).astype(np.float32) - MEAN_RGB) / 256.0
    with torch.inference_mode():
        vector = network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0].numpy()
    # JPEG decoders may differ by a grey level, PNG and noise may not differ at all.
    np.testing.assert_allclose(vector, expected, atol=5e-3 if name == "grace_hopper" else 5e-6)


def test_has_the_published_number_of_parameters_and_convolutions(network: DlibResNet29) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_607_488
    assert len(list(network.convolutions())) == 29


def slow_convolution(x: Float32, weight: Float32, bias: Float32, *, stride: int, padding: int) -> Float32:
    """(C, H, W) by plain loops over the output."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[-1]
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:])
    out = np.empty((len(weight), rows, columns), np.float32)
    for r in range(rows):
        for c in range(columns):
            patch = x[:, r * stride : r * stride + size, c * stride : c * stride + size]
            out[:, r, c] = np.tensordot(weight, patch, axes=3) + bias
    return out


def slow_block(block: ResidualBlock, x: Float32) -> Float32:
    """A residual block after dlib's documentation: average pooling and zero-padding where the sides differ."""

    def arrays(tensors: tuple[Tensor, Tensor | None]) -> list[Float32]:
        return [t.detach().numpy() for t in tensors if t is not None]

    stride, padding = (2, 0) if block.down else (1, 1)
    first = arrays((block.conv1.weight, block.conv1.bias))
    y = np.maximum(slow_convolution(x, first[0], first[1], stride=stride, padding=padding), 0)
    second = arrays((block.conv2.weight, block.conv2.bias))
    y = slow_convolution(y, second[0], second[1], stride=1, padding=1)
    if block.down:
        even = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
        fours = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
        x = np.asarray(fours / 4, np.float32)
    total = np.zeros(tuple(max(a, b) for a, b in zip(x.shape, y.shape, strict=True)), np.float32)
    for part in (x, y):
        total[: part.shape[0], : part.shape[1], : part.shape[2]] += part
    return np.maximum(total, 0)


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "side", "down"),
    [(4, 4, 5, False), (4, 6, 7, True), (6, 6, 8, True), (6, 6, 3, True)],
    ids=["plain", "more-channels", "even-side-shortcut-larger", "smallest"],
)
def test_a_block_pads_the_smaller_side(channels_in: int, channels_out: int, side: int, *, down: bool) -> None:
    torch.manual_seed(3)
    block = ResidualBlock(channels_in, channels_out, down=down)
    x = torch.randn(1, channels_in, side, side)
    with torch.inference_mode():
        got = block(x)[0].numpy()
    np.testing.assert_allclose(got, slow_block(block, x[0].numpy()), atol=1e-5)


def test_memory_layout_changes_nothing(network: DlibResNet29) -> None:
    x = torch.randn(2, 3, 150, 150, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        plain = network(x)
        innermost = network(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, innermost, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keep", [0, 1000, 1_000_000, 22_000_000])
def test_a_cut_file_is_refused(data: bytes, keep: int) -> None:
    with pytest.raises(ModelError, match="dlib's file"):
        read_weights(data[:keep])


def test_another_shape_is_refused_by_the_layers_name(data: bytes) -> None:
    # The stem's tensor is followed by its number of filters, 32: make that 33.
    at = data.index(bytes((1, 5)) + b"con_4") + 7
    size = 4 * (32 * 3 * 49 + 32)
    after = data.index(bytes((1, 32, 1, 7, 1, 7, 1, 2, 1, 2)), at + size)
    with pytest.raises(ModelError, match="stem"):
        read_weights(data[: after + 1] + bytes((33,)) + data[after + 2 :])
