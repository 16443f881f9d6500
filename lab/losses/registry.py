"""The losses by the names that recipes and `python -m lab list losses` use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from attendance.errors import UsageError
from lab.losses.adaface import AdaFace
from lab.losses.arcface import ArcFace
from lab.losses.center import CenterLoss
from lab.losses.classifier import CosineClassifier, Margin
from lab.losses.combined import CombinedMargin
from lab.losses.cosface import CosFace
from lab.losses.elasticface import ElasticFace
from lab.losses.li_arcface import LiArcFace
from lab.losses.nsoftmax import NSoftmax
from lab.losses.softmax import Softmax
from lab.losses.sphereface import SphereFace
from lab.losses.triplet import Triplet


@dataclass(frozen=True, slots=True)
class LossEntry:
    """One name: what it makes of a margin's or a loss's own parameters, its own class's logit, and where from."""

    make: Callable[..., nn.Module]
    equation: str
    source: str


def _elastic(kind: str, **numbers: object) -> Callable[..., nn.Module]:
    return partial(ElasticFace, kind, **numbers)  # type: ignore[arg-type]


AIRFACE, ELASTIC = "AirFace (Li et al. 2019)", "ElasticFace (Boutros et al. 2022)"

MARGINS: dict[str, LossEntry] = {
    "n-softmax": LossEntry(NSoftmax, "s cos t", f"{AIRFACE}, equation 3"),
    "sphereface": LossEntry(SphereFace, "|x| ((-1)^k cos(m t) - 2k)", "SphereFace (Liu et al. 2017), equation 7"),
    "cosface": LossEntry(CosFace, "s (cos t - m)", "CosFace (Wang et al. 2018), equation 4"),
    "arcface": LossEntry(ArcFace, "s cos(t + m)", f"ArcFace (Deng et al. 2018), equation 3; {AIRFACE}, equation 4"),
    "arcface-safe": LossEntry(
        partial(ArcFace, beyond="safe"),
        "s cos(t + m); s (cos t - m sin m) from t = pi - m on",
        "the reference code of ArcFace (Deng et al. 2018)",
    ),
    "arcface-easy": LossEntry(
        partial(ArcFace, beyond="easy"),
        "s cos(t + m); s cos t from t = pi / 2 on",
        "the reference code of ArcFace (Deng et al. 2018)",
    ),
    "li-arcface": LossEntry(LiArcFace, "s (pi - 2 (t + m)) / pi", f"{AIRFACE}, equation 5"),
    "adaface": LossEntry(AdaFace, "s (cos(t - m z) - m z - m), z from |x|", "AdaFace (Kim et al. 2022), section 3"),
    "elasticface-arc": LossEntry(_elastic("arc", mean=0.5, deviation=0.05), "s cos(t + m_i), m_i drawn", ELASTIC),
    "elasticface-arc-plus": LossEntry(
        _elastic("arc", mean=0.5, deviation=0.0175, ordered=True),
        "s cos(t + m_i), m_i drawn and sorted",
        f"{ELASTIC}, ElasticFace+",
    ),
    "elasticface-cos": LossEntry(_elastic("cos", mean=0.35, deviation=0.05), "s (cos t - m_i), m_i drawn", ELASTIC),
    "elasticface-cos-plus": LossEntry(
        _elastic("cos", mean=0.35, deviation=0.02, ordered=True),
        "s (cos t - m_i), m_i drawn and sorted",
        f"{ELASTIC}, ElasticFace+",
    ),
    "combined": LossEntry(CombinedMargin, "s (cos(m1 t + m2) - m3)", "ArcFace (Deng et al. 2018), equation 4"),
}
"""Margins: ``make(**numbers)`` is a `Margin`."""

WITH_WEIGHTS: dict[str, LossEntry] = {
    "softmax": LossEntry(Softmax, "W x + b", f"{AIRFACE}, equation 1"),
    "center": LossEntry(CenterLoss, "W x + b, and |x - c|^2 beside it", "Wen et al. 2016, equation 5"),
}
"""Losses with weights of their own: ``make(dimension=D, classes=C, **numbers)``."""

WITHOUT_WEIGHTS: dict[str, LossEntry] = {
    "triplet-batch-hard": LossEntry(
        partial(Triplet, "batch-hard"), "|a - p|^2 - |a - n|^2 + m", "Hermans et al. 2017, equation 5"
    ),
    "triplet-semi-hard": LossEntry(
        partial(Triplet, "semi-hard"), "|a - p|^2 - |a - n|^2 + m", "FaceNet (Schroff et al. 2015), section 3.2"
    ),
}
"""Losses that need no class weights: ``make(**numbers)``."""

LOSSES: dict[str, LossEntry] = {**WITH_WEIGHTS, **MARGINS, **WITHOUT_WEIGHTS}


def build_margin(name: str, **numbers: object) -> Margin:
    """The margin of that name with ``numbers`` in place of its defaults.

    Raises:
        UsageError: no such margin; or it has no such number.
    """
    made = _make(MARGINS, name, "margin", numbers)
    assert isinstance(made, Margin)
    return made


def build_loss(name: str, *, dimension: int, classes: int, **numbers: object) -> nn.Module:
    """The loss of that name: embeddings (N, D) unnormalised, labels (N,) -> scalar; a margin in its full classifier.

    Raises:
        UsageError: no such loss; or it has no such number.
    """
    if name in MARGINS:
        return CosineClassifier(build_margin(name, **numbers), dimension=dimension, classes=classes)
    if name in WITH_WEIGHTS:
        numbers = {"dimension": dimension, "classes": classes, **numbers}
    return _make(LOSSES, name, "loss", numbers)


def _make(entries: dict[str, LossEntry], name: str, what: str, numbers: dict[str, object]) -> nn.Module:
    if name not in entries:
        raise UsageError(f"expected a {what} that exists, got {name!r}: there are {', '.join(entries)}")
    try:
        return entries[name].make(**numbers)
    except TypeError as error:
        raise UsageError(f"{what} {name}: expected its own numbers, got {sorted(numbers)} ({error})") from error
