"""Every backbone takes faces, gives embeddings, and learns."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from attendance.errors import UsageError
from attendance.nets.resnet50 import ResNet50
from lab.losses.registry import build_loss
from lab.nets.airface import Cbam
from lab.nets.embedding_head import EmbeddingHead
from lab.nets.registry import BACKBONES, build_backbone

SMALL_PX = 32
SMALLER_PX = {"iresnet-34": 16, "iresnet-50": 16, "iresnet-100": 16}
"""Faces for networks that cost most and take any multiple of 16."""
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", BACKBONES)
def test_training_lowers_the_loss_and_reaches_every_weight(name: str) -> None:
    torch.manual_seed(0)
    side = SMALLER_PX.get(name, SMALL_PX)
    net = build_backbone(name, dimension=16, input_px=side)
    loss = build_loss("n-softmax", dimension=16, classes=3, scale=8.0)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a loss that is compared before and after must not depend on the draw
    faces, labels = torch.randn(6, 3, side, side), torch.tensor([0, 0, 1, 1, 2, 2])
    weights = [*net.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam([weight for weight in weights if weight.requires_grad], lr=3e-4)
    values: list[float] = []
    for _ in range(2):
        optimizer.zero_grad()
        value = loss(net(faces), labels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    with torch.no_grad():
        values.append(loss(net(faces), labels).item())
    assert all(map(math.isfinite, values))
    assert values[-1] < values[0]
    missed = [key for key, weight in net.named_parameters() if weight.requires_grad and weight.grad is None]
    assert missed == []


@pytest.mark.parametrize("name", ["iresnet-34", "mobilefacenet", "edgeface-xs", "ghostnet", "vit-small"])
def test_a_face_of_112_pixels_becomes_an_embedding_of_the_usual_dimension(name: str) -> None:
    with torch.device("meta"):
        net = build_backbone(name).eval()
        assert net(torch.zeros(1, 3, 112, 112)).shape == (1, BACKBONES[name].dimension)


def test_unit_length_is_a_choice() -> None:
    torch.manual_seed(0)
    net = build_backbone("mobilefacenet", input_px=SMALL_PX, unit=True).eval()
    with torch.inference_mode():
        lengths = torch.linalg.vector_norm(net(torch.randn(2, 3, SMALL_PX, SMALL_PX)), dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))


def test_resnet50_is_the_product_s_before_the_division_by_the_length() -> None:
    torch.manual_seed(0)
    ours, product = build_backbone("resnet-50").eval(), ResNet50().eval()
    product.load_state_dict(ours.state_dict())
    face = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        embedding = ours(face)
        torch.testing.assert_close(nn.functional.normalize(embedding, dim=1), product(face))
    assert not math.isclose(float(torch.linalg.vector_norm(embedding)), 1.0, rel_tol=1e-2)


def test_attention_with_weights_of_zero_changes_nothing() -> None:
    attention = Cbam(32).eval()
    for weight in attention.parameters():
        nn.init.zeros_(weight)
    x = torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(attention(x), x)


def test_attention_is_its_two_gates() -> None:
    torch.manual_seed(0)
    attention = Cbam(32).eval()
    x = torch.randn(1, 32, 3, 3)
    weights = attention.state_dict()

    def shared(v: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(weights["channel.0.weight"] @ v + weights["channel.0.bias"])
        out: torch.Tensor = weights["channel.2.weight"] @ hidden + weights["channel.2.bias"]
        return out

    pooled = shared(x[0].mean(dim=(1, 2))) + shared(x[0].amax(dim=(1, 2)))
    y = x[0] * (1 + torch.tanh(pooled))[:, None, None]
    window = torch.stack((y.mean(dim=0), y.amax(dim=0)))[None]
    gate = nn.functional.conv2d(window, weights["position.0.weight"], padding=3) / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(attention(x)[0], y * (1 + torch.tanh(gate[0])))


def test_the_head_is_bn_dropout_linear_bn() -> None:
    torch.manual_seed(0)
    head = EmbeddingHead(6, dimension=4)
    assert "fc.bias" not in head.state_dict()
    assert head.drop.p == 0.4
    head.drop.p = 0.0
    x = torch.randn(5, 6)

    def standard(v: torch.Tensor) -> torch.Tensor:
        return (v - v.mean(dim=0)) / torch.sqrt(v.var(dim=0, unbiased=False) + 1e-5)

    torch.testing.assert_close(head(x), standard(standard(x) @ head.fc.weight.T))


def test_any_network_of_timm_can_be_named() -> None:
    with torch.device("meta"):
        net = build_backbone("timm:resnet18", dimension=64).eval()
        assert net(torch.zeros(2, 3, 112, 112)).shape == (2, 64)


@pytest.mark.parametrize(
    ("name", "input_px", "message"),
    [
        ("iresnet-51", 112, "got 'iresnet-51': there are iresnet-34, iresnet-50"),
        ("timm:resnet5", 112, "got 'resnet5': see timm.list_models"),
        ("airface", 100, "multiple of 16 pixels, got 100"),
    ],
)
def test_what_there_is_not_is_told(name: str, input_px: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(name, input_px=input_px)


def test_torchvision_can_be_imported_whoever_declares_first() -> None:
    """In a process of its own: this one may have imported it already."""
    code = (
        "from lab.nets.torchvision_operators import declare_torchvision_operators as declare\n"
        "declare(); declare()\n"
        "import torchvision\n"
        "from benchmarks.reference_mtcnn import ReferenceMtcnn\n"
        "ReferenceMtcnn(min_face_px=40)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
