"""A still photo made into a figure that can walk: the head cut out with a soft edge, shoulders, and a plain body.

Below the photo's edge the body goes on in the colour that the clothes have in the photo, so that a head-and-shoulders
picture stands on something when it is far away.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from attendance.types import Float32, RGBImage

SPRITE_HALF_WIDTH = 2.1
SPRITE_ABOVE = 1.5
SPRITE_BELOW = 5.2
HEAD_CENTRE_UP = 0.14
HEAD_HALF_WIDTH = 0.80
HEAD_HALF_HEIGHT = 1.02
EDGE_SOFTNESS = 0.07
PHOTO_BORDER_SOFTNESS = 0.12
BODY_OUTLINE = ((0.40, 0.35), (0.44, 0.55), (0.62, 0.70), (1.15, 0.95), (1.48, 1.25), (1.60, 2.40), (1.42, 5.30))
CLOTHES_RGB = ((52, 58, 74), (84, 84, 88), (64, 52, 46), (122, 116, 104), (44, 66, 60))


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A cut-out person.

    ``rgb`` is float32 (H, W, 3) in 0..255, not multiplied by ``alpha``, float32 (H, W) in 0..1. ``centre`` is the
    middle of the face as x, y, and ``face_width_px``, ``face_height_px`` its size, in pixels of ``rgb``.
    """

    rgb: Float32
    alpha: Float32
    centre: tuple[float, float]
    face_width_px: float
    face_height_px: float


def cut_out(
    photo: RGBImage, face_box: tuple[float, float, float, float], *, max_face_px: float, rng: np.random.Generator
) -> Figure:
    """Cut the person out of a photo.

    Args:
        photo: RGB uint8 (H, W, 3).
        face_box: x1, y1, x2, y2 in px of the photo, as the detector gives it: forehead to chin.
        max_face_px: the photo is shrunk until the face is no wider than this; it is never enlarged.
        rng: draws the clothes where the photo shows none.

    Raises:
        ValueError: for a box that is empty or has its middle outside the photo.
    """
    x1, y1, x2, y2 = (float(v) for v in face_box)
    height, width = photo.shape[:2]
    if x2 - x1 < 4 or y2 - y1 < 4 or not (0 <= (x1 + x2) / 2 < width and 0 <= (y1 + y2) / 2 < height):
        raise ValueError(
            f"face_box must be at least 4 px wide and lie in the photo of {width}x{height}, got {face_box}"
        )
    shrink = min(1.0, max_face_px / (x2 - x1))
    if shrink < 1.0:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        sx, sy = size[0] / width, size[1] / height
        x1, x2, y1, y2 = x1 * sx, x2 * sx, y1 * sy, y2 * sy
    return _assemble(photo, ((x1 + x2) / 2, (y1 + y2) / 2), x2 - x1, y2 - y1, rng)


def _assemble(
    photo: RGBImage, centre: tuple[float, float], face_w: float, face_h: float, rng: np.random.Generator
) -> Figure:
    left = round(centre[0] - SPRITE_HALF_WIDTH * face_w)
    top = round(centre[1] - SPRITE_ABOVE * face_h)
    columns = round(2 * SPRITE_HALF_WIDTH * face_w)
    rows = round((SPRITE_ABOVE + SPRITE_BELOW) * face_h)
    middle = (centre[0] - left, centre[1] - top)
    head = _head(rows, columns, middle, face_w, face_h)
    body = _body(rows, columns, middle, face_w, face_h)
    pasted, inside = _paste(photo, left, top, rows, columns, PHOTO_BORDER_SOFTNESS * face_w)
    shown = np.maximum(head, body) * inside
    cloth = _cloth(pasted, body * inside, rng)
    shading = 1.0 - 0.35 * np.abs(np.linspace(-1.0, 1.0, columns, dtype=np.float32))[None, :, None] ** 2
    body_rgb = np.asarray(cloth, dtype=np.float32)[None, None, :] * np.broadcast_to(shading, (rows, columns, 1))
    alpha = shown + body * (1.0 - shown)
    mixed = pasted * shown[..., None] + body_rgb * (body * (1.0 - shown))[..., None]
    rgb = mixed / np.maximum(alpha, 1e-3)[..., None]
    return Figure(rgb.astype(np.float32), alpha.astype(np.float32), middle, face_w, face_h)


def _head(rows: int, columns: int, middle: tuple[float, float], face_w: float, face_h: float) -> Float32:
    """Face and hair: a soft ellipse, float32 (rows, columns) in 0..1."""
    y, x = np.ogrid[0:rows, 0:columns]
    dx = (x - middle[0]) / (HEAD_HALF_WIDTH * face_w)
    dy = (y - middle[1] + HEAD_CENTRE_UP * face_h) / (HEAD_HALF_HEIGHT * face_h)
    solid = (dx * dx + dy * dy < 1.0).astype(np.float32)
    return _soften(solid, EDGE_SOFTNESS * face_w)


def _body(rows: int, columns: int, middle: tuple[float, float], face_w: float, face_h: float) -> Float32:
    """Neck, shoulders and trunk: a soft symmetric outline, float32 (rows, columns) in 0..1."""
    right = [(middle[0] + x * face_w, middle[1] + y * face_h) for x, y in BODY_OUTLINE]
    left = [(2 * middle[0] - x, y) for x, y in reversed(right)]
    solid = np.zeros((rows, columns), np.float32)
    cv2.fillPoly(solid, [np.round(np.array(right + left)).astype(np.int32)], (1.0,))
    return _soften(solid, EDGE_SOFTNESS * face_w)


def _soften(mask: Float32, sigma_px: float) -> Float32:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma_px, 0.5)), dtype=np.float32)


def _paste(
    photo: RGBImage, left: int, top: int, rows: int, columns: int, softness_px: float
) -> tuple[Float32, Float32]:
    """The photo on the sprite's canvas, float32 (rows, columns, 3), and where it is, 0..1, fading at its edge."""
    canvas = np.zeros((rows, columns, 3), np.float32)
    present = np.zeros((rows + 2, columns + 2), np.uint8)
    height, width = photo.shape[:2]
    x0, x1 = max(left, 0), min(left + columns, width)
    y0, y1 = max(top, 0), min(top + rows, height)
    canvas[y0 - top : y1 - top, x0 - left : x1 - left] = photo[y0:y1, x0:x1]
    present[1 + y0 - top : 1 + y1 - top, 1 + x0 - left : 1 + x1 - left] = 1
    distance = cv2.distanceTransform(present, cv2.DIST_L2, 3)[1:-1, 1:-1]
    ramp = np.clip((distance - 1.0) / max(softness_px, 1.0), 0.0, 1.0)
    return canvas, np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), dtype=np.float32)


def _cloth(pasted: Float32, where: Float32, rng: np.random.Generator) -> tuple[float, float, float]:
    """The median colour of the clothes in the photo; one of a few plain colours where it shows hardly any."""
    chosen = CLOTHES_RGB[int(rng.integers(len(CLOTHES_RGB)))]
    pixels = pasted[where > 0.8]
    if len(pixels) < 100:
        return chosen
    red, green, blue = 0.7 * np.median(pixels[-len(pixels) // 3 :], axis=0) + 0.3 * np.array(chosen)
    return float(red), float(green), float(blue)
