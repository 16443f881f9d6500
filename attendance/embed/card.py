"""A model is known by its card: what it eats, what it gives, what was measured of it, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from attendance.types import Alignment, DuplicateTail, StrangerTail


class WeightFormat(StrEnum):
    """How the weights are stored and which loader reads them."""

    DLIB = "dlib"
    TORCH = "torch"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


class ColourOrder(StrEnum):
    """The order of the colour channels that a network was trained with."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network eats: square side in px, ``RGB`` or ``BGR``, and (x - mean) * scale per channel in that order.

    x runs from 0 to 255. ``mirror`` says that the output for the mirrored chip is added before it is brought to unit
    length.
    """

    size_px: int
    colour_order: ColourOrder
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class SimilarityStatistics:
    """A measured distribution of cosine similarities: how many pairs of what, and its mean, deviation and quantiles.

    ``quantiles`` maps a share of the pairs to the cosine that this share stays below.
    """

    pairs: int
    data: str
    mean: float
    std: float
    quantiles: Mapping[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class ModelCard:
    """Everything known of a model.

    ``sha256`` is that of the weight file. ``thresholds`` maps a false-accept rate of one comparison of two photos to a
    cosine; those at the rates below ``extrapolated_below`` continue the measured tail on a line in log rate, None: all
    are measured. ``person_thresholds`` are the same for a photo against the mean direction of several photos of one
    person, which lies nearer to everybody, with ``person_extrapolated_below``; None: not measured.
    ``strangers`` is what the threshold of a gallery is computed from; without it, it is read from the thresholds above.
    ``margin`` is the distance between best and runner-up below which a match is ambiguous. ``network`` names the
    network that weights are loaded into (empty for ONNX); ``state_key`` the entry of a checkpoint that holds them, if
    there is such an entry; ``key_map`` replaces the beginnings of their keys, and drops those it maps to None.
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
    person_thresholds: Mapping[float, float] | None = None
    extrapolated_below: float | None = None
    person_extrapolated_below: float | None = None
    impostors: SimilarityStatistics | None = None
    genuine: SimilarityStatistics | None = None
    strangers: StrangerTail | None = None
    duplicates: DuplicateTail | None = None
    state_key: str | None = None
    key_map: Mapping[str, str | None] | None = None
