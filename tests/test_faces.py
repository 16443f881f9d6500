"""Face choice against hand-made scenes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from attendance.faces import FaceRule, choose_face
from attendance.types import Face

SIZE = (200, 300)


def face(left: float, top: float, right: float, bottom: float, score: float = 0.9) -> Face:
    return Face(
        box=np.array([left, top, right, bottom], dtype=np.float32), score=score, points=np.zeros((5, 2), np.float32)
    )


@pytest.mark.parametrize("rule", list(FaceRule))
def test_no_face_is_a_visible_result(rule: FaceRule) -> None:
    choice = choose_face([], SIZE, rule)
    assert choice.face is None
    assert not choice.several
    assert choice.second_share == 0.0


@pytest.mark.parametrize("rule", list(FaceRule))
def test_a_single_face_is_chosen_wherever_it_is(rule: FaceRule) -> None:
    only = face(0, 0, 10, 10)
    choice = choose_face([only], SIZE, rule)
    assert choice.face is only
    assert not choice.several


def test_largest_takes_the_largest_box_not_the_best_score() -> None:
    small, large = face(0, 0, 40, 40, 0.99), face(100, 50, 200, 150, 0.71)
    choice = choose_face([small, large], SIZE, "largest")
    assert choice.face is large
    assert choice.second_share == pytest.approx(0.16)


@pytest.mark.parametrize(("width", "several"), [(59, False), (60, True), (61, True), (100, True)])
def test_a_second_face_of_sixty_per_cent_makes_several(width: int, several: bool) -> None:
    first, second = face(0, 0, 100, 100), face(150, 0, 150 + width, 100)
    assert choose_face([second, first], SIZE, "largest").several is several
    assert not choose_face([second, first], SIZE, "centre").several


def test_centre_takes_the_box_that_holds_the_image_centre_even_when_others_are_larger() -> None:
    large, middle = face(0, 0, 140, 140), face(141, 90, 171, 120)
    assert choose_face([large, middle], SIZE, "centre").face is middle


def test_centre_prefers_a_holding_box_to_one_whose_middle_is_nearer() -> None:
    holding = face(0, 0, 151, 101)
    beside = face(152, 90, 172, 110)
    assert choose_face([beside, holding], SIZE, "centre").face is holding


def test_centre_falls_back_to_the_nearest_face() -> None:
    far, near = face(0, 0, 100, 90), face(155, 105, 175, 125)
    assert choose_face([far, near], SIZE, "centre").face is near


def test_the_centre_is_taken_from_height_and_width_in_that_order() -> None:
    on_wide_centre, on_tall_centre = face(190, 40, 210, 60), face(40, 190, 60, 210)
    both = [on_wide_centre, on_tall_centre]
    assert choose_face(both, (100, 400), "centre").face is on_wide_centre
    assert choose_face(both, (400, 100), "centre").face is on_tall_centre


@pytest.mark.parametrize("rule", list(FaceRule))
def test_the_order_of_the_faces_does_not_matter(rule: FaceRule) -> None:
    faces = [face(0, 0, 50, 50, 0.8), face(60, 0, 110, 50, 0.9), face(120, 0, 170, 50, 0.9), face(0, 60, 50, 110)]
    chosen = {id(choose_face(list(order), SIZE, rule).face) for order in itertools.permutations(faces)}
    assert len(chosen) == 1


def test_boxes_without_area_count_as_equal() -> None:
    choice = choose_face([face(5, 5, 5, 5), face(9, 9, 9, 9)], SIZE, "largest")
    assert choice.several


def test_an_unknown_rule_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="largest, centre"):
        choose_face([], SIZE, "first")
