"""dlib's network with fused operations gives the plain network's vectors, for any number of faces."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attendance.embed.fused import fused
from attendance.nets.dlib_resnet29 import DlibResNet29


@pytest.fixture(scope="module")
def network() -> DlibResNet29:
    torch.manual_seed(4)
    made = DlibResNet29().eval()
    made.requires_grad_(requires_grad=False)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("faces", [1, 2, 5])
def test_the_plain_network_s_vectors(network: DlibResNet29, faces: int) -> None:
    quick = fused(network)
    pictures = torch.randn(faces, 3, 150, 150)
    with torch.inference_mode():
        torch.testing.assert_close(quick(pictures), network(pictures), atol=1e-5, rtol=1e-4)


def test_a_network_that_cannot_be_fused_stays_as_it_is() -> None:
    other = nn.Linear(3, 2)
    assert fused(other) is other


def test_one_that_the_operations_compute_otherwise_stays_as_it_is() -> None:
    mirrored_edges = DlibResNet29().eval()
    mirrored_edges.stem = nn.Conv2d(3, 32, 7, stride=2, padding=1, padding_mode="reflect")
    assert fused(mirrored_edges) is mirrored_edges
