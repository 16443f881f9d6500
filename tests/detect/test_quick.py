"""The processor's networks against the plain modules they are made from."""

from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from attendance.detect.quick import QuickONet, QuickPNet, QuickRNet, quick
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.types import Float32

Net = TypeVar("Net", bound=torch.nn.Module)


def pictures(*shape: int) -> Float32:
    return np.random.default_rng(2).uniform(-1, 1, (*shape, 3)).astype(np.float32)


def with_random_slopes(net: Net) -> Net:
    """Slopes of both signs: the maximum of activations is then not the activation of the maximum."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.uniform_(-0.8, 0.8, generator=generator)
    net.requires_grad_(requires_grad=False).eval()
    return net


@pytest.mark.parametrize("size", [(12, 12), (13, 40), (31, 18), (90, 30), (16, 2200)])
def test_pnet(size: tuple[int, int]) -> None:
    net = with_random_slopes(PNet())
    images = pictures(2, *size)
    heads = net(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    found = QuickPNet(net)(images, -np.inf)
    differences: Float32 = heads[..., 1] - heads[..., 0]
    np.testing.assert_allclose(found[..., 0], differences, atol=1e-5)
    np.testing.assert_allclose(found[..., 1:], heads[..., 2:], atol=1e-5)


@pytest.mark.parametrize(("kind", "made", "side"), [(RNet, QuickRNet, 24), (ONet, QuickONet, 48)])
def test_crop_nets(kind: type[torch.nn.Module], made: Any, side: int) -> None:
    net = with_random_slopes(kind())
    crops = pictures(3, side, side)
    heads = net(torch.from_numpy(crops).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(made(net)(crops), heads, atol=1e-5)


def test_what_a_crop_gives_does_not_depend_on_the_others() -> None:
    net = with_random_slopes(ONet())
    crops = pictures(9, 48, 48)
    together = QuickONet(net)(crops)
    alone = np.concatenate([QuickONet(net)(crop[None]) for crop in crops])
    np.testing.assert_array_equal(together, alone)


def test_networks_that_the_kernels_compute_otherwise_are_refused() -> None:
    nets = with_random_slopes(PNet()), with_random_slopes(RNet()), with_random_slopes(ONet())
    assert quick(*nets) is not None
    nets[1].dense5_2.register_forward_hook(lambda _module, _given, found: found + 1)
    assert quick(*nets) is None
