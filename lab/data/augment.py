"""Variation of a training face. Pure: the same draws give the same face."""

from __future__ import annotations

import math
from typing import Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from attendance.types import RGBImage
from lab.data.section import Section, Share
from lab.data.source import fitted

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a pixel's brightness (ITU-R BT.601)."""
MIDDLE = 127.5
SKEW = 3.0 / 10.0
"""Erased boxes are between 0.3 and 1 / 0.3 times as high as wide (Zhong et al. 2017)."""


class Augment(Section):
    """How training faces are varied; all off by default."""

    flip: Share = Field(default=0.0, description="share of faces that are mirrored")
    crop: Share = Field(default=0.0, description="share of faces cut smaller and scaled up again")
    crop_area: Share = Field(default=0.8, gt=0.0, description="smallest share of the area that a cut keeps")
    colour: Share = Field(default=0.0, description="share of faces whose colours change")
    brightness: Share = Field(default=0.3, description="brightness is multiplied by up to 1 plus or minus this")
    contrast: Share = Field(default=0.3, description="distance from mid-grey, by up to 1 plus or minus this")
    saturation: Share = Field(default=0.3, description="distance from the pixel's grey, by up to 1 plus or minus this")
    erase: Share = Field(default=0.0, description="share of faces with a box of noise")
    erase_area: tuple[Share, Share] = Field(default=(0.02, 0.2), description="least and largest share of the area")
    low_resolution: Share = Field(default=0.0, description="share of faces shrunk and scaled up again, as from afar")
    low_resolution_px: tuple[int, int] = Field(default=(16, 56), description="least and largest side, pixels")
    low_resolution_quality: tuple[int, int] = Field(default=(40, 90), description="JPEG quality of the shrunk face")

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("erase_area", "low_resolution_px", "low_resolution_quality"):
            low, high = getattr(self, name)
            if low > high or low < 0:
                raise ValueError(f"{name}: expected two rising numbers from 0, got {low} and {high}")
        if self.low_resolution_px[0] < 1 or self.low_resolution_quality[1] > 100:
            raise ValueError("low_resolution: expected a side of 1 pixel or more and a quality of 100 at most")
        return self


def draws(seed: int, epoch: int, position: int) -> np.random.Generator:
    """The random numbers of the face at one position of one epoch, whoever draws them and after whatever."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch << 40 | position]))


def augment(face: RGBImage, how: Augment, random: np.random.Generator) -> RGBImage:
    """Vary a face.

    In order: mirrored, cut smaller, colours, low resolution, a box of noise.

    Args:
        face: RGB uint8 (S, S, 3), left as it is.
        how: shares and strengths.
        random: see `draws`.

    Returns:
        RGB uint8 (S, S, 3).
    """
    if random.random() < how.flip:
        face = face[:, ::-1]
    if random.random() < how.crop:
        face = _cut(face, how, random)
    if random.random() < how.colour:
        face = _colours(face, how, random)
    if random.random() < how.low_resolution:
        face = _from_afar(face, how, random)
    if random.random() < how.erase:
        face = _erased(face, how, random)
    return np.ascontiguousarray(face)


def _cut(face: RGBImage, how: Augment, random: np.random.Generator) -> RGBImage:
    side = face.shape[0]
    kept = min(max(round(side * math.sqrt(random.uniform(how.crop_area, 1.0))), 1), side)
    top, left = random.integers(0, side - kept + 1, 2)
    return fitted(face[top : top + kept, left : left + kept], side)


def _colours(face: RGBImage, how: Augment, random: np.random.Generator) -> RGBImage:
    brightness, contrast, saturation = (
        1.0 + strength * random.uniform(-1.0, 1.0) for strength in (how.brightness, how.contrast, how.saturation)
    )
    # One table for each of the 256 values, then one 3x3 matrix: three times as fast as floating-point images.
    table = (np.arange(256) * brightness - MIDDLE) * contrast + MIDDLE
    toned = cv2.LUT(np.ascontiguousarray(face), np.clip(np.rint(table), 0, 255).astype(np.uint8))
    mix = saturation * np.eye(3) + (1.0 - saturation) * np.array(GREY)[None, :]
    return np.asarray(cv2.transform(toned, mix), dtype=np.uint8)


def _from_afar(face: RGBImage, how: Augment, random: np.random.Generator) -> RGBImage:
    side = face.shape[0]
    low, high = how.low_resolution_px
    small = fitted(np.ascontiguousarray(face), min(int(random.integers(low, high + 1)), side))
    quality = int(random.integers(how.low_resolution_quality[0], how.low_resolution_quality[1] + 1))
    _, coded = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return fitted(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8), side)


def _erased(face: RGBImage, how: Augment, random: np.random.Generator) -> RGBImage:
    side = face.shape[0]
    area = random.uniform(*how.erase_area) * side * side
    skew = math.exp(random.uniform(math.log(SKEW), -math.log(SKEW)))
    high = min(max(round(math.sqrt(area * skew)), 1), side)
    wide = min(max(round(math.sqrt(area / skew)), 1), side)
    top, left = int(random.integers(0, side - high + 1)), int(random.integers(0, side - wide + 1))
    erased = face.copy()
    erased[top : top + high, left : left + wide] = random.integers(0, 256, (high, wide, 3), dtype=np.uint8)
    return erased
