"""The 1:N protocol on lists made by hand, against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attendance import metrics
from attendance.errors import UsageError
from lab.evaluate.template_search import Answers, Listed, judge_searches, look_up, read_searches

RNG = np.random.default_rng(3)


def listed(templates: list[int], subjects: list[int]) -> Listed:
    return Listed(np.array(templates), np.array(subjects))


def write(folder: Path, name: str, *rows: str) -> None:
    text = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n" + "".join(f"{row}\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def test_the_lists_are_read_template_by_template(tmp_path: Path) -> None:
    write(tmp_path, "ijbb_1N_gallery_S1.csv", "5,100,img/1.jpg,9", "5,100,frames/2.jpg,10", "7,101,img/3.jpg,11")
    write(tmp_path, "ijbb_1N_gallery_S2.csv", "8,102,img/4.jpg,12")
    write(tmp_path, "ijbb_1N_probe_mixed.csv", "20,100,img/5.jpg,13", "21,102,img/6.jpg,14")
    galleries, probes = read_searches(tmp_path, "ijbb")
    assert [*galleries] == ["S1", "S2"]
    assert (galleries["S1"].templates.tolist(), galleries["S1"].subjects.tolist()) == ([5, 7], [100, 101])
    assert (probes.templates.tolist(), probes.subjects.tolist()) == ([20, 21], [100, 102])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["5,100,a", "six,100,a"], "line 3: expected template,subject"),
        (["5,100,a", "5,101,b"], "line 3: template 5 shows another subject"),
        ([], "expected templates below the first line"),
    ],
)
def test_a_faulty_list_is_named_with_its_line(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r"expected ijbc_1N_gallery_G1\.csv"):
        read_searches(tmp_path, "ijbc")
    write(tmp_path, "ijbc_1N_gallery_G1.csv", *rows)
    with pytest.raises(UsageError, match=message):
        read_searches(tmp_path, "ijbc")


def test_answers_are_those_of_a_plain_loop() -> None:
    people, numbers = 9, np.arange(100, 130)
    shown = np.array([*range(people), 0, 1, *(n % (people + 3) for n in range(19))])
    means = RNG.normal(size=(people + 3, 8))
    vectors = means[shown] + 0.8 * RNG.normal(size=(30, 8))
    fused = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    fused[[3, 15]] = 0.0  # a gallery template and a probe of which nothing was read
    gallery, probes = Listed(numbers[:11], shown[:11]), Listed(numbers[11:], shown[11:])
    answers = look_up(numbers, fused, gallery, probes)
    for place, who in enumerate(probes.subjects):
        scores: dict[int, float] = {}
        for template, owner in zip(fused[:11], gallery.subjects, strict=True):
            if template.any() and fused[11 + place].any():
                scores[owner] = max(scores.get(owner, -1.0), float(fused[11 + place] @ template))
        ordered = sorted(scores, key=lambda owner: -scores[owner])
        assert answers.known[place] == (who < people)
        assert answers.ranks[place] == (ordered.index(who) + 1 if who in ordered else 0)
        assert answers.best[place] == pytest.approx(max(scores.values(), default=metrics.FAILED), abs=1e-6)
    with pytest.raises(UsageError, match="template 999 of the lists has no face"):
        look_up(numbers, fused, gallery, listed([999], [1]))


def test_figures_are_means_over_the_galleries() -> None:
    probes = listed([1, 2, 3, 4], [10, 11, 12, 13])
    known = np.array([True, True, False, False])
    one = Answers(np.array([0.9, 0.8, 0.3, 0.2]), np.array([1, 2, 0, 0]), known)
    two = Answers(np.array([0.9, 0.1, 0.8, 0.7]), np.array([0, 0, 1, 1]), ~known)
    result = judge_searches({"G1": one, "G2": two}, probes, resamples=20)
    assert (result["galleries"]["G1"]["top1"], result["galleries"]["G1"]["top5"]) == (0.5, 1.0)
    assert result["galleries"]["G1"]["fnir_at_fpir"]["1e-1"] == 0.5
    # In G2 a stranger reaches 0.9: nobody is found above it.
    assert result["galleries"]["G2"]["fnir_at_fpir"]["1e-1"] == 1.0
    assert (result["top1"], result["fnir_at_fpir"]["1e-1"], result["probes"]) == (0.75, 0.75, 4)
    low, high = result["intervals"]["top1"]
    assert low <= 0.75 <= high
    with pytest.raises(UsageError, match="gallery G1: expected probes of people in it and of others"):
        judge_searches({"G1": Answers(one.best, one.ranks, np.ones(4, dtype=bool))}, probes)
