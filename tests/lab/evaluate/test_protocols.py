"""Published protocols on small lists made by code, against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attendance import metrics
from attendance.errors import UsageError
from lab.evaluate.degrade import Degradation
from lab.evaluate.distractors import judge_distractors, read_noise
from lab.evaluate.report import Searched, write_report, write_searches
from lab.evaluate.shared import rates_for
from lab.evaluate.streamed import ScoreCounts, all_pairs, counted
from lab.evaluate.templates import count_pairs, fuse, people_of_templates, read_protocol
from lab.evaluate.verification import ScoredPairs, judge_pairs

RNG = np.random.default_rng(5)


def unit(count: int, dimension: int = 8) -> np.ndarray:
    vectors = RNG.normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def photos(people: int, each: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    shown = np.repeat(np.arange(people), each)
    vectors = unit(people)[shown] + spread * unit(people * each)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), shown


def test_counted_pairs_give_the_figures_of_kept_ones() -> None:
    vectors, people = photos(150, 5)
    first, second = np.triu_indices(len(vectors), 1)
    scores = (vectors @ vectors.T)[first, second].astype(np.float64)
    same = people[first] == people[second]
    counts = counted(all_pairs(vectors, people), people=150, resamples=4)
    found, exact = counts.result(), metrics.roc(scores, same)
    assert found["pairs"] == len(scores)
    assert found["auc"] == pytest.approx(metrics.auc(exact), abs=1e-4)
    assert found["eer"] == pytest.approx(metrics.eer(exact), abs=2e-3)
    assert found["tar_at_far"]["1e-3"] == pytest.approx(metrics.tar_at_far(exact, 1e-3), abs=5e-3)
    assert list(found["tar_at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5"]
    draw = counts.draws[2]
    weighted = metrics.roc(scores, same, weights=metrics.pair_weights(draw, people[first], people[second]))
    assert metrics.auc(counts.curve(2)) == pytest.approx(metrics.auc(weighted), abs=1e-4)


def test_finer_rates_are_given_where_the_pairs_allow_them() -> None:
    assert rates_for(3000) == (1e-1, 1e-2, 1e-3)
    assert rates_for(10**8)[-1] == 1e-8
    count = 20_000
    scores = np.concatenate([np.linspace(-0.5, 0.5, count), [0.9] * 10])
    same = np.arange(count + 10) >= count
    place = np.arange(count + 10)
    result = judge_pairs(ScoredPairs(scores, same, place % 2, place, place, count + 10), resamples=2)
    assert list(result["tar_at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4"]


def write_lists(folder: Path) -> None:
    (folder / "ijbc_face_tid_mid.txt").write_text("1.jpg 7 1\n2.jpg 7 2\n3.jpg 7 2\n4.jpg 9 3\n5.jpg 12 4\n", "utf-8")
    (folder / "ijbc_template_pair_label.txt").write_text("7 9 1\n7 12 0\n9 12 0\n", "utf-8")


def test_a_template_is_the_direction_of_its_media(tmp_path: Path) -> None:
    write_lists(tmp_path)
    protocol = read_protocol(tmp_path, "ijbc")
    vectors = unit(5)
    vectors[4] = 0.0  # not read
    names, fused = fuse(vectors, protocol.templates, protocol.media)
    wanted = vectors[0] + (vectors[1] + vectors[2]) / 2
    assert names.tolist() == [7, 9, 12]
    assert fused[0] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)
    assert not fused[2].any()
    assert people_of_templates(protocol, names).tolist() == [0, 0, 1]
    counts = ScoreCounts()
    count_pairs(protocol, vectors, counts)
    curve = counts.curve()
    assert curve.far[np.isfinite(curve.thresholds)][-1] in (0.0, 1.0)
    assert (counts.pairs, counts.different) == (3, 2)


def test_a_faulty_list_is_named_with_its_line(tmp_path: Path) -> None:
    write_lists(tmp_path)
    (tmp_path / "ijbc_face_tid_mid.txt").write_text("1.jpg 7 1\n2.jpg seven 2\n", "utf-8")
    with pytest.raises(UsageError, match=r"ijbc_face_tid_mid.txt: line 2"):
        read_protocol(tmp_path, "ijbc")
    with pytest.raises(UsageError, match="expected a readable list"):
        read_protocol(tmp_path, "ijbb")


def test_rank_one_needs_the_own_person_before_every_distractor() -> None:
    probes, people = photos(12, 3)
    others = unit(300)
    result = judge_distractors(probes, people, others, resamples=5)
    right, total = 0, 0
    for one in range(36):
        for two in range(36):
            if one != two and people[one] == people[two]:
                total += 1
                right += probes[one] @ probes[two] > max(float(probes[two] @ other) for other in others)
    assert (result["probes"], result["distractors"]) == (total, 300)
    assert result["rank1"] == pytest.approx(right / total)
    own = np.array([probes[i] @ probes[j] for i in range(36) for j in range(36) if i != j and people[i] == people[j]])
    exact = metrics.roc(np.concatenate([own, (probes @ others.T).ravel()]), np.arange(total + 36 * 300) < total)
    assert result["tar_at_far"]["1e-2"] == pytest.approx(metrics.tar_at_far(exact, 1e-2), abs=1e-9)
    low, high = result["intervals"]["rank1"]
    assert low <= high


def test_noise_lists_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("p/1.jpg\n# a comment\n\n", "utf-8")
    (tmp_path / "b").write_text("q/2.jpg\n", "utf-8")
    assert read_noise([tmp_path / "a", tmp_path / "b"]) == {"p/1.jpg", "q/2.jpg"}


def test_a_degraded_face_is_coarser_and_as_large() -> None:
    chip = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    coarse = Degradation(8).of(chip)
    assert coarse.shape == chip.shape
    assert np.abs(np.diff(coarse.astype(int), axis=0)).mean() < np.abs(np.diff(chip.astype(int), axis=0)).mean() / 3


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    scores = RNG.uniform(-0.2, 0.9, 60)
    result = {"auc": 0.5, "tar_at_far": {"1e-1": 0.25}, "intervals": {"auc": [0.4, 0.6], "tar_at_far": {}}}
    write_report(tmp_path / "r.html", "a <model>", [(result, scores, np.arange(60) % 2 == 0)])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "a &lt;model&gt;" in page and "0.40000 to 0.60000" in page and "tar_at_far 1e-1<td>0.25000" in page
    assert 'src="data:image/png;base64,' in page and "http" not in page
    searched = Searched(np.array([0.9, 0.4]), np.array([1, 0]), np.array([0.3]), 5)
    write_searches(tmp_path / "r.html", "searches", [({"top1": 0.5}, searched)])
    assert "top1<td>0.50000" in (tmp_path / "r.html").read_text(encoding="utf-8")
