"""Tracks: one id for one face while it stays, a new one for anybody else."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.track import Tracker, iou_matrix
from tests.fakes import at, face_at


def test_iou_equals_counting_pixels() -> None:
    rng = np.random.default_rng(5)
    corners = rng.integers(0, 40, (8, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 30, (8, 2))]).astype(np.float32)

    def pixels(box: np.ndarray) -> set[tuple[int, int]]:
        x1, y1, x2, y2 = (int(v) for v in box)
        return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}

    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in boxes] for a in boxes]
    np.testing.assert_allclose(iou_matrix(boxes, boxes), expected, atol=1e-12)


def test_iou_of_an_empty_box_is_zero() -> None:
    empty = np.array([[5, 5, 5, 9]], np.float32)
    assert iou_matrix(empty, empty) == [[0.0]]


def test_a_moving_face_keeps_its_id_and_another_gets_its_own() -> None:
    tracker = Tracker()
    first = tracker.update([face_at(10, 10, 50)], at(0.0)).ids
    both = tracker.update([face_at(200, 10, 50), face_at(18, 12, 52)], at(0.1)).ids
    swapped = tracker.update([face_at(26, 14, 54), face_at(195, 12, 50)], at(0.2)).ids
    assert first == (1,)
    assert both == (2, 1)
    assert swapped == (1, 2)


def test_the_assignment_is_made_as_a_whole() -> None:
    # Greedily, the left face would take the track that only the right one can continue.
    tracker = Tracker(min_iou=0.1)
    tracker.update([face_at(0, 0, 100), face_at(60, 0, 100)], at(0.0))
    assert tracker.update([face_at(35, 0, 100), face_at(90, 0, 100)], at(0.1)).ids == (1, 2)


def test_a_face_that_outruns_its_own_width_is_still_followed() -> None:
    tracker = Tracker()
    places = [0, 20, 50, 90, 150, 220, 290, 360]
    ids = [tracker.update([face_at(x, 10, 60)], at(step / 10)).ids for step, x in enumerate(places)]
    # From the fifth step on it moves by its width or more, and no two boxes overlap.
    assert ids == [(1,)] * 8


@pytest.mark.parametrize(("gap_s", "same"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_track_survives_an_absence_up_to_the_gap(gap_s: float, same: bool) -> None:
    tracker = Tracker(max_gap_s=1.0)
    tracker.update([face_at(10, 10, 50)], at(0.0))
    update = tracker.update([face_at(10, 10, 50)], at(gap_s))
    assert (update.ids == (1,)) is same
    assert update.ended == (() if same else (1,))


def test_finish_ends_every_track_and_ids_are_never_used_again() -> None:
    tracker = Tracker()
    tracker.update([face_at(10, 10, 50), face_at(200, 10, 50)], at(0.0))
    assert tracker.finish() == (1, 2)
    assert tracker.update([face_at(10, 10, 50)], at(0.1)).ids == (3,)


def test_wrong_settings_and_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="min_iou"):
        Tracker(min_iou=0.0)
    with pytest.raises(ValueError, match="aware UTC"):
        Tracker().update([], at(0.0).replace(tzinfo=None))
