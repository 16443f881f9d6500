"""One face against the limits: which are missed, by what was measured; and how much the face weighs in a track."""

from __future__ import annotations

from dataclasses import dataclass

from attendance.quality.limits import Limits, limits_of
from attendance.quality.picture import Picture, measure_picture
from attendance.quality.pose import Pose, measure_pose
from attendance.types import Face, RGBImage

FULL_WEIGHT_EYE_DISTANCE_PX = 50.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A limit that was missed: the reason code, what was measured and the limit, in the limit's unit."""

    code: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.code} ({self.value:.2f}, limit {self.limit:.2f})"


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found: ``weight`` 0..1 for fusing, and each limit that was missed (none: good).

    ``picture`` is None where it was not measured: nobody gave the chip, or no limit asks for it.
    """

    weight: float
    findings: tuple[Finding, ...]
    pose: Pose
    picture: Picture | None = None

    @property
    def good(self) -> bool:
        """Whether no limit was missed."""
        return not self.findings

    @property
    def faults(self) -> tuple[str, ...]:
        """The reason codes."""
        return tuple(finding.code for finding in self.findings)

    @property
    def eye_distance_px(self) -> float:
        """Distance of the eyes in pixels of the image."""
        return self.pose.eye_distance_px

    @property
    def nose_offset(self) -> float:
        """How far the nose lies from the middle of the eyes along their line, in eye distances."""
        return self.pose.nose_offset


def judge(
    face: Face, size: tuple[int, int], *, level: str | Limits = "standard", chip: RGBImage | None = None
) -> Quality:
    """Judge one face by its five points, its place in the picture and, where the chip is given, by its picture.

    Args:
        face: box and points in pixels of the image.
        size: (height, width) of that image.
        level: ``off`` names no faults; else the limits of a level, or limits of one's own.
        chip: RGB uint8 (S, S, 3) of `attendance.align.quality_chips`; None leaves sharpness and light unjudged.

    Raises:
        ValueError: for an unknown level.
    """
    limits = limits_of(level) if isinstance(level, str) else level
    pose = measure_pose(face.points)
    findings = _of_pose(pose, limits)
    findings += _of_place(face, size, limits)
    picture = None
    if chip is not None and limits.judges_pictures:
        picture = measure_picture(chip)
        findings += _of_picture(picture, limits)
    large = min(pose.eye_distance_px / FULL_WEIGHT_EYE_DISTANCE_PX, 1.0)
    frontal = 1.0 - 0.5 * min(abs(pose.nose_offset), 1.0)
    return Quality(max(face.score * large * frontal, 1e-3), tuple(findings), pose, picture)


def _of_pose(pose: Pose, limits: Limits) -> list[Finding]:
    found = _below("small", pose.eye_distance_px, limits.min_eye_px)
    if limits.plausible and not pose.plausible:
        # Angles of points that are no face's say nothing.
        return [*found, Finding("points", 0.0, 1.0)]
    found += _above("turned", abs(pose.yaw_deg), limits.max_yaw_deg)
    found += _above("tilted", abs(pose.pitch_deg), limits.max_pitch_deg)
    return found + _above("rolled", abs(pose.roll_deg), limits.max_roll_deg)


def _of_place(face: Face, size: tuple[int, int], limits: Limits) -> list[Finding]:
    found = _below("unsure", face.score, limits.min_score)
    return found + _above("cut_off", _outside(face, size), limits.max_outside)


def _of_picture(picture: Picture, limits: Limits) -> list[Finding]:
    found = _below("dark", picture.brightness, limits.min_brightness)
    found += _above("bright", picture.brightness, limits.max_brightness)
    found += _below("flat", picture.contrast, limits.min_contrast)
    return found + _below("blurred", picture.sharpness, limits.min_sharpness)


def _below(code: str, value: float, limit: float) -> list[Finding]:
    return [Finding(code, value, limit)] if value < limit else []


def _above(code: str, value: float, limit: float) -> list[Finding]:
    return [Finding(code, value, limit)] if value > limit else []


def _outside(face: Face, size: tuple[int, int]) -> float:
    """Share of the box that lies outside the picture; 1 where one of the points does."""
    height, width = size
    if bool((face.points < 0).any() or (face.points >= (width, height)).any()):
        return 1.0
    x1, y1, x2, y2 = (float(value) for value in face.box)
    inside = max(min(x2, width) - max(x1, 0.0), 0.0) * max(min(y2, height) - max(y1, 0.0), 0.0)
    return 1.0 - inside / face.area_px if face.area_px > 0 else 1.0
