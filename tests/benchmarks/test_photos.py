"""Photos spoiled by code for the benchmarks of enrolment, and readings that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attendance.config import load
from benchmarks.photos import KeptStills, eye_distance, read_strictly, smeared
from tests.building import FakeApp, colour_of, photo


@pytest.mark.parametrize(("angle", "axis"), [(0.0, 1), (np.pi / 2, 0)])
def test_a_smear_spreads_a_point_along_its_line_and_loses_no_light(angle: float, axis: int) -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 250
    spread = smeared(image, 10.0, angle)[:, :, 0].astype(float)
    along = spread.sum(axis=1 - axis)
    assert (np.flatnonzero(along).min(), np.flatnonzero(along).max()) == (15, 25)
    assert np.count_nonzero(spread.sum(axis=axis)) <= 2
    assert spread.sum() == pytest.approx(250, rel=0.1)


def test_kept_readings_are_those_that_were_read(tmp_path: Path) -> None:
    paths = [photo(tmp_path / "a.png", colour_of(0)), photo(tmp_path / "nobody.png")]
    kept = tmp_path / "work" / "kept.npz"
    with FakeApp(load(overrides={"store.path": tmp_path / "store"})) as app:
        first = read_strictly(app, paths, kept)
        again = read_strictly(app, [], kept)
    assert [r.reason for r in again.values()] == [None, "no_face"]
    given = list(KeptStills(again).read(reversed(paths)))
    assert [r.path for r in given] == paths[::-1]
    assert given[1].vector is not None
    before = first[paths[0]].vector
    assert before is not None
    assert np.array_equal(given[1].vector, before)


def test_photos_can_be_read_in_pieces(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{number}.png", colour_of(number)) for number in range(3)]
    kept = tmp_path / "kept.npz"
    with FakeApp(load(overrides={"store.path": tmp_path / "store"})) as app:
        assert list(read_strictly(app, paths, kept, most=2)) == paths[:2]
        assert list(read_strictly(app, paths, kept, most=0)) == paths[:2]
        assert list(read_strictly(app, paths, kept)) == paths


def test_the_distance_of_the_eyes() -> None:
    assert eye_distance(np.array([[0, 0], [3, 4], [0, 0], [0, 0], [0, 0]], np.float32)) == pytest.approx(5.0)
