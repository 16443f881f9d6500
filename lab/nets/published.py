"""What publications state of the backbones: data for the page that compares it with what the layers count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["multiply-adds", "operations"]
"""An operation is a multiplication or an addition: two to a multiply-add."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published row; publications differ in input size, head and unit, so each names its own.

    ``parameters`` are in millions, ``cost`` in millions of ``unit`` for one image, None where not stated. ``why`` says
    what keeps our number from being the same.
    """

    backbone: str
    source: str
    input_px: int
    head: str
    parameters: float | None
    cost: float | None
    unit: Unit
    why: str = ""


OVERVIEW = "overview"
"""The overview of face-recognition networks that the project starts from. It mixes both units."""

CLASSES = "1000 classes"
"""The classifier of ImageNet in place of an embedding: those networks were published as classifiers."""

IRESNET, MOBILE, EDGEFACE = "BN, linear 512, BN", "GDConv, linear 128", "LayerNorm, linear 512"
ONE: Unit = "multiply-adds"
TWO: Unit = "operations"

SLOPES = "0.996 M without the 7,552 slopes of the PReLUs."
REPOSITORY = "public repository of George et al. 2023"

ROWS = (
    Published(
        "iresnet-34",
        OVERVIEW,
        112,
        IRESNET,
        33.0,
        7400.0,
        TWO,
        "Not met. 7.4 G is the ResNet-34 for ImageNet (224 pixels, 7x7 stem of stride 2): 3.7 G multiply-adds. With a "
        "3x3 stem of stride 1 at 112 pixels the same depths cost 8.9 G, and have 34.1 M.",
    ),
    Published(
        "iresnet-50",
        OVERVIEW,
        112,
        IRESNET,
        44.0,
        12300.0,
        TWO,
        "Not met: the depths 3, 4, 14, 3 cost 12.6 G; the overview gives no layers to check its 12.3 G against.",
    ),
    Published("iresnet-100", OVERVIEW, 112, IRESNET, 65.0, 24200.0, TWO),
    Published("iresnet-100", "OpenVINO model zoo (MXNet's network)", 112, IRESNET, 65.132, 24211.5, TWO),
    Published("mobilefacenet", OVERVIEW, 112, MOBILE, 0.99, 220.0, ONE, SLOPES),
    Published("mobilefacenet", "Li et al. 2019, table 4", 112, MOBILE, None, 440.0, TWO),
    Published(
        "airface",
        "Li et al. 2019, table 4",
        112,
        "GDConv, linear 512",
        None,
        1000.0,
        TWO,
        "1 G is rounded: the rows of table 1 cost 527 M multiply-adds, the attention 1.4 M more.",
    ),
    Published("edgeface-xxs", REPOSITORY, 112, EDGEFACE, 1.24, 94.72, TWO),
    Published("edgeface-xs", REPOSITORY, 112, EDGEFACE, 1.77, 154.00, TWO),
    Published("edgeface-s", REPOSITORY, 112, EDGEFACE, 3.65, 306.12, TWO),
    Published("edgeface-base", REPOSITORY, 112, EDGEFACE, 18.23, 1398.83, TWO),
    Published(
        "mobilenetv3-large",
        OVERVIEW,
        224,
        CLASSES,
        5.4,
        450.0,
        TWO,
        "450 M is twice a rounded 0.22 G; the paper has 219 M multiply-adds, the layers 217 M.",
    ),
    Published("mobilenetv3-large", "Howard et al. 2019, table 3", 224, CLASSES, 5.4, 219.0, ONE),
    Published("mobilenetv3-small", "Howard et al. 2019, table 3", 224, CLASSES, 2.5, 56.0, ONE),
    Published("efficientnet-b0", OVERVIEW, 224, CLASSES, 5.3, 390.0, ONE),
    Published(
        "ghostnet", OVERVIEW, 224, CLASSES, 5.2, 150.0, ONE, "150 M is rounded; Han et al. 2020 state 142 M themselves."
    ),
    Published("ghostnet", "Han et al. 2020", 224, CLASSES, 5.2, 142.0, ONE),
    Published("edgenext-s", OVERVIEW, 224, CLASSES, 5.6, 1000.0, ONE, "1.0 G is rounded; 1.26 G in the paper at 256."),
    Published("edgenext-s", "Maaz et al. 2022", 256, CLASSES, 5.59, 1260.0, ONE),
    Published("vit-small", OVERVIEW, 224, CLASSES, 22.0, 4600.0, ONE),
    Published("vit-base", OVERVIEW, 224, CLASSES, 86.0, 17600.0, ONE),
    Published("deit-small", OVERVIEW, 224, CLASSES, 22.0, 4600.0, ONE),
    Published("resnet-50-headed", "torchvision's page of models", 224, CLASSES, 25.557, 4090.0, ONE),
)

CLASSIFIERS = {
    "mobilenetv3-large": "mobilenetv3_large_100",
    "mobilenetv3-small": "mobilenetv3_small_100",
    "efficientnet-b0": "efficientnet_b0",
    "ghostnet": "ghostnet_100",
    "edgenext-s": "edgenext_small",
    "vit-small": "vit_small_patch16_224",
    "vit-base": "vit_base_patch16_224",
    "deit-small": "deit_small_patch16_224",
    "resnet-50-headed": "resnet50",
}
"""timm's names, for the rows that count a classifier."""
