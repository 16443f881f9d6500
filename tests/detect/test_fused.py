"""The processor's networks against the plain modules they are made from."""

from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from attendance.detect.fused import FusedONet, FusedPNet, FusedRNet
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


@pytest.mark.parametrize("size", [(12, 12), (13, 40), (31, 18)])
def test_pnet(size: tuple[int, int]) -> None:
    net = with_random_slopes(PNet())
    images = pictures(2, *size)
    heads = net(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    found = FusedPNet(net)(images, -np.inf)
    differences: Float32 = heads[..., 1] - heads[..., 0]
    np.testing.assert_allclose(found[..., 0], differences, atol=1e-5)
    np.testing.assert_allclose(found[..., 1:], heads[..., 2:], atol=1e-5)


@pytest.mark.parametrize(("kind", "fused", "side"), [(RNet, FusedRNet, 24), (ONet, FusedONet, 48)])
def test_crop_nets(kind: type[torch.nn.Module], fused: Any, side: int) -> None:
    net = with_random_slopes(kind())
    crops = pictures(3, side, side)
    heads = net(torch.from_numpy(crops).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(fused(net)(crops), heads, atol=1e-5)
