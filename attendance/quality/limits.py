"""What a face must reach, level by level. Where the numbers come from: docs/quality.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a level; those of `NOTHING` let every face pass.

    Pixels are of the image, angles degrees to either side, brightness and contrast grey values 0..255; see `Pose` and
    `Picture`. ``max_outside`` is the share of the box that may lie outside of the picture. ``live_max_yaw_deg`` stands
    for ``max_yaw_deg`` where faces are compared and not enrolled.
    """

    min_eye_px: float = 0.0
    min_score: float = 0.0
    max_yaw_deg: float = math.inf
    live_max_yaw_deg: float = math.inf
    max_pitch_deg: float = math.inf
    max_roll_deg: float = math.inf
    max_outside: float = math.inf
    min_sharpness: float = 0.0
    min_brightness: float = 0.0
    max_brightness: float = math.inf
    min_contrast: float = 0.0
    plausible: bool = True

    @property
    def live(self) -> Limits:
        """The limits for faces before a camera."""
        return replace(self, max_yaw_deg=self.live_max_yaw_deg)

    @property
    def judges_pictures(self) -> bool:
        """Whether there is a limit on what only the picture shows."""
        free = NOTHING
        return (self.min_sharpness, self.min_brightness, self.max_brightness, self.min_contrast) != (
            free.min_sharpness, free.min_brightness, free.max_brightness, free.min_contrast,
        )  # fmt: skip


NOTHING = Limits(plausible=False)

_LEVELS: Mapping[str, Limits] = {
    "off": NOTHING,
    "standard": Limits(
        min_eye_px=25.0,
        min_score=0.9,
        max_yaw_deg=43.0,
        live_max_yaw_deg=55.0,
        max_pitch_deg=40.0,
        max_roll_deg=45.0,
        max_outside=0.2,
        min_sharpness=0.26,
        min_brightness=45.0,
        max_brightness=215.0,
        min_contrast=30.0,
    ),
    "strict": Limits(
        min_eye_px=35.0,
        min_score=0.98,
        max_yaw_deg=35.0,
        live_max_yaw_deg=43.0,
        max_pitch_deg=28.0,
        max_roll_deg=15.0,
        max_outside=0.05,
        min_sharpness=0.35,
        min_brightness=60.0,
        max_brightness=200.0,
        min_contrast=50.0,
    ),
}

LEVELS = tuple(_LEVELS)


def limits_of(level: str, changed: Mapping[str, float | None] | None = None) -> Limits:
    """The limits of a level, but for those that were ``changed``; None keeps the level's. ``off`` has none to change.

    Raises:
        ValueError: for an unknown level.
    """
    if level not in _LEVELS:
        raise ValueError(f"quality level must be one of {', '.join(LEVELS)}, got {level!r}")
    limits = _LEVELS[level]
    if level == "off" or changed is None:
        return limits
    values = {field.name: getattr(limits, field.name) for field in fields(Limits)}
    return Limits(**{**values, **{name: value for name, value in changed.items() if value is not None}})
