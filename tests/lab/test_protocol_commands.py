"""``python -m lab evaluate published|templates|distractors`` as their user runs them, against plain loops."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance.embed.port import Embedder
from attendance.embed.registry import find_card, load_embedder
from attendance.types import RGBImage
from lab.__main__ import main
from lab.data.source import fitted
from lab.evaluate.degrade import Degradation
from tests.lab.made_people import made_folder, made_photo, png

PEOPLE = 6
Pairs = list[tuple[tuple[int, int], tuple[int, int]]]
Vectors = dict[tuple[int, int], np.ndarray]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People made by code, three crops of each, and a store that keeps the converted weights."""
    root = tmp_path_factory.mktemp("protocols")
    made_folder(root / "crops", people=PEOPLE, photos=3)
    return root


@pytest.fixture(scope="module")
def embedder(root: Path) -> Embedder:
    """The model, without the lab."""
    models = root / "store" / "models"
    models.mkdir(parents=True)
    return load_embedder(find_card("dlib-resnet29", models), device="cpu", threads=1, models_dir=models)


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> Vectors:
    """What the model makes of each crop."""
    return embedded(embedder, lambda chip: chip)


def embedded(embedder: Embedder, change: Callable[[RGBImage], RGBImage]) -> Vectors:
    """The unit vector of every crop, changed first."""
    names = [(person, number) for person in range(PEOPLE) for number in range(3)]
    chips = np.stack([change(fitted(made_photo(*name), embedder.card.input.size_px)) for name in names])
    return dict(zip(names, embedder.embed(chips).astype(np.float64), strict=True))


def judged(root: Path, kind: str, *flags: str) -> tuple[dict[str, Any], str]:
    """The command's result and its report."""
    outputs = ["--store", str(root / "store"), "--json", str(root / "r.json"), "--report", str(root / "r.html")]
    assert main(["evaluate", kind, *flags, *outputs, "--quiet"]) == 0
    return json.loads((root / "r.json").read_text("utf-8")), (root / "r.html").read_text("utf-8")


def share_above(own: list[float], others: list[float]) -> float:
    """The chance that a same pair outscores a different one: the area under the curve, pair by pair."""
    return float(np.mean([(one > other) + 0.5 * (one == other) for one in own for other in others]))


def pairs_of_a_set() -> tuple[Pairs, Pairs]:
    same: Pairs = [((person, 0), (person, number)) for person in range(PEOPLE) for number in (1, 2)]
    different: Pairs = [((person, 1), ((person + step) % PEOPLE, 2)) for person in range(PEOPLE) for step in (1, 2)]
    return same, different


def test_published_sets_with_the_second_of_each_pair_degraded(root: Path, embedder: Embedder, vectors: Vectors) -> None:
    same, different = pairs_of_a_set()
    mixed = [pair for both in zip(same, different, strict=True) for pair in both]  # every fold has both kinds
    crops = [png(*name) for pair in mixed for name in pair]
    (root / "set.bin").write_bytes(pickle.dumps((crops, [True, False] * len(same))))
    result, page = judged(root, "published", str(root / "set.bin"), "--degrade-second", "8")
    coarse = embedded(embedder, Degradation(8).of)
    own, others = ([float(vectors[one] @ coarse[two]) for one, two in pairs] for pairs in (same, different))
    assert result["set"]["pairs"] == 24 and result["set"]["auc"] == pytest.approx(share_above(own, others))
    assert max(np.abs(coarse[name] - vectors[name]).max() for name in vectors) > 0.01
    assert "<td>set<" in page and page.count("data:image/png") == 1


def test_templates(root: Path, vectors: Vectors) -> None:
    """Template p holds photos 0 and 1 of person p, which are one medium; template 10 + p holds photo 2."""
    rows = []
    for person in range(PEOPLE):
        folder = f"person-{person:02d}"
        rows += [f"{folder}/{n:02d}.png {person} 1" for n in (0, 1)] + [f"{folder}/02.png {10 + person} 2"]
    (root / "ijbc_face_tid_mid.txt").write_text("\n".join(rows) + "\n", "utf-8")
    pairs = [(one, two) for one in range(PEOPLE) for two in range(PEOPLE)]
    lines = [f"{one} {10 + two} {int(one == two)}" for one, two in pairs]
    (root / "ijbc_template_pair_label.txt").write_text("\n".join(lines) + "\n", "utf-8")
    flags = ["--protocol", str(root), "--images", str(root / "crops"), "--aligned", "--resamples", "5"]
    result, page = judged(root, "templates", *flags)
    scores = {}
    for one, two in pairs:
        both = vectors[one, 0] + vectors[one, 1]
        scores[one, two] = float(both @ vectors[two, 2] / np.linalg.norm(both))
    own = [score for (one, two), score in scores.items() if one == two]
    others = [score for (one, two), score in scores.items() if one != two]
    assert (result["pairs"], result["templates"], result["failed_reads"]) == (36, 12, 0)
    assert result["auc"] == pytest.approx(share_above(own, others), abs=1e-3)  # equal within a bin
    assert "dlib-resnet29: ijbc" in page and page.count("data:image/png") == 1


def test_distractors_and_noise_lists(root: Path, vectors: Vectors) -> None:
    made_folder(root / "others", people=2, photos=3)
    (root / "noise.txt").write_text("person-01/00.png\nperson-05/02.png\n", "utf-8")
    flags = ["--probes", str(root / "crops"), "--distractors", str(root / "others"), "--aligned"]
    result, page = judged(root, "distractors", *flags, "--noise", str(root / "noise.txt"))
    noise = {(1, 0), (5, 2)}
    probes = [name for name in vectors if name not in noise]
    against = [vectors[person, number] for person in range(2) for number in range(3) if (person, number) not in noise]
    right = [
        vectors[one] @ vectors[two] > max(float(vectors[two] @ other) for other in against)
        for one in probes
        for two in probes
        if one != two and one[0] == two[0]
    ]
    assert (result["probes"], result["distractors"]) == (len(right), 5)
    assert result["rank1"] == pytest.approx(np.mean(right))
    assert "dlib-resnet29: others" in page and "rank1" in page and page.count("data:image/png") == 1
