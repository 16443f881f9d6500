"""A model is known by its card: what it eats, what it gives, what was measured of it, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from attendance.types import Alignment


class WeightFormat(StrEnum):
    """How the weights are stored and which loader reads them."""

    DLIB = "dlib"
    TORCH = "torch"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network eats: square side in px, ``RGB`` or ``BGR``, and (x - mean) * scale per channel in that order.

    x runs from 0 to 255. ``mirror`` says that the embedding of the mirrored chip is added before normalisation.
    """

    size_px: int
    colour_order: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class SimilarityStatistics:
    """A measured distribution of cosine similarities: how many pairs of what, and its mean, deviation and quantiles."""

    pairs: int
    data: str
    mean: float
    std: float
    quantiles: Mapping[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class ModelCard:
    """Everything known of a model. ``thresholds`` maps a false-accept rate of one comparison to a cosine.

    ``margin`` is the distance between best and runner-up below which a match is ambiguous. ``network`` names the
    network that torch weights are loaded into, ``key_map`` renames their keys.
    """

    id: str
    sha256: str
    format: WeightFormat
    network: str
    input: InputSpec
    alignment: Alignment
    dimension: int
    metric: str
    license: str
    source: str
    margin: float
    thresholds: Mapping[float, float]
    impostors: SimilarityStatistics | None = None
    genuine: SimilarityStatistics | None = None
    key_map: Mapping[str, str] | None = None
