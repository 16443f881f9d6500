"""The shapes of the published networks."""

import pytest
import torch
from torch import nn

from attendance.nets.mtcnn import ONet, PNet, RNet


@pytest.mark.parametrize(("net", "parameters"), [(PNet, 6632), (RNet, 100178), (ONet, 389040)])
def test_parameter_counts_are_the_published_ones(net: type[nn.Module], parameters: int) -> None:
    assert sum(parameter.numel() for parameter in net().parameters()) == parameters


@pytest.mark.parametrize(
    ("net", "size", "heads"),
    [
        (PNet, (12, 12), (6, 1, 1)),
        (PNet, (13, 25), (6, 2, 8)),
        (RNet, (24, 24), (6,)),
        (ONet, (48, 48), (16,)),
    ],
)
def test_output_shapes(net: type[nn.Module], size: tuple[int, int], heads: tuple[int, ...]) -> None:
    assert net()(torch.zeros(2, 3, *size)).shape == (2, *heads)
