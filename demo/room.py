"""A generated indoor room for the camera to look at: walls, floor, a door, a lamp, two partitions, no people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from attendance.types import Float32

WALLS_RGB = ((196, 190, 178), (172, 182, 188), (188, 180, 166), (160, 168, 160), (206, 202, 196), (150, 146, 150))
FLOORS_RGB = ((108, 94, 78), (96, 98, 102), (126, 116, 100), (84, 76, 70))


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """An empty room. ``image`` is float32 (H, W, 3) RGB in 0..255.

    A person comes out from behind the left partition, whose edge is at ``left_px``, or the right one, at ``right_px``.
    """

    image: Float32
    left_px: int
    right_px: int


def draw_room(size: tuple[int, int], *, rng: np.random.Generator, gain: float) -> Room:
    """Draw a room.

    Args:
        size: width, height in px.
        rng: draws colours, furniture and texture.
        gain: brightness, 1 is a well lit room.
    """
    width, height = size
    wall = np.array(WALLS_RGB[int(rng.integers(len(WALLS_RGB)))], np.float32)
    floor = np.array(FLOORS_RGB[int(rng.integers(len(FLOORS_RGB)))], np.float32)
    room = np.empty((height, width, 3), np.float32)
    room[:] = wall
    horizon = round(height * rng.uniform(0.68, 0.76))
    depth = np.linspace(0.75, 1.1, height - horizon, dtype=np.float32)[:, None, None]
    room[horizon:] = floor * depth
    room[horizon - max(height // 60, 2) : horizon] = wall * 0.55
    _door(room, wall, horizon, rng)
    _board(room, horizon, rng)
    left, right = round(width * rng.uniform(0.16, 0.28)), round(width * rng.uniform(0.72, 0.84))
    _partition(room[:, :left], horizon, rng)
    _partition(room[:, right:][:, ::-1], horizon, rng)
    room = np.asarray(cv2.GaussianBlur(room, (0, 0), max(height / 240, 0.6)), dtype=np.float32)
    lit = room * _light(size, rng)[..., None] + _texture(size, rng)[..., None]
    return Room(np.clip(lit * gain, 0.0, 255.0).astype(np.float32), left, right)


def _door(room: Float32, wall: Float32, horizon: int, rng: np.random.Generator) -> None:
    height, width = room.shape[:2]
    x0 = round(width * rng.uniform(0.41, 0.44))
    x1, y0 = x0 + round(width * rng.uniform(0.11, 0.14)), round(height * rng.uniform(0.10, 0.18))
    frame = max(width // 110, 2)
    room[y0 - frame : horizon, x0 - frame : x1 + frame] = wall * 0.7
    room[y0:horizon, x0:x1] = np.array((112, 88, 66), np.float32) * rng.uniform(0.7, 1.3)
    knob = (x1 - 2 * frame, (y0 + horizon) // 2)
    cv2.circle(room, knob, max(frame // 2, 1), (200.0, 190.0, 150.0), -1)


def _partition(part: Float32, horizon: int, rng: np.random.Generator) -> None:
    """A wall nearer to the camera, whose free edge is the last column; it stands further down than the room's."""
    height, width = part.shape[:2]
    foot = min(horizon + round(height * 0.08), height)
    shade = np.linspace(0.86, 0.94, width, dtype=np.float32)[None, :, None]
    part[:foot] = np.array(WALLS_RGB[int(rng.integers(len(WALLS_RGB)))], np.float32) * shade
    part[foot - max(height // 60, 2) : foot] *= 0.5
    part[:foot, -max(width // 25, 2) :] *= 0.72


def _board(room: Float32, horizon: int, rng: np.random.Generator) -> None:
    """A notice board on the wall, right or left of the door."""
    height, width = room.shape[:2]
    x0 = round(width * (rng.uniform(0.29, 0.31) if rng.random() < 0.5 else rng.uniform(0.60, 0.62)))
    x1, y0, y1 = x0 + round(width * 0.09), round(height * 0.2), round(height * rng.uniform(0.40, 0.5))
    room[y0:y1, x0:x1] = np.array((150, 118, 82), np.float32)
    for _ in range(int(rng.integers(2, 6))):
        px, py = int(rng.integers(x0 + 3, x1 - width // 20)), int(rng.integers(y0 + 3, y1 - height // 14))
        paper = np.array((225, 224, 215), np.float32) * rng.uniform(0.8, 1.05)
        room[py : py + height // 16, px : px + width // 24] = paper
    room[horizon - height // 12 : horizon, x0 : x0 + width // 10] = (90.0, 86.0, 84.0)


def _light(size: tuple[int, int], rng: np.random.Generator) -> Float32:
    """One lamp somewhere above: a wide bright spot, float32 (H, W) around 1."""
    width, height = size
    y, x = np.ogrid[0:height, 0:width]
    centre_x, centre_y = width * rng.uniform(0.2, 0.8), height * rng.uniform(-0.2, 0.2)
    falloff = ((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2 * 0.4
    return np.asarray(0.72 + 0.42 * np.exp(-2.2 * falloff), dtype=np.float32)


def _texture(size: tuple[int, int], rng: np.random.Generator) -> Float32:
    """Uneven paint: smooth noise of about 3 levels, float32 (H, W)."""
    width, height = size
    coarse = rng.standard_normal((max(height // 12, 2), max(width // 12, 2))).astype(np.float32)
    return np.asarray(3.0 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
