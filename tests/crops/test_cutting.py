"""A crop gives the chips that its photo gives, for any alignment, and says where it would not."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from attendance.align import align, arcface_112, dlib_150, facenet_160
from attendance.crops import cut, decoded, encoded
from attendance.crops.cutting import EYES_PX
from attendance.errors import ImageError
from attendance.types import Alignment, AlignmentKind, Face, Float32, RGBImage

ALIGNMENTS = [arcface_112(), dlib_150(), dlib_150(0.17), facenet_160(), facenet_160(32)]
MEAN_FACE: Float32 = np.array([(-0.5, -0.6), (0.5, -0.6), (0.0, 0.0), (-0.45, 0.5), (0.45, 0.5)], np.float32)


@cache
def noise(side: int = 600, *, grain_px: int = 6) -> RGBImage:
    """Something that differs everywhere, in patches of ``grain_px``."""
    small = np.random.default_rng(5).integers(0, 256, (side // grain_px, side // grain_px, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def face(x: float, y: float, *, eyes_px: float, lean_deg: float = 0.0) -> Face:
    """A face with its nose at (x, y)."""
    turn = math.radians(lean_deg)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = (MEAN_FACE * eyes_px) @ matrix.T + (x, y)
    low, high = points.min(axis=0) - 0.6 * eyes_px, points.max(axis=0) + 0.6 * eyes_px
    return Face(np.array([*low, *high], np.float32), 0.99, points.astype(np.float32))


@pytest.mark.parametrize("lean_deg", [0.0, -44.0, 100.0])
@pytest.mark.parametrize("place", [(300.0, 300.0), (40.0, 560.0), (597.0, 12.0)])
def test_chips_of_a_crop_are_the_photos(lean_deg: float, place: tuple[float, float]) -> None:
    photo, found = noise(), face(*place, eyes_px=EYES_PX - 5, lean_deg=lean_deg)
    crop = decoded(encoded(cut(photo, found)))
    for alignment in ALIGNMENTS:
        assert crop.holds(alignment)
        chips = (align(photo, [found], alignment), align(crop.image, [crop.face], alignment))
        difference = np.abs(chips[0].astype(int) - chips[1].astype(int))
        # Positions are rounded to a part of a pixel, of the photo here and of the crop there.
        assert difference.mean() < 0.2 and difference.max() <= 20


def test_a_large_face_is_shrunk_and_its_chips_stay_near() -> None:
    photo, found = noise(1000, grain_px=40), face(500, 500, eyes_px=2 * EYES_PX, lean_deg=20)
    crop = cut(photo, found)
    assert float(np.hypot(*(crop.face.points[1] - crop.face.points[0]))) == pytest.approx(EYES_PX, rel=0.05)
    assert crop.image.size < photo.size / 3
    for alignment in ALIGNMENTS:
        chips = (align(photo, [found], alignment), align(crop.image, [crop.face], alignment))
        # A box is cut at whole pixels, which are larger in the crop.
        most = 3.0 if alignment.kind is AlignmentKind.SIMILARITY else 6.0
        assert np.abs(chips[0].astype(int) - chips[1].astype(int)).mean() < most


def test_pixels_are_kept_as_they_are() -> None:
    photo, found = noise(), face(300, 300, eyes_px=50)
    crop = cut(photo, found)
    moved = (found.points - crop.face.points)[0].astype(int)
    height, width = crop.image.shape[:2]
    assert np.array_equal(crop.image, photo[moved[1] : moved[1] + height, moved[0] : moved[0] + width])
    again = decoded(encoded(crop))
    assert np.array_equal(again.image, crop.image) and np.array_equal(again.face.points, crop.face.points)
    assert again.goes_on == crop.goes_on == (True, True, True, True)


def test_a_model_that_looks_at_more_is_told_so() -> None:
    template = dlib_150().template
    assert template is not None
    wide = Alignment(AlignmentKind.SIMILARITY, 300, template=template + np.float32(75))
    whole, corner = noise(), noise(160)
    assert not cut(whole, face(300, 300, eyes_px=50)).holds(wide)
    # Where the photo ends everywhere before the crop does, nothing is lacking.
    assert cut(corner, face(80, 80, eyes_px=60)).holds(wide)


def test_a_crop_reaches_a_quarter_of_the_box_beyond_it_and_tells_which_models_take_more() -> None:
    box = np.array([150, 100, 450, 500], np.float32)
    crop = cut(noise(), replace(face(300, 300, eyes_px=20), box=box))
    height, width = crop.image.shape[:2]
    assert (width, height) == (pytest.approx(1.5 * 300, abs=3), pytest.approx(1.5 * 400, abs=3))
    left, top, right, bottom = crop.face.box.tolist()
    assert (left, width - right) == (pytest.approx(75, abs=2), pytest.approx(75, abs=2))
    assert (top, height - bottom) == (pytest.approx(100, abs=2), pytest.approx(100, abs=2))
    # A margin of m px of 160 takes m / (160 - m) / 2 of the box at either side: a quarter at 160 / 3 px.
    assert crop.holds(facenet_160(53)) and not crop.holds(facenet_160(60))


def test_what_cannot_be_cut_or_read_is_said() -> None:
    with pytest.raises(ImageError, match="five separate points"):
        cut(noise(), replace(face(300, 300, eyes_px=50), points=np.full((5, 2), 7.0, np.float32)))
    good = encoded(cut(noise(), face(300, 300, eyes_px=50)))
    for data in (
        b"",
        b"{}\n",
        good[:200],
        good.replace(b"PNG", b"GNP", 1),
        good.replace(b'"format": 1', b'"format": 9'),
    ):
        with pytest.raises(ImageError, match="crop_damaged"):
            decoded(data)
