"""Portraits and detectors that several tests of detection share."""

import numpy as np
import pytest
from PIL import Image

from attendance.detect.mtcnn import MtcnnDetector
from attendance.types import RGBImage
from tests.detect.portraits import PORTRAITS, portrait_path


@pytest.fixture(scope="session")
def portraits() -> dict[str, RGBImage]:
    """Both sample portraits, RGB uint8."""
    found = {}
    for name in PORTRAITS:
        with Image.open(portrait_path(name)) as image:
            found[name] = np.asarray(image.convert("RGB"))
    return found


@pytest.fixture(scope="session")
def detector() -> MtcnnDetector:
    """Faces from 40 pixels, two threads."""
    return MtcnnDetector(min_face_px=40, threads=2)
