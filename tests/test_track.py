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


def test_a_crossing_behind_somebody_is_survived_by_motion_alone() -> None:
    tracker = Tracker()
    left = [20 + 12 * i for i in range(30)]
    right = [380 - 12 * i for i in range(30)]
    first: tuple[int, ...] = ()
    for i, (x, y) in enumerate(zip(left, right, strict=True)):
        hidden = abs(x - y) < 45
        faces = [face_at(x, 10, 60)] if hidden else [face_at(x, 10, 60), face_at(y, 12, 58)]
        ids = tracker.update(faces, at(i / 25)).ids
        first = first or ids
        assert ids == first[: len(faces)]


def test_likeness_decides_where_place_does_not() -> None:
    """Two people stop in front of each other and come apart: by place alone each could be either."""
    tracker = Tracker()
    looks = {1: np.array([1.0, 0.0], np.float32), 2: np.array([0.8, 0.6], np.float32)}
    tracker.update([face_at(100, 10, 60), face_at(130, 10, 60)], at(0.0))
    for track_id, look in looks.items():
        tracker.describe(track_id, look)
    apart = [face_at(102, 10, 60), face_at(128, 10, 60)]
    assert tracker.match(apart, at(0.04)) == [1, 2]
    assert tracker.match(apart, at(0.04), describe=lambda which: np.stack([looks[2], looks[1]])[list(which)]) == [2, 1]


def test_likeness_is_not_asked_where_place_is_clear() -> None:
    tracker = Tracker()
    tracker.update([face_at(0, 10, 60), face_at(200, 10, 60)], at(0.0))
    for track_id in (1, 2):
        tracker.describe(track_id, np.eye(2, dtype=np.float32)[track_id - 1])

    def nobody_asks(which: object) -> np.ndarray:
        raise AssertionError(f"asked for {which}")

    assert tracker.match([face_at(4, 10, 60), face_at(203, 10, 60)], at(0.04), describe=nobody_asks) == [1, 2]


def test_the_expected_place_follows_a_steady_walk_and_is_less_sure_with_time() -> None:
    tracker = Tracker()
    for i in range(20):
        tracker.update([face_at(10 + 5 * i, 40, 60)], at(i / 25))
    expected = tracker.expected(at(24 / 25))[1]
    np.testing.assert_allclose(expected, [10 + 5 * 24, 40, 70 + 5 * 24, 100], atol=2.0)
    assert tracker.expected(at(3.0)) == {}
    # After half a second without a sight it may be a face size off, in the next frame it may not.
    far = face_at(10 + 5 * 20 + 65, 40, 60)
    assert tracker.match([far], at(20 / 25)) == [None]
    late = face_at(10 + 5 * 32 + 65, 40, 60)
    assert tracker.match([late], at(32 / 25)) == [1]


def test_a_face_of_another_size_is_another_face() -> None:
    tracker = Tracker()
    tracker.update([face_at(100, 100, 40)], at(0.0))
    assert tracker.match([face_at(60, 60, 120)], at(0.4)) == [None]
