"""Model cards as YAML files: read with every key checked, written so that reading gives the same card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from attendance.embed.card import ColourOrder, InputSpec, ModelCard, SimilarityStatistics, WeightFormat
from attendance.errors import ModelError
from attendance.types import Alignment, AlignmentKind, DuplicateTail, StrangerTail

Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Colours = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Input(_Part):
    size_px: int = Field(ge=8, le=4096)
    colour_order: ColourOrder
    mean: Colours
    scale: Colours
    mirror: bool = False


class _Alignment(_Part):
    kind: AlignmentKind
    template: tuple[tuple[float, float], ...] | None = Field(None, min_length=5, max_length=5)
    margin_px: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits_kind(self) -> _Alignment:
        if (self.kind is AlignmentKind.SIMILARITY) != (self.template is not None):
            raise ValueError("a similarity needs the template's five points, a box has none")
        return self


class _Statistics(_Part):
    pairs: int = Field(ge=1)
    data: str
    mean: Cosine
    std: float = Field(ge=0.0)
    quantiles: dict[Share, Cosine]


class _Strangers(_Part):
    data: str
    galleries: int = Field(ge=1)
    base: float
    per_people: float = Field(ge=0.0)
    per_rate: float = Field(le=0.0)
    per_single: float
    lead_base: float
    lead_per_people: float = Field(ge=0.0)
    lead_cap: float = Field(ge=0.0, le=2.0)
    likeness_base: float
    likeness_per_people: float
    likeness_per_single: float
    likeness_deviation: float = Field(ge=0.0)
    look_alike_margin: float = Field(ge=0.0, le=2.0)
    frames: dict[Annotated[int, Field(ge=1)], float]
    frames_per_rate: float = Field(0.0, ge=0.0)
    deviations: dict[Share, Annotated[float, Field(ge=0.0)]]

    @field_validator("frames")
    @classmethod
    def _fall(cls, value: dict[int, float]) -> dict[int, float]:
        added = [value[frames] for frames in sorted(value)]
        if added != sorted(added, reverse=True):
            raise ValueError("what is added must not rise with the number of frames")
        return dict(sorted(value.items()))


class _Duplicates(_Part):
    data: str
    from_people: int = Field(ge=2)
    lead_weight: float = Field(ge=0.0, le=1.0)
    lead_cap: float = Field(ge=0.0, le=2.0)
    crowd_weight: float = Field(ge=0.0, le=1.0)
    everybody_weight: float = Field(0.0, ge=0.0, le=1.0)
    scores: dict[Share, float] = Field(min_length=2)

    @field_validator("scores")
    @classmethod
    def _rise(cls, value: dict[float, float]) -> dict[float, float]:
        scores = [value[rate] for rate in sorted(value, reverse=True)]
        if scores != sorted(scores):
            raise ValueError("a stricter rate needs a score that is not lower")
        return value


class _Card(_Part):
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    format: WeightFormat
    network: str = ""
    state_key: str | None = None
    key_map: dict[str, str | None] | None = None
    input: _Input
    alignment: _Alignment
    dimension: int = Field(ge=2, le=65536)
    metric: Literal["cosine"]
    license: str = Field(min_length=1)
    source: str = Field(min_length=1)
    margin: float = Field(ge=0.0, le=2.0)
    thresholds: dict[Share, Cosine]
    person_thresholds: dict[Share, Cosine] | None = None
    extrapolated_below: Share | None = None
    person_extrapolated_below: Share | None = None
    impostors: _Statistics | None = None
    genuine: _Statistics | None = None
    strangers: _Strangers | None = None
    duplicates: _Duplicates | None = None

    @field_validator("thresholds", "person_thresholds")
    @classmethod
    def _rise(cls, value: dict[float, float] | None) -> dict[float, float] | None:
        cosines = [value[rate] for rate in sorted(value, reverse=True)] if value is not None else []
        if cosines != sorted(cosines):
            raise ValueError("a stricter rate needs a cosine that is not lower")
        return value


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        ModelError: one line with file, key, what was expected and what came, for the first fault found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise ModelError(f"{path}: expected a readable model card in YAML, got: {detail}") from error
    return parse_card(text, str(path))


def parse_card(text: str, origin: str) -> ModelCard:
    """Read a card's text; ``origin`` is what errors call it. Raises ModelError as `read_card` does."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise ModelError(f"{origin}: expected a readable model card in YAML, got: {detail}") from error
    if not isinstance(values, dict):
        raise ModelError(
            f"{origin}: expected a model card with keys such as id and sha256, got {type(values).__name__}"
        )
    try:
        return _to_card(_Card.model_validate(values))
    except ValidationError as error:
        raise ModelError(f"{origin}: {_explain(error)}") from error


def card_text(card: ModelCard) -> str:
    """The card as YAML text that `read_card` reads back."""
    part = _from_card(card)
    return yaml.safe_dump(
        _plain(part.model_dump(mode="json", exclude_none=True)), sort_keys=False, default_flow_style=None, width=110
    )


def _to_card(part: _Card) -> ModelCard:
    template = part.alignment.template
    return ModelCard(
        id=part.id,
        sha256=part.sha256,
        format=part.format,
        network=part.network,
        input=InputSpec(**dict(part.input)),
        alignment=Alignment(
            kind=part.alignment.kind,
            size_px=part.input.size_px,
            template=None if template is None else np.array(template, dtype=np.float32),
            margin_px=part.alignment.margin_px,
        ),
        dimension=part.dimension,
        metric=part.metric,
        license=part.license,
        source=part.source,
        margin=part.margin,
        thresholds=part.thresholds,
        person_thresholds=part.person_thresholds,
        extrapolated_below=part.extrapolated_below,
        person_extrapolated_below=part.person_extrapolated_below,
        impostors=None if part.impostors is None else SimilarityStatistics(**dict(part.impostors)),
        genuine=None if part.genuine is None else SimilarityStatistics(**dict(part.genuine)),
        strangers=None if part.strangers is None else StrangerTail(**dict(part.strangers)),
        duplicates=None if part.duplicates is None else DuplicateTail(**dict(part.duplicates)),
        state_key=part.state_key,
        key_map=part.key_map,
    )


def _from_card(card: ModelCard) -> _Card:
    template = card.alignment.template
    return _Card(
        id=card.id,
        sha256=card.sha256,
        format=card.format,
        network=card.network,
        state_key=card.state_key,
        key_map=None if card.key_map is None else dict(card.key_map),
        input=_Input.model_validate(card.input, from_attributes=True),
        alignment=_Alignment(
            kind=card.alignment.kind,
            template=None if template is None else tuple((_short(x), _short(y)) for x, y in template),
            margin_px=card.alignment.margin_px,
        ),
        dimension=card.dimension,
        metric="cosine",
        license=card.license,
        source=card.source,
        margin=card.margin,
        thresholds=dict(card.thresholds),
        person_thresholds=None if card.person_thresholds is None else dict(card.person_thresholds),
        extrapolated_below=card.extrapolated_below,
        person_extrapolated_below=card.person_extrapolated_below,
        impostors=_statistics(card.impostors),
        genuine=_statistics(card.genuine),
        strangers=None if card.strangers is None else _Strangers.model_validate(card.strangers, from_attributes=True),
        duplicates=None
        if card.duplicates is None
        else _Duplicates.model_validate(card.duplicates, from_attributes=True),
    )


def _statistics(measured: SimilarityStatistics | None) -> _Statistics | None:
    return None if measured is None else _Statistics.model_validate(measured, from_attributes=True)


def _short(value: np.float32) -> float:
    """The shortest decimal that is this float32."""
    return float(str(value))


def _plain(value: Any) -> Any:
    """Rates as ``1e-3`` instead of ``0.001``, wherever they are keys."""
    if isinstance(value, Mapping):
        return {_rate_text(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _rate_text(key: Any) -> Any:
    try:
        rate = float(key)
    except ValueError:
        return key
    if rate >= 1.0:
        return int(rate)
    return f"{rate:.0e}".replace("e-0", "e-") if rate < 0.001 or np.log10(rate).is_integer() else rate


def _explain(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; known at the top: {', '.join(_Card.model_fields)}"
    if fault["type"] == "missing":
        return f"{key}: this key is missing"
    return f"{key}: {message}, got {fault['input']!r}"
