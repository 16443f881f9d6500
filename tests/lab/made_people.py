"""Small people made by code: each a coarse pattern of colours, each photo of one a little different."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from attendance.types import RGBImage


def made_photo(person: int, number: int, *, side: int = 32) -> RGBImage:
    """RGB uint8 (side, side, 3)."""
    pattern = np.random.default_rng(person).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    grown = np.asarray(cv2.resize(pattern, (side, side), interpolation=cv2.INTER_CUBIC)).astype(np.int64)
    noise = np.random.default_rng((person, number)).integers(-25, 26, (side, side, 3))
    face: RGBImage = np.clip(grown + noise, 0, 255).astype(np.uint8)
    return face


def made_folder(root: Path, *, people: int, photos: int, side: int = 32) -> Path:
    """A folder of people with PNG crops."""
    for person in range(people):
        folder = root / f"person-{person:02d}"
        folder.mkdir(parents=True)
        for number in range(photos):
            Image.fromarray(made_photo(person, number, side=side)).save(folder / f"{number:02d}.png")
    return root


def png(person: int, number: int, *, side: int = 32) -> bytes:
    """A crop, encoded without loss."""
    done, data = cv2.imencode(".png", made_photo(person, number, side=side)[:, :, ::-1])
    assert done
    return bytes(data)
