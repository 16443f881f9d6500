"""Cards: what is read is what was written, and every fault is named with file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from attendance.align import dlib_150, facenet_160
from attendance.embed.card import ColourOrder, InputSpec, ModelCard, SimilarityStatistics
from attendance.embed.card_file import card_text, read_card
from attendance.embed.registry import DEFAULT_MODEL, PACKAGED_CARDS
from attendance.errors import ModelError
from attendance.types import Alignment, Float32
from tests.embed.conftest import card

PACKAGED = PACKAGED_CARDS / f"{DEFAULT_MODEL}.yaml"
CONTRACT_KEYS = {"id", "sha256", "format", "input", "alignment", "dimension", "metric", "license", "source"}
MEASURED_KEYS = {"impostors", "genuine", "thresholds"}


def template_of(alignment: Alignment) -> Float32:
    assert alignment.template is not None
    return alignment.template


def same(one: ModelCard, other: ModelCard) -> bool:
    fields = [name for name in ModelCard.__slots__ if name != "alignment"]
    equal = all(getattr(one, name) == getattr(other, name) for name in fields)
    a, b = one.alignment, other.alignment
    points = np.array_equal(a.template, b.template) if a.template is not None and b.template is not None else True
    kinds = (a.kind, a.size_px, a.margin_px, a.template is None) == (b.kind, b.size_px, b.margin_px, b.template is None)
    return equal and points and kinds


def test_the_default_card_carries_what_the_contract_names() -> None:
    values = yaml.safe_load(PACKAGED.read_text(encoding="utf-8"))
    assert set(values) >= CONTRACT_KEYS | MEASURED_KEYS
    assert set(values["input"]) >= {"size_px", "colour_order", "mean", "scale"}


def test_the_default_card_takes_dlibs_chip() -> None:
    model_card = read_card(PACKAGED)
    template = model_card.alignment.template
    assert template is not None and model_card.input.size_px == 150
    # Every padding moves the points on a line: find it from the eyes and check all five.
    eyes = 0.7548 - 0.2255
    padding = (150 * eyes / (float(template[1, 0]) - float(template[0, 0])) - 1) / 2
    assert 0.0 < padding <= 0.3
    assert np.abs(template - template_of(dlib_150(padding))).max() < 1e-3


BOX = card(
    input=InputSpec(160, ColourOrder.BGR, (127.5, 127.5, 127.5), (0.0078125, 0.0078125, 0.0078125), mirror=True),
    alignment=facenet_160(14),
    extrapolated_below=0.05,
    state_key="model_state",
    key_map={"a.": "", "b.": None},
)
MEASURED = card(impostors=SimilarityStatistics(9, "nine pairs", 0.1, 0.2, {1e-3: -0.5, 0.5: 0.1, 0.999: 0.8}))


CARDS = {"default": read_card(PACKAGED), "plain": card(), "box": BOX, "measured": MEASURED}


@pytest.mark.parametrize("written", CARDS.values(), ids=CARDS.keys())
def test_what_is_written_is_read_back(tmp_path: Path, written: ModelCard) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(card_text(written), encoding="utf-8")
    assert same(read_card(path), written)


def edited(tmp_path: Path, **changes: Any) -> Path:
    values = yaml.safe_load(PACKAGED.read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *parents, key = dotted.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[key]
        else:
            place[key] = value
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": 1}, "colour: unknown key; known at the top: id, sha256"),
        ({"input__gamma": 1}, "input.gamma: unknown key"),
        ({"dimension": None}, "dimension: this key is missing"),
        ({"sha256": "ABC"}, "sha256: .*got 'ABC'"),
        ({"id": "../up"}, "id: .*got '../up'"),
        ({"format": "pickle"}, "format: .*got 'pickle'"),
        ({"metric": "euclidean"}, "metric: "),
        ({"strangers__frames": {1: 0.001, 5: 0.002}}, "strangers.frames: what is added must not rise"),
        ({"strangers__per_people": -0.1}, "strangers.per_people: "),
        ({"strangers__people": 3}, "strangers.people: unknown key"),
        ({"input__colour_order": "GRB"}, "input.colour_order: "),
        ({"input__mean": [1.0, float("nan"), 2.0]}, "input.mean.1: "),
        ({"input__scale": [1.0, 2.0]}, "input.scale.2: "),
        ({"alignment__kind": "box"}, "alignment: a similarity needs"),
        ({"alignment__template": None}, "alignment: a similarity needs"),
        ({"alignment__template": [[1.0, 2.0]] * 4}, "alignment.template: "),
        ({"thresholds": {"1e-1": 0.9, "1e-2": 0.8}}, "thresholds: a stricter rate"),
        ({"thresholds": {"often": 0.9}}, "thresholds.often"),
        ({"thresholds": {"2.0": 0.9}}, r"thresholds.2\.0"),
        ({"margin": -0.1}, "margin: "),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_faults_name_the_file_and_the_key(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    path = edited(tmp_path, **changes)
    with pytest.raises(ModelError, match=fault) as caught:
        read_card(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1", "id: [", "\x00"], ids=["empty", "list", "syntax", "binary"])
def test_no_card_at_all_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="expected a") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.yaml"):
        read_card(tmp_path / "none.yaml")
