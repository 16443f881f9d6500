"""Measuring a card: distributions whose thresholds are known, rosters small enough to count by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import UsageError
from attendance.types import Float32
from lab.measure_card import (
    Lookups,
    build_parser,
    choose_margin,
    list_photos,
    look_up,
    main,
    measure,
    person_impostors,
    split_roster,
    tail_thresholds,
)

SCALE = 0.02


def exponential(count: int) -> np.ndarray:
    """Values whose share above t is exp(-t / SCALE): the cosine is a line in log rate. Rising."""
    share_above = (np.arange(count, 0, -1) - 0.5) / count
    return -SCALE * np.log(share_above)


def test_thresholds_are_those_of_the_distribution_and_its_tail() -> None:
    thresholds, below = tail_thresholds(exponential(600_000))
    assert below == pytest.approx(30 / 600_000)
    for rate, cosine in thresholds.items():
        assert cosine == pytest.approx(-SCALE * np.log(rate), rel=0.02)
    assert list(thresholds.values()) == sorted(thresholds.values())


def test_with_enough_pairs_nothing_is_extrapolated() -> None:
    thresholds, below = tail_thresholds(exponential(400_000), rates=(1e-1, 1e-4))
    assert below is None
    assert thresholds[1e-4] == pytest.approx(-SCALE * np.log(1e-4), rel=1e-2)


def test_the_tail_needs_pairs() -> None:
    with pytest.raises(UsageError, match="at least 300000 impostor pairs, got 1000"):
        tail_thresholds(exponential(1000))


def unit(rows: np.ndarray) -> Float32:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_pairs_are_counted_by_person() -> None:
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(400), 2)
    vectors = unit(rng.normal(size=(400, 16))[people] + 0.3 * rng.normal(size=(800, 16)))
    measured = measure(vectors, people, data="drawn")
    assert measured.genuine.pairs == 400
    assert measured.impostors.pairs == 800 * 799 // 2 - 400
    plain = [float(vectors[i] @ vectors[j]) for i, j in itertools.combinations(range(800), 2) if people[i] == people[j]]
    assert measured.genuine.mean == pytest.approx(np.mean(plain), abs=1e-4)
    assert measured.genuine.quantiles[0.5] == pytest.approx(np.median(plain), abs=1e-4)


def test_the_roster_leaves_nobody_on_both_sides() -> None:
    people = np.array([0] * 3 + [1] * 4 + [2] * 30)
    templates, probes, strangers = split_roster(people)
    assert strangers.tolist() == [0, 1, 2]
    assert templates.tolist() == [3, 4, 7, 8, 9, 10, 11]
    assert probes.tolist() == [5, 6, 12, 13, 14, 15, 16]


def test_a_photo_meets_the_mean_direction_of_everybody_else_with_two_photos_or_more() -> None:
    vectors = unit(np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0.2]], np.float64))
    people = np.array([7, 7, 9, 4, 4])
    seven, four = unit(np.array([[1, 1]], np.float64))[0], unit(vectors[3:].sum(axis=0, dtype=np.float64)[None])[0]
    expected = [vectors[n] @ seven for n in (2, 3, 4)] + [vectors[n] @ four for n in (0, 1, 2)]
    np.testing.assert_allclose(person_impostors(vectors, people), sorted(expected), atol=1e-6)


def test_a_person_is_as_close_as_the_mean_direction_of_their_templates() -> None:
    vectors = unit(np.array([[1, 0], [0, 1], [-1, 0], [1, 0.1], [-1, 0.5]], np.float64))
    people = np.array([7, 7, 9, 7, 4])
    found = look_up(vectors, people, templates=np.array([0, 1, 2]), probes=np.array([3, 4]))
    assert found.right.tolist() == [True, False]
    between = unit(np.array([[1, 1]], np.float64))[0]
    expected = [(vectors[3] @ between, vectors[3] @ vectors[2]), (vectors[4] @ vectors[2], vectors[4] @ between)]
    np.testing.assert_allclose(found.best, [best for best, _ in expected], atol=1e-6)
    np.testing.assert_allclose(found.lead, [best - next_best for best, next_best in expected], atol=1e-6)


def test_the_margin_is_the_widest_that_costs_little() -> None:
    # 1,000 probes above the threshold; 4 lead by 0.012 only, 5 more by 0.022: 0.015 costs 0.4 %, 0.025 costs 0.9 %.
    lead = np.array([0.012] * 4 + [0.022] * 5 + [0.3] * 991)
    known = Lookups(best=np.full(1000, 0.95), lead=lead, right=np.ones(1000, bool))
    assert choose_margin(known, 0.9) == pytest.approx(0.02)
    assert choose_margin(known, 0.99) == pytest.approx(0.5)


def folder(tmp_path: Path) -> Path:
    (tmp_path / "split.csv").write_text("person,half,photos\nb,tune,2\na,tune,1\nc,report,1\n", encoding="utf-8")
    (tmp_path / "errata.csv").write_text("image,fault\nb/b_0002.jpg,doubled\n", encoding="utf-8")
    for name in ("a/a_0001", "b/b_0001", "b/b_0002", "c/c_0001"):
        path = tmp_path / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_one_half_is_listed_without_its_errata(tmp_path: Path) -> None:
    assert [path.name for path in list_photos(folder(tmp_path), "tune")] == ["a_0001.jpg", "b_0001.jpg"]


@pytest.mark.parametrize("broken", ["missing", "half", "columns"])
def test_wrong_use_is_one_line_and_exit_code_2(tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    images = folder(tmp_path)
    arguments = ["--images", str(images), "--store", str(tmp_path / "store")]
    if broken == "missing":
        (images / "split.csv").unlink()
    elif broken == "columns":
        (images / "split.csv").write_text("name,part\n", encoding="utf-8")
    else:
        arguments += ["--half", "third"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "expected" in error


def test_the_help_ends_with_an_example() -> None:
    assert "--half tune --model dlib-resnet29" in build_parser().format_help()
