"""The two sample portraits, both in the public domain, found in packages that ship them.

Grace Hopper (United States Navy) comes with matplotlib, Eileen Collins (NASA) with scikit-image. The packages are
located, not imported.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attendance.errors import UsageError
from attendance.types import RGBImage


@dataclass(frozen=True, slots=True)
class Portrait:
    """A sample person: identity id, name, and where the photo lies inside which package.

    ``face_box`` is x1, y1, x2, y2 in px of the photo: from the forehead to the chin, from cheek to cheek.
    """

    identity_id: str
    name: str
    package: str
    inside: str
    distribution: str
    face_box: tuple[float, float, float, float]


GRACE_HOPPER = Portrait(
    "grace-hopper",
    "Grace Hopper",
    "matplotlib",
    "mpl-data/sample_data/grace_hopper.jpg",
    "matplotlib",
    (172.0, 112.0, 365.0, 345.0),
)
EILEEN_COLLINS = Portrait(
    "eileen-collins", "Eileen Collins", "skimage", "data/astronaut.png", "scikit-image", (174.0, 64.0, 274.0, 190.0)
)


def locate(portrait: Portrait) -> Path:
    """Where the photo lies on this machine.

    Raises:
        UsageError: when the package or the photo inside it is missing.
    """
    spec = importlib.util.find_spec(portrait.package)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        path = Path(folder) / portrait.inside
        if path.is_file():
            return path
    found = f"{folders[0]} lacks it" if folders else "the package is not installed"
    raise UsageError(
        f"expected the portrait of {portrait.name} at {portrait.inside} in {portrait.distribution}, but {found}: "
        "run `make setup`"
    )


def load(portrait: Portrait) -> RGBImage:
    """The photo, RGB uint8 (H, W, 3). Raises UsageError when it is missing."""
    with Image.open(locate(portrait)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
