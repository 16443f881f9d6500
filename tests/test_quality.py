"""Quality: geometry of five points and the light and sharpness of a chip, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from attendance.quality import judge, limits_of, measure_picture, measure_pose
from attendance.types import Face, Float32, RGBImage
from tests.fakes import face_at

SIZE = (480, 640)


def test_a_large_frontal_face_is_good_and_weighs_full() -> None:
    quality = judge(face_at(0, 0, 200, score=1.0), SIZE)
    assert quality.good
    assert quality.eye_distance_px == pytest.approx(0.4 * 200)
    assert quality.nose_offset == pytest.approx(0.0, abs=1e-6)
    assert quality.weight == pytest.approx(1.0)


def test_eyes_too_close_are_named_and_off_names_nothing() -> None:
    assert judge(face_at(0, 0, 25), SIZE).faults == ("small",)
    assert judge(face_at(0, 0, 25), SIZE, level="off").good


def test_weight_grows_with_size() -> None:
    assert judge(face_at(0, 0, 40), SIZE).weight < judge(face_at(0, 0, 80), SIZE).weight


def test_a_mouth_above_the_eyes_is_implausible_and_rotation_is_not() -> None:
    face = face_at(0, 0, 100)
    upside = Face(face.box, face.score, face.points * np.array([1, -1], np.float32) + np.array([0, 100], np.float32))
    assert judge(upside, SIZE).faults == ("points",)
    turned = face.points[:, ::-1].copy() * np.array([-1, 1], np.float32) + np.array([100, 0], np.float32)
    assert judge(Face(face.box, face.score, np.ascontiguousarray(turned)), SIZE).faults == ("rolled",)


def test_a_nose_beyond_the_eyes_is_implausible() -> None:
    face = face_at(0, 0, 100)
    points = face.points.copy()
    points[2, 0] += 0.95 * 40
    quality = judge(Face(face.box, face.score, points), SIZE)
    assert quality.nose_offset == pytest.approx(0.95, abs=1e-5)
    assert quality.faults == ("points",)


def test_points_in_one_place_are_a_fault_not_a_crash() -> None:
    face = Face(np.array([0, 0, 50, 50], np.float32), 0.9, np.full((5, 2), 25, np.float32))
    assert judge(face, SIZE).faults == ("small", "points")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="off, standard"):
        judge(face_at(0, 0, 50), SIZE, level="severe")


@pytest.mark.parametrize(("x", "faults"), [(-20, ()), (-22, ("cut_off",)), (561, ("cut_off",)), (559, ())])
def test_a_face_that_the_edge_cuts_is_named(x: int, faults: tuple[str, ...]) -> None:
    assert judge(face_at(x, 100, 100), SIZE).faults == faults


def test_a_point_outside_the_picture_is_cut_off() -> None:
    face = face_at(0, 0, 100)
    points = face.points.copy()
    points[0] = (-1, 30)
    assert "cut_off" in judge(Face(face.box, face.score, points), SIZE).faults


def textured(brightness: float = 120.0, strength: float = 40.0, side: int = 64, seed: int = 0) -> RGBImage:
    """A chip with details of every size, the finer the weaker, as on a face."""
    rng = np.random.default_rng(seed)
    grey = np.zeros((side, side), np.float32)
    for cells in (4, 8, 16, 32, 64):
        layer = rng.normal(0, 4 / cells, (cells, cells)).astype(np.float32)
        grey += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC)
    grey = brightness + strength * grey / float(np.std(grey))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def filtered(chip: RGBImage, kernel: Float32) -> RGBImage:
    return np.asarray(cv2.filter2D(chip, -1, kernel / kernel.sum()), np.uint8)


def picture_faults(chip: RGBImage, level: str = "standard") -> tuple[str, ...]:
    return judge(face_at(100, 100, 200), SIZE, level=level, chip=chip).faults


def test_a_sharp_well_lit_chip_is_good_and_each_fault_of_a_picture_is_named() -> None:
    chip = textured()
    assert picture_faults(chip) == ()
    assert picture_faults(textured(30, 11)) == ("dark",)
    assert picture_faults(textured(228, 11)) == ("bright",)
    assert "flat" in picture_faults(textured(120, 4))
    assert picture_faults(np.asarray(cv2.GaussianBlur(chip, (0, 0), 2.5), np.uint8)) == ("blurred",)
    assert picture_faults(textured(25, 4), "off") == ()


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_smearing_in_any_direction_is_blur(degrees: int) -> None:
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    turn = cv2.getRotationMatrix2D((7, 7), degrees, 1.0)
    smear = np.asarray(cv2.warpAffine(kernel, turn, (15, 15)), np.float32)
    assert measure_picture(filtered(textured(), smear)).sharpness < 0.6 * measure_picture(textured()).sharpness


def test_sharpness_does_not_depend_on_light_and_contrast() -> None:
    sharp = measure_picture(textured(120, 40)).sharpness
    assert measure_picture(textured(160, 25)).sharpness == pytest.approx(sharp, rel=0.1)
    assert measure_picture(np.full((64, 64, 3), 90, np.uint8)).sharpness == 0.0


def test_brightness_and_contrast_are_those_of_the_grey_values_inside() -> None:
    chip = np.zeros((64, 64, 3), np.uint8)
    chip[:, :, 1] = 100
    measured = measure_picture(chip)
    assert measured.brightness == pytest.approx(59.0, abs=1.0)
    assert measured.contrast == 0.0
    with pytest.raises(ValueError, match="chip"):
        measure_picture(chip[:, :, :2])


def seen_from(yaw_deg: float, pitch_deg: float) -> Float32:
    """The five points of a face in space, turned, seen from far away; eyes 100 px apart before turning.

    The nose's point moves less to the side than up and down, as detectors set it on real photos.
    """
    nose = [0, 58, 44 if yaw_deg else 60]
    head = np.array([[-50, 0, 0], [50, 0, 0], nose, [-44, 108, 10], [44, 108, 10]], np.float64)
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    across = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    up = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    seen = head @ across.T @ up.T
    return np.asarray(seen[:, :2] + 300, np.float32)


@pytest.mark.parametrize("degrees", [-40, -15, 0, 15, 40])
def test_angles_are_those_of_a_turned_head(degrees: float) -> None:
    assert measure_pose(seen_from(degrees, 0)).yaw_deg == pytest.approx(degrees, abs=1.0)
    assert measure_pose(seen_from(0, degrees)).pitch_deg == pytest.approx(degrees, abs=1.0)


def test_a_mouth_that_moves_with_the_nose_is_partly_taken_off() -> None:
    frontal = seen_from(0, 0)
    nose_alone, both = frontal.copy(), frontal.copy()
    nose_alone[2, 0] += 30
    both[2:, 0] += 30
    assert measure_pose(nose_alone).yaw_deg == pytest.approx(np.degrees(np.arctan(0.3 / 0.4)), abs=0.1)
    assert measure_pose(both).yaw_deg == pytest.approx(np.degrees(np.arctan(0.6 * 0.3 / 0.4)), abs=0.1)
    assert measure_pose(both).pitch_deg == pytest.approx(measure_pose(frontal).pitch_deg, abs=1e-6)


def test_turned_and_tilted_heads_are_named_with_value_and_limit() -> None:
    box = np.array([200, 250, 400, 450], np.float32)
    (finding,) = judge(Face(box, 0.99, seen_from(50, 0)), (600, 800)).findings
    assert (finding.code, finding.limit) == ("turned", 43.0)
    assert finding.value == pytest.approx(50, abs=1.0)
    assert str(finding).startswith("turned (5")
    assert judge(Face(box, 0.99, seen_from(0, -48)), (600, 800)).faults == ("tilted",)
    assert judge(Face(box, 0.5, seen_from(0, 0)), (600, 800)).faults == ("unsure",)


def test_a_stricter_level_refuses_more_and_limits_can_be_changed_one_by_one() -> None:
    face = face_at(0, 0, 80)
    assert judge(face, SIZE).good
    assert judge(face, SIZE, level="strict").faults == ("small",)
    assert judge(face, SIZE, level=limits_of("strict", {"min_eye_px": 30.0, "max_yaw_deg": None})).good
    assert limits_of("off", {"min_eye_px": 30.0}) == limits_of("off")
    assert limits_of("off").live == limits_of("off")
    assert not limits_of("off").judges_pictures
    assert limits_of("standard").judges_pictures


@pytest.mark.parametrize("level", ["standard", "strict"])
def test_before_a_camera_a_head_may_be_turned_further_than_on_a_photo_to_enrol(level: str) -> None:
    limits = limits_of(level)
    between = (limits.max_yaw_deg + limits.live.max_yaw_deg) / 2
    face = Face(np.array([200, 250, 400, 450], np.float32), 0.99, seen_from(between, 0))
    assert "turned" in judge(face, (600, 800), level=limits).faults
    assert "turned" not in judge(face, (600, 800), level=limits.live).faults
    further = Face(face.box, 0.99, seen_from(limits.live.max_yaw_deg + 3, 0))
    assert "turned" in judge(further, (600, 800), level=limits.live).faults
    assert limits_of(level, {"live_max_yaw_deg": between - 1}).live.max_yaw_deg == between - 1
