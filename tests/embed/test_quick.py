"""dlib's network by our kernels: the plain network's vectors, and the same ones whatever is computed beside them."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from attendance.embed.card import ColourOrder, InputSpec
from attendance.embed.dlib import find_weights, read_weights
from attendance.embed.plan import GROUP
from attendance.embed.quick import QuickDlibResNet29, quick
from attendance.nets.dlib_resnet29 import DlibResNet29
from attendance.simd.winograd import FROM_INPUT, FROM_WEIGHTS, TO_OUTPUT
from attendance.types import Float32, RGBImage

SPEC = InputSpec(150, ColourOrder.RGB, (122.782, 117.001, 104.298), (1 / 256,) * 3)


@pytest.fixture(scope="module")
def network() -> DlibResNet29:
    made = DlibResNet29().eval()
    weights = read_weights(find_weights().read_bytes())
    made.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    made.requires_grad_(requires_grad=False)
    return made


@pytest.fixture(scope="module")
def chips() -> RGBImage:
    """Two portraits' faces, each cut out where it is and at places around: more than both threads' groups."""
    hopper = packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")[::2, ::2]
    astronaut = packaged("skimage", "data/astronaut.png")
    places = [(row, column) for row in range(-20, 21, 20) for column in range(-20, 21, 20)]
    cut = [hopper[45 + row : 195 + row, 60 + column : 210 + column] for row, column in places]
    cut += [astronaut[40 + row : 190 + row, 150 + column : 300 + column] for row, column in places]
    return np.stack(cut)


def packaged(package: str, path: str) -> RGBImage:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    with Image.open(Path(spec.submodule_search_locations[0]) / path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def made(network: DlibResNet29) -> QuickDlibResNet29:
    found = quick(network, threads=2)
    assert found is not None
    return found


def plain(network: nn.Module, chips: RGBImage) -> Float32:
    mean, scale = torch.tensor(SPEC.mean), torch.tensor(SPEC.scale)
    with torch.inference_mode():
        found: Float32 = network(((torch.from_numpy(chips).float() - mean) * scale).permute(0, 3, 1, 2)).numpy()
    return found


def cosines(left: Float32, right: Float32) -> Float32:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / lengths, dtype=np.float32)


def test_the_plain_network_s_vectors(network: DlibResNet29, made: QuickDlibResNet29, chips: RGBImage) -> None:
    wanted, found = plain(network, chips), made(chips, SPEC)
    assert cosines(wanted, found).min() >= 0.99999
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_vector_does_not_depend_on_the_batch_or_the_threads(
    network: DlibResNet29, made: QuickDlibResNet29, chips: RGBImage
) -> None:
    assert len(chips) > 2 * GROUP
    together = made(chips, SPEC)
    np.testing.assert_array_equal(np.concatenate([made(chip[None], SPEC) for chip in chips[:3]]), together[:3])
    np.testing.assert_array_equal(made(chips[1:6], SPEC), together[1:6])
    np.testing.assert_array_equal(QuickDlibResNet29(network, threads=3)(chips, SPEC), together)
    assert made(chips[:0], SPEC).shape == (0, 128)


def test_the_mirror_image_is_added_and_colours_are_swapped(made: QuickDlibResNet29, chips: RGBImage) -> None:
    both = InputSpec(150, ColourOrder.RGB, SPEC.mean, SPEC.scale, mirror=True)
    two = chips[:2]
    np.testing.assert_array_equal(made(two, both), made(two, SPEC) + made(two[:, :, ::-1], SPEC))
    swapped = InputSpec(150, ColourOrder.BGR, SPEC.mean, SPEC.scale)
    np.testing.assert_array_equal(made(two[..., ::-1], swapped), made(two, SPEC))


def test_several_threads_may_ask_at_once(made: QuickDlibResNet29, chips: RGBImage) -> None:
    wanted = made(chips, SPEC)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: made(chips, SPEC), range(6)):
            np.testing.assert_array_equal(found, wanted)


def test_other_networks_are_left_to_others() -> None:
    assert quick(nn.Linear(3, 2), threads=1) is None


def test_one_that_the_kernels_compute_otherwise_is_refused() -> None:
    torch.manual_seed(4)
    mirrored_edges = DlibResNet29().eval()
    block = mirrored_edges.blocks[0]
    block.conv1 = nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect")
    assert quick(mirrored_edges, threads=1) is None


@pytest.mark.parametrize("m", [2, 4])
def test_winograd_s_matrices_give_the_sums_of_a_filter(m: int) -> None:
    """In one dimension: m results of a filter of three numbers over m + 2."""
    random = np.random.default_rng(m)
    given, filter_ = random.normal(size=m + 2), random.normal(size=3)
    from_input, from_weights, to_output = (np.array(matrix[m]) for matrix in (FROM_INPUT, FROM_WEIGHTS, TO_OUTPUT))
    found = to_output @ ((from_weights @ filter_) * (from_input @ given))
    np.testing.assert_allclose(found, [given[i : i + 3] @ filter_ for i in range(m)], atol=1e-12)
