"""Scores and results of both evaluations against hand-made cases, with readers that know their answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from attendance.config import Settings
from attendance.decide import Rule
from attendance.errors import UsageError
from attendance.stills import Reading
from attendance.types import Candidate, RefusalReason
from lab.command import Context
from lab.evaluate.identification import Looked, judge_lookups, list_photos
from lab.evaluate.pair_layouts import Pair
from lab.evaluate.shared import rate_key
from lab.evaluate.verification import judge_pairs, score_pairs
from lab.read import Failure, read_vectors

CONTEXT = Context(settings=Settings(), quiet=True, json_target=None)


class AnglesReader:
    """A photo named ``<degrees>.jpg`` is the unit vector of that angle; any other name holds no face."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        for path in paths:
            self.seen.append(path.name)
            if not path.stem.lstrip("-").isdigit():
                yield Reading(path, "", None, None, RefusalReason.NO_FACE, "no face was found")
                continue
            angle = np.deg2rad(float(path.stem))
            yield Reading(path, "", np.array([np.cos(angle), np.sin(angle)], np.float32), None, None, "")


def score(pairs: list[Pair]) -> tuple[list[float], AnglesReader]:
    reader = AnglesReader()
    images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
    read = read_vectors(reader, [Path(image) for image in images], 2)
    return list(score_pairs(pairs, images, read).scores), reader


def test_scores_are_cosines_and_each_photo_is_read_once() -> None:
    pairs = [
        Pair("0.jpg", "60.jpg", True, "0"),
        Pair("0.jpg", "90.jpg", False, "0"),
        Pair("60.jpg", "90.jpg", False, "1"),
        Pair("0.jpg", "blank.jpg", True, "1"),
        Pair("0.jpg", "180.jpg", False, "1"),
    ]
    scores, reader = score(pairs)
    assert scores[:3] == pytest.approx([0.5, 0.0, np.sqrt(3) / 2], abs=1e-6)
    assert scores[3] == -1.0
    assert -1.0 < scores[4] < -0.999
    assert sorted(reader.seen) == sorted(set(reader.seen))


def judged(pairs: list[Pair]) -> dict[str, object]:
    images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
    read = read_vectors(AnglesReader(), [Path(image) for image in images], 2)
    return judge_pairs(score_pairs(pairs, images, read), resamples=50)


def separable(failed: int = 0) -> list[Pair]:
    """Ten folds of two same and two different pairs that 45 degrees separate; ``failed`` photos of same pairs blank."""
    pairs = []
    for fold in range(10):
        for person in (2 * fold, 2 * fold + 1):
            other = f"blank{person}.jpg" if person < failed else f"{person + 1}.jpg"
            pairs.append(Pair(f"p{person}/{person}.jpg", f"p{person}/{other}", True, str(fold)))
            pairs.append(Pair(f"p{person}/{person}.jpg", f"q{person}/{person + 90}.jpg", False, str(fold)))
    return pairs


def test_a_perfect_model_has_perfect_figures_and_the_contracts_keys() -> None:
    result = judged(separable())
    assert set(result) == {
        "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "pairs", "failed_pairs", "intervals"
    }  # fmt: skip
    assert (result["accuracy"], result["accuracy_std"], result["auc"], result["eer"]) == (1.0, 0.0, 1.0, 0.0)
    assert result["tar_at_far"] == {"1e-1": 1.0, "1e-2": 1.0, "1e-3": 1.0}
    assert (result["pairs"], result["failed_pairs"]) == (40, 0)
    assert result["intervals"] == {
        "accuracy": [1.0, 1.0],
        "auc": [1.0, 1.0],
        "eer": [0.0, 0.0],
        "tar_at_far": {"1e-1": [1.0, 1.0], "1e-2": [1.0, 1.0], "1e-3": [1.0, 1.0]},
    }


def test_same_pairs_with_a_failed_read_are_lost() -> None:
    result = judged(separable(failed=4))
    assert result["failed_pairs"] == 4
    assert result["accuracy"] == pytest.approx(36 / 40)
    assert result["tar_at_far"] == {"1e-1": 0.8, "1e-2": 0.8, "1e-3": 0.8}


def looked(*rows: tuple[str, list[tuple[str, float]]]) -> Looked:
    return Looked(
        people=tuple(person for person, _ in rows),
        candidates=tuple(tuple(Candidate(who, similarity) for who, similarity in found) for _, found in rows),
        failures=tuple(Failure(Path(person), "no_face", "") for person, found in rows if not found),
    )


KNOWN = looked(
    ("a", [("a", 0.95), ("b", 0.50)]),  # accepted and right
    ("a", [("a", 0.90), ("b", 0.89)]),  # asked: the lead is too small
    ("b", [("a", 0.85), ("b", 0.60)]),  # accepted as somebody else
    ("b", [("b", 0.70), ("a", 0.10)]),  # refused: below the threshold
    ("b", []),  # not read
)
STRANGERS = looked(
    ("x", [("a", 0.92), ("b", 0.10)]),  # accepted
    ("x", [("a", 0.86), ("b", 0.855)]),  # asked
    ("y", [("b", 0.40), ("a", 0.10)]),  # refused
    ("z", []),  # not read
)
RULE = Rule(threshold=0.8, margin=0.02)


def test_identification_by_hand() -> None:
    result = judge_lookups(KNOWN, STRANGERS, RULE, resamples=50)
    assert set(result) == {
        "top1", "top3", "top5", "probes", "strangers", "failed_reads", "fnir_at_fpir", "fnir", "fpir", "threshold",
        "intervals",
    }  # fmt: skip
    assert (result["top1"], result["top3"], result["top5"]) == pytest.approx((0.6, 0.8, 0.8))
    assert (result["probes"], result["strangers"], result["failed_reads"]) == (5, 4, 2)
    assert (result["fnir"], result["fpir"], result["threshold"]) == pytest.approx((0.8, 0.25, 0.8))
    # No stranger may be accepted at these rates: only what beats 0.92 is found.
    assert result["fnir_at_fpir"] == pytest.approx({"1e-1": 0.8, "1e-2": 0.8, "1e-3": 0.8})
    intervals = result["intervals"]
    assert intervals["top1"][0] <= 0.6 <= intervals["top1"][1]
    assert set(intervals) == {"top1", "top3", "top5", "fnir_at_fpir", "fnir", "fpir"}


def test_without_strangers_what_needs_them_is_no_number() -> None:
    result = judge_lookups(KNOWN, Looked((), (), ()), RULE, resamples=10)
    assert result["strangers"] == 0
    assert np.isnan(result["fpir"])
    assert all(np.isnan(value) for value in result["fnir_at_fpir"].values())
    assert result["fnir"] == pytest.approx(0.8)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def test_photos_are_listed_by_person_and_a_broken_link_stays_in_the_count(tmp_path: Path) -> None:
    root = touch(tmp_path, "b/2.jpg", "b/1.JPG", "a/1.png", "a/notes.txt")
    (root / "a" / "0.jpg").symlink_to(root / "a" / "0.jpg")
    listed = list_photos(root, "--probes")
    assert [path.name for path in listed.paths] == ["1.png", "1.JPG", "2.jpg"]
    assert listed.people == ("a", "b", "b")
    assert listed.broken_people == ("a",)
    assert [failure.reason for failure in listed.broken] == ["link_loop"]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--gallery .* got no photo"):
        list_photos(touch(tmp_path, "a/notes.txt"), "--gallery")


def test_rates_are_named_as_the_contract_names_them() -> None:
    assert [rate_key(rate) for rate in (1e-1, 1e-2, 1e-3, 2e-3, 1e-6)] == ["1e-1", "1e-2", "1e-3", "2e-3", "1e-6"]
