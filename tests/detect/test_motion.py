"""What changed in a picture: nothing by noise, everything that moved, and nothing forgotten until it is searched."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.detect.motion import MotionMap, disjoint
from attendance.types import RGBImage

RNG = np.random.default_rng(12)
SCENE = RNG.integers(40, 200, (90, 160, 3)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)


def seen(scene: RGBImage, noise: float = 4.0) -> RGBImage:
    """The scene as a camera with this much noise delivers it."""
    return (scene + RNG.normal(0.0, noise, scene.shape)).clip(0, 255).astype(np.uint8)


def with_patch(x: int, y: int, side: int) -> RGBImage:
    scene = SCENE.copy()
    scene[y : y + side, x : x + side] = 255 - scene[y : y + side, x : x + side]
    return scene


def test_the_first_picture_and_one_of_another_size_changed_everywhere() -> None:
    motion = MotionMap()
    assert motion.changed(seen(SCENE)).all()
    assert not motion.changed(seen(SCENE)).any()
    assert motion.changed(seen(SCENE)[:180, :320]).all()


@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
def test_noise_is_no_change_and_a_patch_is_one_where_it_is(noise: float) -> None:
    motion = MotionMap()
    motion.changed(seen(SCENE, noise))
    assert not motion.changed(seen(SCENE, noise)).any()
    changed = motion.changed(seen(with_patch(320, 160, 64), noise))
    regions = motion.regions(changed, least_cells=3)
    assert len(regions) == 1
    left, top, right, bottom = regions[0]
    assert left <= 320 and top <= 160 and right >= 384 and bottom >= 224
    assert (right - left) * (bottom - top) < 10 * 64 * 64


def test_a_change_lasts_until_its_place_is_searched() -> None:
    motion = MotionMap()
    motion.changed(seen(SCENE))
    for _ in range(3):
        changed = motion.changed(seen(with_patch(100, 100, 80)))
        assert changed[motion.cells((100, 100, 180, 180))].mean() > 0.5
    motion.searched((0, 0, 300, 300))
    assert not motion.changed(seen(with_patch(100, 100, 80))).any()


def test_what_somebody_leaves_behind_is_known_and_what_comes_after_is_new() -> None:
    motion = MotionMap()
    nowhere = np.zeros(motion.changed(seen(SCENE)).shape, np.bool_)
    assert not motion.unexplained(nowhere).any()
    here = nowhere.copy()
    here[motion.cells((90, 90, 190, 190))] = True
    motion.changed(seen(with_patch(100, 100, 80)))
    assert not motion.unexplained(here).any()
    # Gone: the place looks as it did, and was explained while it became so.
    motion.changed(seen(SCENE))
    assert not motion.unexplained(here).any()
    motion.changed(seen(SCENE))
    assert not motion.unexplained(nowhere).any()
    # Somebody else stands there, whom nothing explains.
    motion.changed(seen(with_patch(100, 100, 80)))
    assert motion.unexplained(nowhere)[motion.cells((104, 104, 176, 176))].mean() > 0.5
    motion.searched((0, 0, 300, 300))
    assert not motion.unexplained(nowhere).any()


def test_a_camera_that_turns_changes_everything() -> None:
    motion = MotionMap()
    motion.changed(seen(SCENE))
    assert motion.changed(seen(np.roll(SCENE, 40, axis=1))).mean() > 0.9


def test_small_changes_make_no_region() -> None:
    motion = MotionMap()
    cells = np.zeros(motion.changed(SCENE).shape, np.bool_)
    cells[5, 5] = cells[6, 5] = True
    assert motion.regions(cells, least_cells=3) == []
    assert motion.regions(cells, least_cells=2) == [(48, 48, 128, 144)]
    assert motion.regions(np.zeros_like(cells)) == []


def test_a_picture_smaller_than_a_cell_is_one_cell() -> None:
    motion = MotionMap()
    assert motion.changed(np.zeros((3, 2, 3), np.uint8)).shape == (1, 1)
    assert motion.changed(np.full((3, 2, 3), 255, np.uint8)).all()


def test_regions_that_overlap_become_one() -> None:
    assert disjoint([(0, 0, 10, 10), (20, 0, 30, 10), (9, 5, 21, 6)]) == [(0, 0, 30, 10)]
    assert sorted(disjoint([(0, 0, 10, 10), (10, 0, 20, 10)])) == [(0, 0, 10, 10), (10, 0, 20, 10)]
