"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, locate

ROOT = Path(__file__).resolve().parent.parent


def test_the_python_example_compares_two_portraits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    program = compile(code, "README.md", "exec")
    one, other = str(locate(GRACE_HOPPER)), str(locate(EILEEN_COLLINS))

    def similarity(first: str, second: str) -> float:
        monkeypatch.setattr(sys, "argv", ["-c", first, second])
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(program, names)
        return float(capsys.readouterr().out.removeprefix("cosine similarity "))

    assert similarity(one, one) == 1.0
    assert similarity(one, other) < 0.95


def test_every_page_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / target).exists(), target
