"""Step 3b: is this face good enough to enrol or to decide by?

What is judged here is geometry alone: the distance of the eyes, the plausibility of the five points, and whether the
picture's edge cuts the face. Each fault has a reason code, and the weight says how much a face counts when several of
one track are fused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attendance.types import Face, Float32

LEVELS = ("off", "standard")

MIN_EYE_DISTANCE_PX = 25.0
"""Below it strangers grow alike: docs/decisions/0002."""

FULL_WEIGHT_EYE_DISTANCE_PX = 50.0
MAX_NOSE_OFFSET = 0.9
MAX_OUTSIDE = 0.2


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found: ``weight`` 0..1 for fusing, ``faults`` as reason codes (none: good), and the measured values.

    ``eye_distance_px`` is in pixels of the image; ``nose_offset`` is how far the nose lies from the middle of the eyes
    along their line, in eye distances: 0 for a frontal face, about 0.5 where one eye begins to hide.
    """

    weight: float
    faults: tuple[str, ...]
    eye_distance_px: float
    nose_offset: float

    @property
    def good(self) -> bool:
        """Whether no fault was found."""
        return not self.faults


def judge(face: Face, size: tuple[int, int], *, level: str = "standard") -> Quality:
    """Judge one face by its five points and its place in the picture.

    Args:
        face: box and points in pixels of the image.
        size: (height, width) of that image.
        level: ``off`` names no faults, ``standard`` applies the limits of this module.

    Raises:
        ValueError: for an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"quality level must be one of {', '.join(LEVELS)}, got {level!r}")
    eye_distance, nose_offset, mouth_below = _geometry(face.points)
    faults = []
    if level != "off":
        if eye_distance < MIN_EYE_DISTANCE_PX:
            faults.append("small")
        if not mouth_below or abs(nose_offset) > MAX_NOSE_OFFSET:
            faults.append("points")
        if _outside(face, size) > MAX_OUTSIDE:
            faults.append("cut_off")
    large = min(eye_distance / FULL_WEIGHT_EYE_DISTANCE_PX, 1.0)
    frontal = 1.0 - 0.5 * min(abs(nose_offset), 1.0)
    return Quality(
        weight=max(face.score * large * frontal, 1e-3),
        faults=tuple(faults),
        eye_distance_px=eye_distance,
        nose_offset=nose_offset,
    )


def _outside(face: Face, size: tuple[int, int]) -> float:
    """Share of the box that lies outside the picture; 1 where one of the points does."""
    height, width = size
    if bool((face.points < 0).any() or (face.points >= (width, height)).any()):
        return 1.0
    x1, y1, x2, y2 = (float(value) for value in face.box)
    inside = max(min(x2, width) - max(x1, 0.0), 0.0) * max(min(y2, height) - max(y1, 0.0), 0.0)
    return 1.0 - inside / face.area_px if face.area_px > 0 else 1.0


def _geometry(points: Float32) -> tuple[float, float, bool]:
    """Eye distance in px, nose offset along the eyes' line in eye distances, and whether the mouth lies below them."""
    left_eye, right_eye, nose, left_mouth, right_mouth = points.astype(np.float64)
    axis = right_eye - left_eye
    distance = float(np.hypot(*axis))
    if distance < 1e-6:
        return 0.0, 0.0, False
    along = axis / distance
    down = np.array([-along[1], along[0]])
    middle = (left_eye + right_eye) / 2
    mouth = (left_mouth + right_mouth) / 2
    return (
        distance,
        float((nose - middle) @ along) / distance,
        bool((mouth - middle) @ down > 0),
    )
