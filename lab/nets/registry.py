"""The backbones by the names that recipes and `python -m lab list backbones` use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from attendance.errors import UsageError
from attendance.nets.resnet50 import ResNet50
from lab.nets.airface import AirFace
from lab.nets.edgeface import EdgeFace
from lab.nets.iresnet import IResNet
from lab.nets.mobilefacenet import MobileFaceNet
from lab.nets.timm_net import build_timm

INPUT_PX = 112
STEP_PX = 16
ANY_TIMM = "timm:"
"""Before any name that timm lists."""


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """One name: what makes it (``make(dimension=D, input_px=P)``), its usual dimension, and where it comes from."""

    make: Callable[..., nn.Module]
    dimension: int
    source: str


class UnnormalisedResNet50(ResNet50):
    """The product's ResNet-50 without the division by the length; the same keys."""

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, 112, 112) -> (N, D) of any length."""
        return self.embedding(x)


class UnitLength(nn.Module):
    """A network whose embeddings are divided by their length, as the product takes them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> (N, D) of unit length."""
        return functional.normalize(self.net(x), dim=1)


def _of_any_size(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The network takes faces of any size, and is not told theirs."""

    def made(*, dimension: int, input_px: int, **numbers: object) -> nn.Module:
        return make(dimension=dimension, **numbers)

    return made


def _headed(name: str, source: str) -> BackboneEntry:
    return BackboneEntry(partial(build_timm, name), 512, f"{source}; timm's {name}")


def _edgeface(size: str) -> BackboneEntry:
    return BackboneEntry(_of_any_size(partial(EdgeFace, size)), 512, "EdgeFace (George et al. 2023), table 2")


def _iresnet(layers: int) -> BackboneEntry:
    return BackboneEntry(partial(IResNet, layers), 512, "ArcFace (Deng et al. 2018), section 3.1")


BACKBONES: dict[str, BackboneEntry] = {
    "iresnet-34": _iresnet(34),
    "iresnet-50": _iresnet(50),
    "iresnet-100": _iresnet(100),
    "resnet-50": BackboneEntry(_of_any_size(UnnormalisedResNet50), 512, "He et al. 2015; the product's"),
    "mobilefacenet": BackboneEntry(MobileFaceNet, 128, "MobileFaceNet (Chen et al. 2018), table 1"),
    "airface": BackboneEntry(AirFace, 512, "AirFace (Li et al. 2019), table 1"),
    "edgeface-xxs": _edgeface("xxs"),
    "edgeface-xs": _edgeface("xs"),
    "edgeface-s": _edgeface("s"),
    "edgeface-base": _edgeface("base"),
    "mobilenetv3-large": _headed("mobilenetv3_large_100", "Howard et al. 2019"),
    "mobilenetv3-small": _headed("mobilenetv3_small_100", "Howard et al. 2019"),
    "efficientnet-b0": _headed("efficientnet_b0", "Tan and Le 2019"),
    "ghostnet": _headed("ghostnet_100", "Han et al. 2020"),
    "edgenext-s": _headed("edgenext_small", "Maaz et al. 2022"),
    "vit-small": _headed("vit_small_patch16_224", "Dosovitskiy et al. 2020"),
    "vit-base": _headed("vit_base_patch16_224", "Dosovitskiy et al. 2020"),
    "deit-small": _headed("deit_small_patch16_224", "Touvron et al. 2020"),
    "resnet-50-headed": _headed("resnet50", "He et al. 2015"),
}


def build_backbone(
    name: str, *, dimension: int | None = None, input_px: int = INPUT_PX, unit: bool = False, **numbers: object
) -> nn.Module:
    """The untrained network of that name, or of ``timm:`` and any of timm's names.

    Args:
        name: a key of `BACKBONES`, or ``timm:NAME``.
        dimension: length of the embedding; the network's own by default.
        input_px: height and width of the faces, a multiple of 16.
        unit: divide by the length, for use; losses take the embedding as it is.
        numbers: what else the network can be told, as EdgeFace its ``gamma``.

    Raises:
        UsageError: no such network, or not for such faces, or it has no such number.
    """
    if input_px < STEP_PX or input_px % STEP_PX:
        raise UsageError(
            f"expected faces of a multiple of {STEP_PX} pixels, got {input_px}: the product's have {INPUT_PX}"
        )
    entry = _entry(name)
    try:
        net = entry.make(dimension=entry.dimension if dimension is None else dimension, input_px=input_px, **numbers)
    except TypeError as error:
        if not numbers:
            raise
        raise UsageError(f"backbone {name}: expected its own numbers, got {sorted(numbers)} ({error})") from error
    return UnitLength(net) if unit else net


def _entry(name: str) -> BackboneEntry:
    if name.startswith(ANY_TIMM):
        return _headed(name.removeprefix(ANY_TIMM), "timm")
    if name not in BACKBONES:
        raise UsageError(
            f"expected a backbone that exists, got {name!r}: there are {', '.join(BACKBONES)}, and {ANY_TIMM}NAME"
        )
    return BACKBONES[name]
