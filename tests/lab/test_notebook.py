"""The notebook runs from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "train_and_judge.ipynb"


def test_the_notebook_trains_judges_and_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}: {cell['id']}", "exec"), names)
    assert set(names["judged"]) == {"cosface", "arcface"}
    for name, found in names["judged"].items():
        assert 0.5 < found["auc"] <= 1.0
        assert found["pairs"] == 160 * 159 // 2
        assert (names["root"] / f"{name}.png").stat().st_size > 1000
        assert names["root"].is_relative_to(tmp_path)
