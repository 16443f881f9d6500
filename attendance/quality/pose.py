"""How a head is turned, from the five points alone.

The head is taken for five points in space that a camera far away sees: eyes, nose tip and mouth corners of an average
face, in eye distances. Turning it moves the nose tip, which stands out, against the eyes and the mouth. Angles from
five points are rough: they order faces by how far they are turned, and do not measure a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attendance.types import Float32

NOSE_DEPTH = 0.6
"""How far the nose tip stands out before the eyes when a head nods, in eye distances: about 38 mm at 63 mm."""
NOSE_DOWN = 0.58
MOUTH_DOWN = 1.08
MOUTH_DEPTH = 0.1
"""The frontal face: nose tip and mouth below the eyes, in eye distances, as the median of real photos shows them."""

NOSE_ASIDE = 0.44
MOUTH_SHARE = 0.4
"""To the side the point that detectors set on a nose moves as if it stood out by no more than this; and what of the
mouth's way is taken off, as a crooked or leaning head moves both. Nearest to the yaw that another model's 68 points
tell of real photos (docs/quality.md)."""

MAX_NOSE_OFFSET = 0.9
"""Beyond it a nose hides the eye that it would lie over: no detector finds both eyes then."""


@dataclass(frozen=True, slots=True)
class Pose:
    """What the points say.

    ``eye_distance_px`` is in pixels of the image. ``nose_offset`` is how far the nose lies from the middle of the eyes
    along their line, in eye distances: 0 for a frontal face. ``yaw_deg`` is positive where the nose points to the
    picture's right, ``pitch_deg`` where it points up, ``roll_deg`` where the right eye is lower. ``plausible`` says
    that the mouth lies below the eyes with the nose between, as they do on every face that shows both eyes.
    """

    eye_distance_px: float
    nose_offset: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    plausible: bool


def measure_pose(points: Float32) -> Pose:
    """Measure five points (5, 2) in pixels; points in one place are implausible and have no angles."""
    # Plain numbers: five points are too few for arrays to pay, and live frames ask this at every face.
    (ax, ay), (bx, by), (nx, ny), (cx, cy), (dx, dy) = points.astype(np.float64).tolist()
    distance = math.hypot(bx - ax, by - ay)
    if distance < 1e-6:
        return Pose(0.0, 0.0, 0.0, 0.0, 0.0, False)
    ux, uy = (bx - ax) / distance, (by - ay) / distance
    mx, my = (ax + bx) / 2, (ay + by) / 2
    nose_along = ((nx - mx) * ux + (ny - my) * uy) / distance
    nose_down = ((ny - my) * ux - (nx - mx) * uy) / distance
    mouth_x, mouth_y = (cx + dx) / 2 - mx, (cy + dy) / 2 - my
    mouth_along = (mouth_x * ux + mouth_y * uy) / distance
    mouth_down = (mouth_y * ux - mouth_x * uy) / distance
    aside = nose_along - MOUTH_SHARE * mouth_along
    between = mouth_down > 0.0 and -0.25 < nose_down / mouth_down < 1.25
    share = nose_down / mouth_down if mouth_down > 0.0 else 0.0
    # Seen at pitch p, what stands d before the eyes and h below them appears at h cos p - d sin p.
    pitch = math.atan2(NOSE_DOWN - share * MOUTH_DOWN, NOSE_DEPTH - share * MOUTH_DEPTH)
    return Pose(
        eye_distance_px=distance,
        nose_offset=nose_along,
        yaw_deg=math.degrees(math.atan(aside / (NOSE_ASIDE - MOUTH_SHARE * MOUTH_DEPTH))),
        pitch_deg=math.degrees(pitch),
        roll_deg=math.degrees(math.atan2(uy, ux)),
        plausible=between and abs(nose_along) <= MAX_NOSE_OFFSET,
    )
