"""The catalogue: every model that the program can fetch, with its digest, licence and what its authors report."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attendance.embed.card import ColourOrder, InputSpec, ModelCard, WeightFormat
from attendance.errors import ModelError, UsageError
from attendance.types import Alignment, AlignmentKind

PACKAGED = Path(__file__).parent / "catalogue.yaml"

ENDINGS = {"onnx": ".onnx", "torch": ".pt", "safetensors": ".safetensors"}
"""How the stored weights of a format are called after ``weights``."""


class Role(StrEnum):
    """What a model is for."""

    EMBEDDER = "embedder"
    DETECTOR = "detector"
    LIVENESS = "liveness"
    QUALITY = "quality"


class Commercial(StrEnum):
    """Whether the licence lets a company use it for its business. ``unclear``: look it up before."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNCLEAR = "unclear"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pixels(_Part):
    """The network's input: (x - mean) / divisor with x from 0 to 255, alike for the three colours."""

    size_px: int = Field(ge=8, le=4096)
    colour_order: ColourOrder
    mean: float
    divisor: float = Field(gt=0.0)


class Box(_Part):
    """The alignment of a model that eats the face's box with a margin."""

    kind: Literal["box"]
    margin_px: int = Field(ge=0)


class CardParts(_Part):
    """What an embedder's card says besides what the catalogue says of every model."""

    network: str = ""
    key_map: dict[str, str | None] | None = None
    input: Pixels
    alignment: Literal["arcface_112"] | Box
    dimension: int = Field(ge=2)


class ZooModel(_Part):
    """One model of the catalogue; the head of catalogue.yaml says what its keys mean.

    It is fetched from ``urls`` in order, or comes with the Python package ``package`` and is never fetched.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    role: Role
    summary: str
    format: Literal["onnx", "torch", "safetensors", "dlib", "library"]
    urls: tuple[Annotated[str, Field(pattern=r"^https?://\S+$")], ...] = ()
    package: str | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: int | None = Field(None, gt=0)
    size_mb: float | None = Field(None, gt=0.0)
    parameters_m: float | None = Field(None, gt=0.0)
    licence: str = Field(min_length=1)
    commercial: Commercial
    source: str
    reported: dict[str, float] = Field(default_factory=dict)
    reported_by: str | None = None
    runs_as: str | None = None
    card: CardParts | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> ZooModel:
        if bool(self.urls) == (self.package is not None):
            raise ValueError("expected urls or a package, and not both")
        if bool(self.reported) != (self.reported_by is not None):
            raise ValueError("what is reported needs a source, and a source needs what is reported")
        if (self.role is Role.EMBEDDER and self.package is None) != (self.card is not None):
            raise ValueError("an embedder that is fetched needs a card, and nothing else has one")
        return self

    @property
    def file(self) -> str:
        """The file's name where it is published; a mirror and a bundle keep it."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name if self.urls else ""

    @property
    def stored_as(self) -> str:
        """The file's name in the store."""
        return f"weights{ENDINGS[self.format]}"

    def size_text(self) -> str:
        """The size for a person: exact, as published (``about``), or unknown."""
        if self.bytes is not None:
            return f"{self.bytes / 1e6:.1f} MB"
        return "unknown" if self.size_mb is None else f"about {self.size_mb:g} MB"

    def reported_text(self) -> str:
        """The authors' numbers on one line; empty where there are none."""
        return ", ".join(f"{name} {value:.2f}" for name, value in self.reported.items())

    def make_card(self, sha256: str) -> ModelCard | None:
        """The card of an embedder whose file has this digest, without anything measured; None for other roles."""
        if self.card is None:
            return None
        pixels = self.card.input
        scale = 1.0 / pixels.divisor
        spec = InputSpec(pixels.size_px, pixels.colour_order, (pixels.mean,) * 3, (scale,) * 3)
        return ModelCard(
            id=self.id,
            sha256=sha256,
            format=WeightFormat(self.format),
            network=self.card.network,
            input=spec,
            alignment=_alignment(self.card),
            dimension=self.card.dimension,
            metric="cosine",
            license=self.licence,
            source=self.urls[0],
            margin=0.0,
            thresholds={},
            key_map=self.card.key_map,
        )


def _alignment(card: CardParts) -> Alignment:
    if isinstance(card.alignment, Box):
        return Alignment(AlignmentKind.BOX, card.input.size_px, margin_px=card.alignment.margin_px)
    from attendance.align import arcface_112

    return arcface_112()


def read_catalogue(path: Path) -> dict[str, ZooModel]:
    """The models of a catalogue file by id, in its order.

    Raises:
        ModelError: the file, the model and the key that are at fault.
    """
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(
            f"{path}: expected a readable catalogue of models, got: {' '.join(str(error).split())}"
        ) from error
    models: dict[str, ZooModel] = {}
    for row in rows if isinstance(rows, list) else [rows]:
        name = row.get("id") if isinstance(row, Mapping) else row
        try:
            model = ZooModel.model_validate(row)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            raise ModelError(f"{path}: model {name}: {key}: {fault['msg'].removeprefix('Value error, ')}") from error
        if model.id in models:
            raise ModelError(f"{path}: the id {model.id} is there twice")
        models[model.id] = model
    return models


@cache
def packaged_catalogue() -> Mapping[str, ZooModel]:
    """The catalogue that came with the program."""
    return read_catalogue(PACKAGED)


def find_model(model_id: str, catalogue: Mapping[str, ZooModel]) -> ZooModel:
    """A model by id; UsageError lists the known ones."""
    if model_id not in catalogue:
        raise UsageError(f"no model {model_id!r} in the catalogue; known are {', '.join(sorted(catalogue))}")
    return catalogue[model_id]
