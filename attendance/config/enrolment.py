"""The keys of what enrolment demands of photos and people, and of the gate that live frames pass too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from attendance.config.base import Real, Whole
from attendance.config.base import Section as _Section


def off_as_text(value: Any) -> Any:
    """YAML reads an unquoted ``off`` as false."""
    return "off" if value is False else value


class QualitySection(_Section):
    """Which faces are good enough to enrol or to decide by."""

    level: Annotated[Literal["off", "standard", "strict"], BeforeValidator(off_as_text)] = Field(
        default="standard",
        description="Gate for enrolment and live frames: off lets every face pass; the keys below change its limits.",
    )
    min_eye_px: Real | None = Field(
        default=None,
        ge=0.0,
        le=1000.0,
        description="Least distance of the eyes, in pixels of the image (25); null: the level's.",
    )
    min_score: Real | None = Field(
        default=None, ge=0.0, le=1.0, description="Least score of the detector, 0 to 1 (0.9)."
    )
    max_yaw_deg: Real | None = Field(
        default=None,
        ge=0.0,
        le=90.0,
        description="Degrees that a head may be turned to either side on a photo to enrol, by five points (43).",
    )
    live_max_yaw_deg: Real | None = Field(
        default=None,
        ge=0.0,
        le=90.0,
        description="The same before a camera, where a turned head does less harm (55).",
    )
    max_pitch_deg: Real | None = Field(
        default=None, ge=0.0, le=90.0, description="Degrees that a head may be tilted up or down (40)."
    )
    max_roll_deg: Real | None = Field(
        default=None, ge=0.0, le=180.0, description="Degrees that a head may lean to either side (45)."
    )
    max_outside: Real | None = Field(
        default=None, ge=0.0, le=1.0, description="Share of the face's box that may lie outside of the picture (0.2)."
    )
    min_sharpness: Real | None = Field(
        default=None,
        ge=0.0,
        le=10.0,
        description="Least strength of fine details against coarse ones on a chip of 64 pixels (0.26).",
    )
    min_brightness: Real | None = Field(
        default=None, ge=0.0, le=255.0, description="Least mean grey value of a face, 0 to 255 (45)."
    )
    max_brightness: Real | None = Field(
        default=None, ge=0.0, le=255.0, description="Largest mean grey value of a face, 0 to 255 (215)."
    )
    min_contrast: Real | None = Field(
        default=None,
        ge=0.0,
        le=255.0,
        description="Least distance of a face's 5 % and 95 % grey values, 0 to 255 (30).",
    )

    @property
    def changed(self) -> dict[str, float | None]:
        """The limits by name, None where the level's hold."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "level"}


class EnrolSection(_Section):
    """Building the gallery."""

    duplicates: Literal["flag", "refuse"] = Field(
        default="flag",
        description="A suspected duplicate person is enrolled and listed (flag) or not enrolled (refuse).",
    )
    duplicate_rate: Real = Field(
        default=0.005,
        ge=0.001,
        le=0.1,
        description="Share (0.001 to 0.1) of newcomers who may be suspected of being somebody else without reason.",
    )
    outliers: Annotated[Literal["refuse", "off"], BeforeValidator(off_as_text)] = Field(
        default="refuse",
        description="A photo that does not fit the person's other photos is refused, or nobody looks (off).",
    )
    outlier_far: Real = Field(
        default=0.01,
        gt=0.0,
        le=0.1,
        description="Share (above 0, to 0.1) of photos of somebody else that would pass for fitting; sets the limit.",
    )
    max_templates: Whole = Field(
        default=20,
        ge=1,
        le=1000,
        description="Templates of a person at most; of more photos those are taken that cover most.",
    )
    max_pixels: Whole = Field(
        default=120_000_000,
        ge=1_000_000,
        description="Photos with more pixels than this (width times height) are refused.",
    )
    max_side_px: Whole = Field(
        default=1600,
        ge=200,
        description="Photos are shrunk to this longest side, in pixels, before faces are looked for.",
    )
    workers: Whole | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes that read photos; 1: the command's own; null: one per core (8 at most) for many photos.",
    )
