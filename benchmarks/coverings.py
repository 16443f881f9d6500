"""Coverings drawn by code over the five points of a face: one set to tune by, another to judge by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.types import Float32, RGBImage

Cover = Callable[[RGBImage, Float32, np.random.Generator], RGBImage]
"""A picture, the five points on it in pixels and random numbers -> the picture with a covering."""

Colour = tuple[int, int, int]


class _Frame:
    """The face's own axes: the eyes' middle is the origin, one eye distance the unit, x to the right, y downwards."""

    def __init__(self, image: RGBImage, points: Float32) -> None:
        self.image = image
        self.middle = points[:2].mean(axis=0)
        self.across = points[1] - points[0]
        self.unit = float(np.hypot(*self.across))
        self.down = np.array([-self.across[1], self.across[0]], np.float32)
        # A turned head's mouth is not below the middle of its eyes.
        self.mouth = self.inside(points[3:].mean(axis=0))
        self.nose = self.inside(points[2])

    def inside(self, point: Float32) -> tuple[float, float]:
        """A point of the picture in the face's axes."""
        away = point - self.middle
        return float(away @ self.across) / self.unit**2, float(away @ self.down) / self.unit**2

    def outline(self, corners: list[tuple[float, float]]) -> Float32:
        """A polygon of the face's axes as a soft mask of the picture, 0..1 (H, W, 1)."""
        found = np.array([self.middle + x * self.across + y * self.down for x, y in corners])
        mask = np.zeros(self.image.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.round(found * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
        soft = cv2.GaussianBlur(mask, (0, 0), max(self.unit * 0.02, 0.3))
        return np.asarray(soft[:, :, None], np.float32)

    def laid(self, cloth: NDArray[np.float32], mask: Float32) -> RGBImage:
        """The picture with the cloth where the mask is."""
        return np.asarray(np.clip(self.image * (1.0 - mask) + cloth * mask, 0, 255), np.uint8)

    def plain(self, colour: Colour, rng: np.random.Generator, *, folds: float = 10.0) -> NDArray[np.float32]:
        """A cloth of one colour, lit from one side, with folds across."""
        height, width = self.image.shape[:2]
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        wave = folds * np.sin((rows + 0.3 * columns) * (rng.uniform(4.0, 9.0) / self.unit))
        light = (columns - self.middle[0]) / self.unit * rng.uniform(-15.0, 15.0)
        cloth: NDArray[np.float32] = np.array(colour, np.float32) + (wave + light)[:, :, None]
        return cloth

    def pattern(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A cloth of random colours, some tens of spots across a face."""
        height, width = self.image.shape[:2]
        cells = max(int(width / self.unit * rng.uniform(3.0, 8.0)), 2)
        spots = rng.uniform(15, 235, (cells, cells, 3)).astype(np.float32)
        return np.asarray(cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _one(rng: np.random.Generator, *colours: Colour) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _round(x: float, y: float, wide: float, high: float) -> list[tuple[float, float]]:
    turns = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    return [(x + wide * float(np.cos(t)), y + high * float(np.sin(t))) for t in turns]


def surgical_mask(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """A pleated mask, its edge at the bridge of the nose: light blue, white or green."""
    face = _Frame(image, points)
    x, y = face.mouth
    top = face.nose[1] - rng.uniform(0.1, 0.3)
    corners = [(x - 0.95, top + 0.1), (x, top - 0.08), (x + 0.95, top + 0.1), (x + 0.75, y + 0.7), (x - 0.75, y + 0.7)]
    colour = _one(rng, (150, 190, 220), (232, 236, 240), (150, 205, 180))
    return face.laid(face.plain(colour, rng), face.outline(corners))


def round_glasses(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """Black round glasses with a bridge."""
    face = _Frame(image, points)
    wide, high = rng.uniform(0.34, 0.42), rng.uniform(0.26, 0.34)
    mask = np.maximum(face.outline(_round(-0.5, 0.03, wide, high)), face.outline(_round(0.5, 0.03, wide, high)))
    mask = np.maximum(mask, face.outline([(-0.2, -0.05), (0.2, -0.05), (0.2, 0.03), (-0.2, 0.03)]))
    return face.laid(face.plain((25, 25, 28), rng, folds=3.0), mask)


def hand_from_below(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """Four fingers of the face's own colour that come up from the chin over the mouth."""
    face = _Frame(image, points)
    x, y = face.mouth
    mask = np.zeros((*image.shape[:2], 1), np.float32)
    for finger in range(4):
        foot, tip = x - 0.55 + 0.3 * finger, y - rng.uniform(0.25, 0.45)
        corners = [(foot, y + 0.9), (foot, tip), (foot + 0.13, tip - 0.08), (foot + 0.27, tip), (foot + 0.27, y + 0.9)]
        mask = np.maximum(mask, face.outline(corners))
    return face.laid(face.plain(_skin(face, rng), rng, folds=4.0), mask)


def cloth_mask(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """A rounded mask of patterned cloth."""
    face = _Frame(image, points)
    x, y = face.mouth
    return face.laid(
        face.pattern(rng), face.outline(_round(x, y + 0.05, rng.uniform(0.75, 0.9), rng.uniform(0.5, 0.6)))
    )


def peaked_mask(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """A filtering mask folded along its middle, white, black or pink."""
    face = _Frame(image, points)
    x, y = face.mouth
    top = face.nose[1] - rng.uniform(0.2, 0.35)
    corners = [(x, top), (x + 0.5, top + 0.3), (x + 0.9, y), (x + 0.4, y + 0.65), (x, y + 0.75)]
    corners += [(2 * x - across, down) for across, down in reversed(corners[1:-1])]
    cloth = face.plain(_one(rng, (240, 240, 240), (35, 35, 38), (225, 170, 185)), rng, folds=2.0)
    columns = (np.arange(image.shape[1], dtype=np.float32) - face.middle[0]) / face.unit
    return face.laid(cloth - 25.0 * np.abs(columns)[None, :, None], face.outline(corners))


def scarf(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """A striped scarf up to the nose, wider than the face."""
    face = _Frame(image, points)
    x, y = face.mouth
    top = face.nose[1] + rng.uniform(-0.1, 0.1)
    rows = np.arange(image.shape[0], dtype=np.float32) * (rng.uniform(6.0, 14.0) / face.unit)
    first, second = rng.uniform(20, 220, (2, 3)).astype(np.float32)
    stripes = np.where(np.sin(rows)[:, None, None] > 0, first, second) * np.ones((1, image.shape[1], 1), np.float32)
    corners = [(x - 1.3, top + 0.1), (x, top), (x + 1.3, top + 0.1), (x + 1.4, y + 1.6), (x - 1.4, y + 1.6)]
    return face.laid(np.asarray(stripes, np.float32), face.outline(corners))


def square_glasses(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """Large square sun glasses, brown, green or mirrored, lighter towards their lower edge."""
    face = _Frame(image, points)
    wide, low = rng.uniform(0.4, 0.46), rng.uniform(0.25, 0.4)
    mask = np.zeros((*image.shape[:2], 1), np.float32)
    for x in (-0.5, 0.5):
        mask = np.maximum(
            mask, face.outline([(x - wide, -0.25), (x + wide, -0.25), (x + 0.8 * wide, low), (x - 0.8 * wide, low)])
        )
    rows = (np.arange(image.shape[0], dtype=np.float32) - face.middle[1]) / face.unit
    cloth = face.plain(_one(rng, (60, 40, 25), (30, 50, 35), (90, 95, 110)), rng, folds=0.0)
    return face.laid(cloth + 60.0 * rows[:, None, None], mask)


def hand_from_the_side(image: RGBImage, points: Float32, rng: np.random.Generator) -> RGBImage:
    """A flat hand that comes from one side and covers mouth and nose."""
    face = _Frame(image, points)
    y, side = face.mouth[1], 1.0 if rng.uniform() < 0.5 else -1.0
    mask = np.zeros((*image.shape[:2], 1), np.float32)
    for finger in range(4):
        top, tip = y - 0.55 + 0.26 * finger, face.mouth[0] - side * rng.uniform(0.4, 0.7)
        corners = [
            (side * 1.5, top),
            (tip, top),
            (tip - side * 0.1, top + 0.12),
            (tip, top + 0.24),
            (side * 1.5, top + 0.24),
        ]
        mask = np.maximum(mask, face.outline(corners))
    return face.laid(face.plain(_skin(face, rng), rng, folds=5.0), mask)


def _skin(face: _Frame, rng: np.random.Generator) -> Colour:
    """The colour between eyes and nose, somewhat lighter or darker."""
    x, y = face.middle + 0.25 * face.down
    column, row = int(np.clip(x, 2, face.image.shape[1] - 3)), int(np.clip(y, 2, face.image.shape[0] - 3))
    mean = face.image[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(axis=0) * rng.uniform(0.8, 1.15)
    return int(mean[0]), int(mean[1]), int(mean[2])


TUNED_BY: Mapping[str, Cover] = {
    "surgical mask": surgical_mask,
    "round glasses": round_glasses,
    "hand from below": hand_from_below,
}
JUDGED_BY: Mapping[str, Cover] = {
    "cloth mask": cloth_mask,
    "peaked mask": peaked_mask,
    "scarf": scarf,
    "square glasses": square_glasses,
    "hand from the side": hand_from_the_side,
}
