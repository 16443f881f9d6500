"""What the service answers, field by field, with unit, range and example: the source of its OpenAPI document."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attendance.service.problem import Code
from attendance.service.readiness import Check


class Metric(StrEnum):
    """How far apart two faces are: ``cosine`` is 1 - cosine, ``euclidean`` the distance of unit vectors."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


class Answer(BaseModel):
    """Base of every answer: what it holds is written here, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Verification(Answer):
    """Whether two photos show one person."""

    match: bool = Field(description="Whether the distance is at most the threshold.", examples=[True])
    distance: float = Field(
        ge=0.0,
        le=2.0,
        description="Distance of the two faces in the metric asked for, 0 (the same) to 2 (opposite). cosine: "
        "1 - similarity; euclidean: the distance of the two unit vectors. No unit; rounded to 6 decimals.",
        examples=[0.041337],
    )
    threshold: float = Field(
        ge=0.0,
        le=2.0,
        description="Largest distance that is a match, in the same metric: the model's measured threshold for two "
        "photos at the false-accept rate `far`. No unit, 0 to 2; rounded to 6 decimals.",
        examples=[0.06543],
    )
    metric: Metric = Field(description="The metric of distance and threshold.", examples=["cosine"])
    similarity: float = Field(
        ge=-1.0,
        le=1.0,
        description="Cosine of the angle between the two faces' vectors, -1 to 1, higher is closer, whatever the "
        "metric. It is no probability. Rounded to 6 decimals.",
        examples=[0.958663],
    )
    far: float = Field(
        gt=0.0,
        lt=1.0,
        description="False-accept rate of the threshold: the share (0 to 1) of pairs of different people that match.",
        examples=[0.001],
    )
    model: str = Field(description="Id of the model card that compared them.", examples=["dlib-resnet29"])


class Alive(Answer):
    """The process lives."""

    status: Literal["alive"] = Field(description="Always `alive`.", examples=["alive"])


class Ready(Answer):
    """Whether the service can do its work, and each thing that it needs for it."""

    status: Literal["ready", "not_ready"] = Field(
        description="`ready` when no check has failed.", examples=["ready", "not_ready"]
    )
    checks: dict[Literal["model", "ledger", "gallery"], Check] = Field(
        description="`model`: the networks are loaded. `ledger`, `gallery`: the store answers. Each is `ok`, `failed`, "
        "or `none` where nothing of the kind is configured or there yet.",
        examples=[{"model": "ok", "ledger": "ok", "gallery": "none"}],
    )


class Problem(BaseModel):
    """An error (RFC 9457). Members that are not listed here may be there too."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="Name of the kind of error.", examples=["urn:face-attendance:problem:no_face"])
    title: str = Field(description="The kind of error in a few words.", examples=["A photo shows no face"])
    status: int = Field(ge=400, le=599, description="The HTTP status.", examples=[422])
    detail: str = Field(
        description="What was expected, what came, what to do; for people, and may change.",
        examples=["no face was found in the 640x480 picture; use a nearer photo"],
    )
    code: Code = Field(description="What programs tell errors apart by; it stays.", examples=["no_face"])
    image: str | None = Field(
        default=None, description="The form's field of the photo that is at fault, where one is.", examples=["image1"]
    )
    reason: str | None = Field(
        default=None, description="Why a photo cannot be read, more closely.", examples=["truncated"]
    )
