"""The sample portraits are found where their packages lie, without importing those."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from attendance.errors import UsageError
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, Portrait, load, locate


@pytest.mark.parametrize("portrait", [GRACE_HOPPER, EILEEN_COLLINS])
def test_portrait_is_rgb_and_holds_its_face_box(portrait: Portrait) -> None:
    photo = load(portrait)
    height, width = photo.shape[:2]
    x1, y1, x2, y2 = portrait.face_box
    assert photo.dtype == np.uint8 and photo.shape[2] == 3
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    red, _, blue = photo[int(y1) : int(y2), int(x1) : int(x2)].reshape(-1, 3).mean(axis=0)
    assert red > blue + 10, "skin is redder than blue: the channels stand in RGB order"


def test_locating_imports_neither_package() -> None:
    code = (
        "import sys; from demo.portraits import *; locate(GRACE_HOPPER); locate(EILEEN_COLLINS);"
        "sys.exit('matplotlib' in sys.modules or 'skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("portrait", "found"),
    [
        (replace(GRACE_HOPPER, package="no_such_package_here"), "the package is not installed"),
        (replace(EILEEN_COLLINS, inside="data/no-such-photo.png"), "lacks it"),
    ],
)
def test_missing_portrait_says_what_to_do(portrait: Portrait, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        locate(portrait)
    assert found in str(caught.value)
    assert portrait.inside in str(caught.value) and "make setup" in str(caught.value)
    assert "\n" not in str(caught.value)
