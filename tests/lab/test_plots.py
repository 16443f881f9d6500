"""The pictures of the margins say what they are drawn to say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lab.plots import BOTH, FIRST, MARGINS, NEITHER, SECOND, logits, main, regions

ANGLES = np.linspace(0.0, math.pi, 91)


@pytest.mark.parametrize("name", MARGINS)
def test_a_point_is_held_by_the_classes_whose_inequality_it_fulfils(name: str) -> None:
    own, other = logits(name, ANGLES)
    held = regions(name, ANGLES)
    for i in range(0, 91, 7):
        for j in range(0, 91, 7):
            first, second = own[j] > other[i], own[i] > other[j]
            assert held[i, j] == {(0, 0): NEITHER, (1, 0): FIRST, (0, 1): SECOND, (1, 1): BOTH}[(first, second)]


@pytest.mark.parametrize("name", MARGINS)
def test_only_plain_arcface_has_an_overlap(name: str) -> None:
    assert bool(np.any(regions(name, ANGLES) == BOTH)) == (name == "arcface")


def test_cosface_s_margin_is_a_constant_in_the_cosine_and_li_arcface_s_in_the_angle() -> None:
    first, second = np.meshgrid(ANGLES, ANGLES)
    difference = np.abs(np.cos(first) - np.cos(second))
    sure = np.abs(difference - 0.35) > 1e-6
    assert np.array_equal((regions("cosface", ANGLES) == NEITHER)[sure], (difference < 0.35)[sure])
    apart = np.abs(first - second)
    sure = np.abs(apart - 0.4) > 1e-6
    assert np.array_equal((regions("li-arcface", ANGLES) == NEITHER)[sure], (apart < 0.4)[sure])


def test_both_pictures_are_small_and_the_same_on_every_run(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(written) == {"target_logits.png", "decision_margins.png"}
    assert all(1_000 < len(data) < 100_000 for data in written.values())
    assert main(["--out", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "none")])
    assert stopped.value.code == 2
    assert "expected a folder" in capsys.readouterr().err
