"""Sentences and claims say what the rows hold: who is better, what cannot be told, who diverged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lab.experiments.findings import claim_lines, sentences
from lab.experiments.page import Board, page_lines
from lab.experiments.plan import Experiment
from lab.experiments.results import Results

PAIRS, PEOPLE = 400, 200
CONDITION = "at dusk"


def right(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(PAIRS) < share


def row(name: str, correct: np.ndarray | None, *, known: float = 1.0, dusk: np.ndarray | None = None) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": f"t/{name}/seed-0", "experiment": "t", "row": name, "seed": 0, "fingerprint": "f"}
    plain |= {"steps": 9, "train_accuracy": known, "diverged": correct is None}
    if correct is not None:
        figures = {"accuracy": [correct.mean() - 0.03, correct.mean() + 0.03]}
        plain |= {"pairs": {"accuracy": float(correct.mean()), "intervals": figures}, "right": packed(correct)}
    if dusk is not None:
        told = {"accuracy": float(dusk.mean()), "interval": [0.0, 1.0], "right": packed(dusk)}
        plain["cross"] = {CONDITION: told}
    return plain


def packed(correct: np.ndarray) -> str:
    return np.packbits(correct).tobytes().hex()


def board(folder: Path, claims: list[dict[str, Any]], rows: list[dict[str, Any]]) -> tuple[Board, Experiment]:
    results = Results(folder)
    for one in rows:
        results.append(one)
    results.keep_people(list(range(PAIRS // 2)) * 2, [(i + 1) % PEOPLE for i in range(PAIRS // 2)] * 2, PEOPLE)
    entries = [{"name": name, "label": name.upper()} for name in ("good", "twin", "poor", "gone", "pending")]
    told = {"title": "T", "order": 1, "about": "a", "recipe": "r", "minutes": 1.0, "against": "twin", "rows": entries}
    experiment = Experiment.model_validate({**told, "claims": claims})
    return Board({"t": experiment}, results, {one["name"]: "f" for one in rows}), experiment


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    good, twin = right(0.9, 0), right(0.9, 0)
    twin[:4] = ~twin[:4]
    return [
        row("good", good, dusk=right(0.9, 1)),
        row("twin", twin, dusk=right(0.5, 2)),
        row("poor", right(0.6, 3), known=0.2),
        row("gone", None),
    ]


def test_sentences_name_best_and_worst_and_what_cannot_be_told(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    text = " ".join(sentences(*_named(board(tmp_path, [], rows))))
    assert "Highest is GOOD with " in text or "Highest is TWIN with " in text
    assert ", lowest POOR with " in text and "those of POOR do not" in text
    assert "Better than TWIN: none. Worse: POOR. 1 of 2 cannot be told from it." in text
    assert "Of 4 runs 1 of GONE diverged" in text and "their own training faces know 1 of POOR" in text
    assert "PENDING" not in text


def test_rows_that_judge_every_pair_alike_are_told_so(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    same = [rows[0], row("twin", right(0.9, 0))]
    kept, experiment = board(tmp_path, [], same)
    told = " ".join(sentences(kept, "t", experiment))
    assert "TWIN, the second, judges every pair as GOOD does." in told


def test_where_all_are_apart_or_nothing_was_learnt_it_is_said_once(tmp_path: Path) -> None:
    few = [
        row("good", right(0.95, 0), known=0.1),
        row("twin", right(0.7, 1), known=0.2),
        row("poor", right(0.5, 2), known=0.3),
    ]
    kept, experiment = board(tmp_path, [], few)
    told = " ".join(sentences(kept, "t", experiment))
    assert "None of the other 2 intervals overlaps with that of GOOD." in told
    assert "none knows half of its own training faces." in told


@pytest.mark.parametrize(
    ("claim", "what", "verdict"),
    [
        ({"better": "good", "than": "poor"}, "points", "yes"),
        ({"better": "poor", "than": "good"}, "points", "no, the opposite"),
        ({"better": "good", "than": "twin"}, "points", "cannot be told"),
        ({"better": "good", "than": 0.8}, "GOOD", "yes"),
        ({"better": "good", "than": 0.9}, "GOOD", "cannot be told"),
        ({"better": "poor", "than": 0.8}, "POOR", "no, the opposite"),
        ({"better": "good", "than": "twin", "degraded": True}, "points", "yes"),
        ({"better": "good", "than": "gone", "converges": True}, "GOOD converged in 1 of 1 runs, GONE in 0 of 1", "yes"),
        ({"better": "good", "than": "poor", "converges": True}, "POOR in 0 of 1", "yes"),
        ({"better": "good", "than": "twin", "converges": True}, "TWIN in 1 of 1", "no: both converge"),
        ({"better": "poor", "than": "twin", "converges": True}, "POOR converged in 0 of 1", "no"),
        ({"better": "good", "than": "gone"}, "one of the two has no accuracy", ""),
        ({"better": "pending", "than": "good"}, "not run yet", ""),
    ],
)
def test_a_claim_is_held_against_the_rows(
    tmp_path: Path, rows: list[dict[str, Any]], claim: dict[str, Any], what: str, verdict: str
) -> None:
    *_, line = claim_lines(*_named(board(tmp_path, [{"say": "so it is said", **claim}], rows)))
    said, here, shown = (cell.strip() for cell in line.strip("|").split("|"))
    assert said == ("so it is said: at dusk" if claim.get("degraded") else "so it is said")
    assert what in here and shown == verdict


def test_a_claim_about_a_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="nobody"):
        board(tmp_path, [{"say": "s", "better": "good", "than": "nobody"}], [])
    with pytest.raises(ValidationError, match="a row to compare"):
        board(tmp_path, [{"say": "s", "better": "good", "than": 0.5, "converges": True}], [])


def test_nothing_is_said_of_what_was_not_run(tmp_path: Path) -> None:
    made, experiment = board(tmp_path, [{"say": "s", "better": "good", "than": "poor"}], [])
    assert sentences(made, "t", experiment) == []
    assert "| s | not run yet |  |" in page_lines(made, [])


def _named(made: tuple[Board, Experiment]) -> tuple[Board, str, Experiment]:
    return made[0], "t", made[1]
