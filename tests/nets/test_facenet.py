"""FaceNet's network against facenet-pytorch's own: its source file is run without the package around it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from attendance.nets.facenet import InceptionResnetV1
from attendance.nets.fold import fold_batch_norms


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """The reference with weights and statistics drawn at random. Its imports of the network's loader are cut out."""
    spec = importlib.util.find_spec("facenet_pytorch")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "models" / "inception_resnet_v1.py"
    source = path.read_text(encoding="utf-8")
    space: dict[str, Any] = {"__name__": "reference", "torch": torch, "nn": nn, "F": functional, "os": os}
    exec(compile(source[source.index("class BasicConv2d") :], str(path), "exec"), space)
    torch.manual_seed(11)
    model: nn.Module = space["InceptionResnetV1"]().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return model


def test_takes_the_checkpoints_keys_and_gives_its_vectors(reference: nn.Module) -> None:
    model = InceptionResnetV1().eval()
    model.load_state_dict(reference.state_dict(), strict=True)
    faces = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference(faces)
        plain = model(faces)
        folded = fold_batch_norms(model)(faces)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(plain, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(folded, expected, atol=1e-5, rtol=1e-4)
