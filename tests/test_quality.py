"""Quality: geometry of five points, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.quality import judge
from attendance.types import Face
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
    assert judge(Face(face.box, face.score, np.ascontiguousarray(turned)), SIZE).good


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
