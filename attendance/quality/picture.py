"""How a face is lit and how sharp it is, measured on a chip of one size, so that near and far faces compare.

The chip is small (`attendance.align.quality_chips`): what a network for faces of about 100 px can use shows in it, and
what only a larger picture would show does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.types import RGBImage, require_array

DIAGONAL = 1.6
"""How much stronger differences are along a diagonal of sharp faces, whose neighbours lie farther apart."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the chip says, within an ellipse around the features.

    ``brightness`` is the mean of the grey values, ``contrast`` the distance from their 5 % to their 95 % quantile, both
    0..255. ``sharpness`` is the strength of the finest details in the direction in which they are weakest, as a share
    of the strength of coarse ones: smearing takes it away in one direction, a lens out of focus in all, and light and
    contrast leave it as it is.
    """

    brightness: float
    contrast: float
    sharpness: float


def measure_picture(chip: RGBImage) -> Picture:
    """Measure a square chip, RGB uint8 (S, S, 3), of 16 pixels at least."""
    require_array("chip", chip, (-1, -1, 3), np.uint8)
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    inside = _ellipse(grey.shape[0])
    values = grey[inside]
    ranked = np.partition(values, (len(values) // 20, len(values) - 1 - len(values) // 20))
    low, high = ranked[len(values) // 20], ranked[len(values) - 1 - len(values) // 20]
    return Picture(
        brightness=float(values.mean()),
        contrast=float(high) - float(low),
        sharpness=_sharpness(grey.astype(np.float32), inside),
    )


def _sharpness(grey: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    coarse = cv2.blur(grey, (5, 5)) - cv2.blur(grey, (13, 13))
    middle = 2.0 * grey[1:-1, 1:-1]
    fine = [
        (grey[1:-1, 2:] + grey[1:-1, :-2] - middle, 1.0),
        (grey[2:, 1:-1] + grey[:-2, 1:-1] - middle, 1.0),
        (grey[2:, 2:] + grey[:-2, :-2] - middle, DIAGONAL),
        (grey[2:, :-2] + grey[:-2, 2:] - middle, DIAGONAL),
    ]
    weakest = min(float(np.abs(values[inside[1:-1, 1:-1]]).mean()) / length for values, length in fine)
    # Plus one grey level: on an even surface a ratio of noise to noise says nothing.
    return weakest / (float(coarse[inside].std()) + 1.0)


@cache
def _ellipse(side: int) -> NDArray[np.bool_]:
    """Where the features are on an aligned chip: brows to chin, without hair and background."""
    if side < 16:
        raise ValueError(f"a chip to measure has 16 pixels a side or more, got {side}")
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1)
    inside: NDArray[np.bool_] = ((columns - 0.5) / 0.32) ** 2 + ((rows - 0.54) / 0.40) ** 2 < 1.0
    return inside
