"""ResNet-50 against a plain evaluation of its state dict, layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance.nets.fold import fold_batch_norms
from attendance.nets.resnet50 import ResNet50

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


def drawn() -> ResNet50:
    torch.manual_seed(2)
    model = ResNet50().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return model


def plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same function from He et al. 2015, table 1, with the stride in the 3x3 convolution."""

    def convolution(x: Tensor, name: str, norm: str, *, stride: int = 1, padding: int = 0) -> Tensor:
        y = functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)
        spread = torch.sqrt(state[f"{norm}.running_var"] + 1e-5)
        normal = (y - state[f"{norm}.running_mean"].view(-1, 1, 1)) / spread.view(-1, 1, 1)
        out: Tensor = normal * state[f"{norm}.weight"].view(-1, 1, 1) + state[f"{norm}.bias"].view(-1, 1, 1)
        return out

    x = convolution(x, "conv1", "bn1", stride=2, padding=3).clamp(min=0)
    x = functional.max_pool2d(x, 3, 2, 1)
    for layer, blocks in BLOCKS.items():
        for block in range(blocks):
            name = f"{layer}.{block}"
            stride = 2 if block == 0 and layer != "layer1" else 1
            y = convolution(x, f"{name}.conv1", f"{name}.bn1").clamp(min=0)
            y = convolution(y, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1).clamp(min=0)
            y = convolution(y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                x = convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
            x = (x + y).clamp(min=0)
    out = x.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    unit: Tensor = out / out.norm(dim=1, keepdim=True)
    return unit


def test_gives_unit_vectors_of_512_numbers_as_the_plain_evaluation() -> None:
    model = drawn()
    faces = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        expected = plain(state, faces)
        vectors = model(faces)
        folded = fold_batch_norms(model)(faces)
    assert vectors.shape == (2, 512)
    torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(folded, expected, atol=1e-5, rtol=1e-4)


def test_has_as_many_parameters_as_the_published_backbone() -> None:
    backbone = sum(p.numel() for name, p in ResNet50().named_parameters() if not name.startswith("fc."))
    assert backbone == 23_508_032
