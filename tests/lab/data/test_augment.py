"""Each variation does what it says, and the same draws give the same face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from lab.data.augment import Augment, augment, draws
from tests.lab.made_people import made_photo

FACE = made_photo(3, 0, side=48)
EVERYTHING = Augment(flip=0.5, crop=0.5, colour=0.5, erase=0.5, low_resolution=0.5)


def smooth_face() -> np.ndarray:
    """A face without noise: a ramp in each colour."""
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    return np.stack([5 * x, 5 * y, 120 + x - y], axis=-1).astype(np.uint8)


def test_nothing_is_varied_by_default_and_the_face_is_left_as_it_is() -> None:
    before = FACE.copy()
    assert np.array_equal(augment(FACE, Augment(), draws(0, 0, 0)), before)
    for position in range(20):
        augment(FACE, EVERYTHING, draws(0, 0, position))
    assert np.array_equal(FACE, before)


def test_the_draws_belong_to_seed_epoch_and_position() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    numbers = {key: draws(*key).random(4).tolist() for key in keys}
    assert len({tuple(row) for row in numbers.values()}) == 4
    assert draws(0, 1, 0).random(4).tolist() == numbers[0, 1, 0]
    first = [augment(FACE, EVERYTHING, draws(7, 2, position)) for position in range(30)]
    again = [augment(FACE, EVERYTHING, draws(7, 2, position)) for position in reversed(range(30))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(face.shape == FACE.shape and face.dtype == np.uint8 and face.flags.c_contiguous for face in first)


def test_the_share_of_varied_faces_is_the_one_asked_for() -> None:
    flipped = sum(np.array_equal(augment(FACE, Augment(flip=0.3), draws(0, 0, n)), FACE[:, ::-1]) for n in range(2000))
    assert 0.27 < flipped / 2000 < 0.33  # 3 standard deviations


def test_a_cut_is_a_square_of_the_face_scaled_up() -> None:
    face = smooth_face()
    for position in range(50):
        cut = augment(face, Augment(crop=1.0, crop_area=0.5), draws(0, 0, position)).astype(float)
        # On a ramp a cut is a ramp again: its slope over the face's is the side it kept.
        across = (cut[24, 40, 0] - cut[24, 8, 0]) / 32 / 5
        down = (cut[40, 24, 1] - cut[8, 24, 1]) / 32 / 5
        assert across == pytest.approx(down, abs=0.03)
        assert np.sqrt(0.5) - 0.03 <= across <= 1.03


def test_colours_change_by_brightness_contrast_and_saturation() -> None:
    how = Augment(colour=1.0, brightness=0.4, contrast=0.4, saturation=0.4)
    for position in range(20):
        random = draws(0, 0, position)
        got = augment(FACE, how, random)
        random = draws(0, 0, position)
        random.random(3)  # mirrored, cut, coloured
        brightness, contrast, saturation = (1 + 0.4 * random.uniform(-1, 1) for _ in range(3))
        toned = np.clip(np.rint((FACE * brightness - 127.5) * contrast + 127.5), 0, 255)
        grey = (toned @ np.array([0.299, 0.587, 0.114]))[..., None]
        want = np.clip(grey + saturation * (toned - grey), 0, 255)
        assert np.abs(got.astype(float) - want).max() <= 1.0


def test_a_face_from_afar_has_lost_its_fine_detail() -> None:
    checks = np.indices((48, 48)).sum(axis=0) % 2 * 255
    face = np.repeat(checks[..., None], 3, axis=-1).astype(np.uint8)
    far = augment(face, Augment(low_resolution=1.0, low_resolution_px=(8, 12)), draws(0, 0, 0))
    assert far.shape == face.shape
    assert far.std() < 0.05 * face.std()
    assert abs(far.mean() - face.mean()) < 3.0
    larger = augment(FACE, Augment(low_resolution=1.0, low_resolution_px=(90, 99)), draws(0, 0, 0))
    assert larger.shape == FACE.shape  # never enlarged


def test_an_erased_box_has_the_area_asked_for() -> None:
    face = np.full((48, 48, 3), 128, np.uint8)
    for position in range(100):
        changed = (augment(face, Augment(erase=1.0, erase_area=(0.1, 0.2)), draws(0, 0, position)) != face).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / 48**2
        assert 0.08 < area < 0.23
        assert changed.sum() > 0.9 * area * 48**2  # noise, all over the box


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"crop_area": 0.0},
        {"erase_area": (0.3, 0.1)},
        {"low_resolution_px": (0, 5)},
        {"low_resolution_quality": (5, 101)},
        {"flipp": 0.5},
    ],
    ids=str,
)
def test_a_wrong_share_or_key_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Augment.model_validate(wrong)


def test_opencv_s_own_random_numbers_play_no_part() -> None:
    cv2.setRNGSeed(1)
    one = augment(FACE, EVERYTHING, draws(0, 0, 5))
    cv2.setRNGSeed(2)
    np.random.default_rng().random(7)
    assert np.array_equal(augment(FACE, EVERYTHING, draws(0, 0, 5)), one)
