"""One person's way past the camera: drawn once from the style's ranges, then a pure function of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from attendance.types import Float32, Float64
from demo.figure import Figure
from demo.room import Room
from demo.style import Range, Style

FRAME_WIDTH_OF_STYLE_PX = 640.0
OUT_OF_SIGHT = 0.75


@dataclass(frozen=True, slots=True)
class Motion:
    """A straight walk at constant speed, seen by a pinhole camera; times in s, sizes in px of the frame.

    The person stands hidden behind the partition at ``from_s`` and has just left the frame at ``to_s``.
    """

    from_s: float
    to_s: float
    leftward: bool
    far_px: float
    near_px: float
    start_x_px: float
    end_x_px: float
    eye_level_px: float
    centre_x_px: float
    height: float
    step_hz: float
    phase_rad: float
    bob: float
    roll_rad: float
    sway_rad: float
    shear: float
    turn: float
    nod: float

    def _progress(self, seconds: float) -> float:
        return (seconds - self.from_s) / (self.to_s - self.from_s)

    def present(self, seconds: float) -> bool:
        """Whether the person is on the way."""
        return self.from_s <= seconds <= self.to_s

    def face_width_px(self, seconds: float) -> float:
        """Width of the face: distance falls evenly, so the width grows as its inverse."""
        share = self._progress(seconds)
        return 1.0 / ((1.0 - share) / self.far_px + share / self.near_px)

    def place(self, seconds: float) -> tuple[float, float]:
        """Middle of the face as x, y in px of the frame."""
        share, width = self._progress(seconds), self.face_width_px(seconds)
        start = (self.start_x_px - self.centre_x_px) / self.far_px
        end = (self.end_x_px - self.centre_x_px) / self.near_px
        x = self.centre_x_px + width * ((1.0 - share) * start + share * end)
        bob = self.bob * math.sin(2 * math.pi * self.step_hz * (seconds - self.from_s) + self.phase_rad)
        return x, self.eye_level_px + width * (self.height + bob)

    def matrix(self, seconds: float, figure: Figure, *, sprite_scale: tuple[float, float]) -> Float64:
        """Homography (3, 3) from the pixels of the figure, shrunk by ``sprite_scale`` in x and y, to the frame's."""
        x, y = self.place(seconds)
        width = self.face_width_px(seconds)
        scale = width / figure.face_width_px
        swing = math.sin(math.pi * self.step_hz * (seconds - self.from_s) + self.phase_rad)
        angle = self.roll_rad + self.sway_rad * swing
        to_origin = np.array(
            [
                [scale / sprite_scale[0], 0.0, -scale * figure.centre[0]],
                [0.0, scale / sprite_scale[1], -scale * figure.centre[1]],
                [0.0, 0.0, 1.0],
            ]
        )
        bend = np.array([[1.0, self.shear, 0.0], [0.0, 1.0, 0.0], [self.turn / width, self.nod / width, 1.0]])
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, -sin, x], [sin, cos, y], [0.0, 0.0, 1.0]])
        return np.asarray(turn @ bend @ to_origin, dtype=np.float64)


def draw_motion(
    room: Room, *, start_s: float, seconds: float, style: Style, rng: np.random.Generator, leftward: bool | None
) -> Motion:
    """Draw one walk through the room.

    Args:
        room: where the partitions stand.
        start_s: when the pass begins, s of the video; the person appears a little later.
        seconds: how long the pass lasts, with the moments before and after; the person takes `Style.dwell` of it.
        style: the ranges.
        rng: what draws.
        leftward: True from the right partition to the left edge, False the other way, None to draw it.
    """
    height, width = room.image.shape[:2]
    unit = width / FRAME_WIDTH_OF_STYLE_PX

    def draw(limits: Range) -> float:
        return float(rng.uniform(*limits))

    drawn_leftward = bool(rng.random() < 0.5)
    leftward = drawn_leftward if leftward is None else leftward
    far, near = draw(style.far_px) * unit, draw(style.near_px) * unit
    spent = draw(style.dwell) * seconds
    from_s = start_s + (seconds - spent) * float(rng.uniform(0.2, 0.8))
    behind, outside = OUT_OF_SIGHT * far, OUT_OF_SIGHT * near
    return Motion(
        from_s=from_s,
        to_s=from_s + spent,
        leftward=leftward,
        far_px=far,
        near_px=near,
        start_x_px=room.right_px + behind if leftward else room.left_px - behind,
        end_x_px=-outside if leftward else width + outside,
        eye_level_px=height * float(rng.uniform(0.40, 0.46)),
        centre_x_px=width / 2,
        height=draw(style.height),
        step_hz=draw(style.step_hz),
        phase_rad=float(rng.uniform(0, 2 * math.pi)),
        bob=draw(style.bob),
        roll_rad=math.radians(draw(style.roll_deg)),
        sway_rad=math.radians(draw(style.sway_deg)),
        shear=draw(style.shear),
        turn=draw(style.turn),
        nod=draw(style.nod),
    )


def light_figure(figure: Figure, *, style: Style, rng: np.random.Generator) -> Float32:
    """Put the figure in its light and perhaps mirror it: premultiplied RGBA float32 (H, W, 4) in 0..255."""
    gain, gamma = rng.uniform(*style.gain), rng.uniform(*style.gamma)
    warmth, side = rng.uniform(*style.warmth), rng.uniform(*style.side_light)
    mirrored = rng.random() < style.mirror
    offset = (np.arange(figure.rgb.shape[1], dtype=np.float32) - figure.centre[0]) / (figure.face_width_px / 2)
    ramp = 1.0 + side * np.clip(offset, -1.3, 1.3)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth], np.float32)
    lit = 255.0 * gain * (np.clip(figure.rgb, 0.0, 255.0) / 255.0) ** gamma * ramp[None, :, None] * tint
    rgba = np.dstack([np.clip(lit, 0.0, 255.0) * figure.alpha[..., None], figure.alpha * 255.0])
    return np.ascontiguousarray(rgba[:, ::-1] if mirrored else rgba, dtype=np.float32)


def smear(rgba: Float32, shift_px: tuple[float, float]) -> Float32:
    """Blur along a line: what a movement by ``shift_px`` (x, y) during the exposure leaves on the picture."""
    length = math.hypot(*shift_px)
    if length < 1.0:
        return rgba
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 8 * reach + 1):
        x, y = reach + share * shift_px[0], reach + share * shift_px[1]
        column, row = math.floor(x), math.floor(y)
        for r, c, weight in (
            (row, column, (1 - y + row) * (1 - x + column)),
            (row, column + 1, (1 - y + row) * (x - column)),
            (row + 1, column, (y - row) * (1 - x + column)),
            (row + 1, column + 1, (y - row) * (x - column)),
        ):
            kernel[r, c] += weight
    return np.asarray(cv2.filter2D(rgba, -1, kernel / kernel.sum()), dtype=np.float32)
