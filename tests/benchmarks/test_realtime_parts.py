"""What the benchmarks of the live path compute from what they measured, on hand-made cases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance.types import Face
from benchmarks.detectors import beside, smallest
from benchmarks.paced_stream import decoded, encoded
from benchmarks.scenes import SWAY_PX, TILE_PX, Scene
from benchmarks.soak import judged
from benchmarks.walkup import Passing, Usable, Walker, _pass
from benchmarks.walkup_figures import summary


def passing(identity_id: str) -> Passing:
    return Passing(Walker(identity_id, Path("photo.jpg"), (), 1), room=0, begin=8, end=60, is_judged=True)


SENT = [10.0 + index / 30 for index in range(60)]


def test_a_pass_lasts_from_its_first_usable_frame_to_its_own_first_punch() -> None:
    written = [(10.4, "person-02"), (10.55, "person-01"), (11.0, "person-01")]
    deciding = {"person-01": [3, 15, 40], "person-02": [9]}
    found = _pass(passing("person-01"), Usable(9, 13), deciding, SENT, written)
    assert found["ms"] == pytest.approx(1e3 * (10.55 - 10.3)) and found["waiting_ms"] == pytest.approx(4e3 / 30)
    # Frame 3 was of an earlier pass.
    assert found["machine_ms"] == pytest.approx(1e3 * (10.55 - 10.5))
    nobody = {"ms": None, "waiting_ms": None, "machine_ms": None, "usable": True}
    assert _pass(passing("person-03"), Usable(9, 13), deciding, SENT, written) == nobody
    assert not _pass(passing("person-01"), Usable(None, None), deciding, SENT, written)["usable"]
    assert _pass(passing("person-01"), Usable(9, 13), {}, SENT, written)["machine_ms"] is None
    assert "person" not in str(found)


def piece(*ms: float | None, path_ms: float = 10.0) -> dict[str, Any]:
    passes = [
        {
            "ms": value,
            "waiting_ms": None if value is None else 100.0,
            "machine_ms": None if value is None else value / 2,
            "usable": True,
        }
        for value in ms
    ]
    return {
        "passes": passes,
        "path_ms": path_ms,
        "path_strangers_ms": 2 * path_ms,
        "path_faces": 1.0,
        "camera": {"frames": 5, "dropped": 1},
    }


def test_quantiles_are_of_the_recorded_passes_of_all_pieces() -> None:
    found = summary([piece(100.0, 200.0, None), piece(300.0, path_ms=30.0)])
    assert (found["passes"], found["recorded"], found["p50_ms"], found["waiting_share"]) == (4, 3, 200.0, 0.5)
    assert found["p95_ms"] == pytest.approx(290.0)
    assert found["machine_p50_ms"] == 100.0 and found["machine_p95_ms"] == pytest.approx(145.0)
    assert found["path_frames_a_second"] == pytest.approx(50.0)
    assert found["path_strangers_frames_a_second"] == pytest.approx(25.0)
    assert (found["frames"], found["dropped"]) == (10, 2)
    assert summary([piece(None)])["p50_ms"] is None


def test_memory_that_grows_and_things_that_are_kept_are_seen() -> None:
    samples = [
        (float(f), 100.0 + f / 500, {"attendance.x.Kept": f, "attendance.x.Passing": f % 7}) for f in range(0, 9000, 50)
    ]
    found = judged(samples)
    assert found["mb_per_1000_frames"] == pytest.approx(2.0)
    assert found["most_grown"] == "attendance.x.Kept" and found["most_grown_by"] > 1500
    steady = judged([(float(f), 100.0 + (f // 50) % 2, {"attendance.x.Passing": f % 7}) for f in range(0, 9000, 50)])
    assert abs(steady["mb_per_1000_frames"]) < 0.01 and steady["most_grown_by"] <= 6


def face(x: float, y: float, side: float, score: float = 0.9, shift: float = 0.0) -> Face:
    box = np.array((x, y, x + side, y + side), np.float32)
    points = np.array([(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.8), (0.7, 0.8)], np.float32) * side + (x + shift, y)
    return Face(box, score, points.astype(np.float32))


def test_faces_beside_those_expected() -> None:
    expected = [[face(10, 10, 100), face(300, 10, 50)], []]
    found = [[face(12, 10, 100, shift=3.0), face(600, 10, 50)], [face(0, 0, 40)]]
    counted = beside(expected, found)
    assert (counted["expected"], counted["matched"], counted["extra"]) == (2, 1, 2)
    # Points lie 2 px of the box and 3 px of the shift to the right, of a width of 100 px.
    assert counted["points_median"] == pytest.approx(0.05) and counted["points_p95"] == pytest.approx(0.05)
    assert beside([[]], [[]])["points_median"] is None


def test_the_smallest_face_is_the_least_width_above_which_none_is_lost() -> None:
    shares = {40: 1.0, 30: 0.96, 20: 0.97, 16: 0.9, 12: 0.99}
    rows = [{"detector": "one", "face_px": px, "found": share} for px, share in shares.items()]
    rows += [{"detector": "other", "face_px": px, "found": 0.1} for px in shares]
    assert smallest(rows) == {"one": 20, "other": None}


@pytest.mark.parametrize(("size", "faces"), [((640, 360), 2), ((1920, 1080), 32), ((640, 360), 0)])
def test_portraits_stay_whole_in_the_picture_and_apart(size: tuple[int, int], faces: int) -> None:
    portraits = [np.full((TILE_PX, TILE_PX, 3), 200 + index, np.uint8) for index in range(faces)]
    scene = Scene(size, portraits)
    for seconds in (0.0, 0.7, 2.1):
        picture = scene.picture(seconds)
        assert picture.shape == (size[1], size[0], 3)
        counts = Counter(picture[..., 0][picture[..., 0] >= 200].tolist())
        assert counts == dict.fromkeys(range(200, 200 + faces), TILE_PX * TILE_PX)
    moved = np.argwhere(scene.picture(0.0) != scene.picture(1.0)) if faces else np.empty((0, 3))
    assert bool(len(moved)) == (faces > 0 and SWAY_PX > 0)


def test_a_room_that_is_too_small_is_an_error() -> None:
    with pytest.raises(ValueError, match="room for 40 portraits"):
        Scene((640, 360), [np.zeros((TILE_PX, TILE_PX, 3), np.uint8)] * 40).picture(0.0)


def test_pictures_survive_the_stream_nearly_unchanged() -> None:
    ramp = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)
    image = np.ascontiguousarray(np.stack([ramp, ramp[::-1], 255 - ramp], axis=2))
    again = decoded(encoded(image))
    assert again.shape == image.shape
    assert np.abs(again.astype(int) - image.astype(int)).mean() < 4
