"""Coverings drawn by code: where they lie on a face, and that they differ from one to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.coverings import JUDGED_BY, TUNED_BY, Cover
from benchmarks.occlusion_plot import write_plot
from benchmarks.promise_draws import Tally

POINTS = np.array([[80, 90], [120, 90], [100, 115], [85, 135], [115, 135]], np.float32)
EYES, MOUTH = (slice(82, 99), slice(70, 131)), (slice(126, 144), slice(84, 117))
LOWER = ("surgical mask", "hand from below", "cloth mask", "peaked mask", "scarf", "hand from the side")


def face() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 130, (200, 200, 3)).astype(np.uint8)


@pytest.mark.parametrize(("name", "cover"), [*TUNED_BY.items(), *JUDGED_BY.items()])
def test_a_covering_covers_its_part_and_leaves_the_rest(name: str, cover: Cover) -> None:
    bare = face()
    covered = cover(bare.copy(), POINTS, np.random.default_rng(1))
    assert (covered.shape, covered.dtype.name) == (bare.shape, "uint8")
    changed = (covered != bare).any(axis=2)
    hidden, free = (MOUTH, EYES) if name in LOWER else (EYES, MOUTH)
    assert changed[hidden].mean() > 0.6
    assert changed[free].mean() < 0.1
    assert not changed[:40].any()
    assert not np.array_equal(covered, cover(bare.copy(), POINTS, np.random.default_rng(2)))


def test_a_covering_turns_with_the_face() -> None:
    turned = POINTS[:, ::-1].copy()
    mask = TUNED_BY["surgical mask"]
    straight = (mask(face(), POINTS, np.random.default_rng(1)) != face()).any(axis=2)
    across = mask(face(), np.array([[x, 200 - y] for x, y in turned], np.float32), np.random.default_rng(1)) != face()
    assert straight.sum() == pytest.approx(across.any(axis=2).sum(), rel=0.1)


def test_a_difference_of_rates_is_paired() -> None:
    one, other = Tally.empty(40), Tally.empty(40)
    people = np.repeat(np.arange(40), 5)
    hits = np.random.default_rng(0).random(200) < 0.5
    one.add(people, hits)
    other.add(people, hits & (people != 7))
    told = one.less(other)
    assert told["rate"] == pytest.approx(hits[people == 7].sum() / 200)
    assert told["interval"][0] == 0.0  # type: ignore[index]


def test_the_plot_is_one_picture_of_all_curves(tmp_path: Path) -> None:
    path = write_plot(
        {"a": [[0.0, 0.0], [0.3, 1.0]], "b": [[0.1, 0.5]]}, {"a": "A & B", "b": "b"}, path=tmp_path / "x.svg"
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("<polyline") == 2
    assert "A &amp; B" in text
    assert "60.0,360.0 400.0,20.0" in text
