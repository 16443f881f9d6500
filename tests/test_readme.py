"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, locate

ROOT = Path(__file__).resolve().parent.parent


def test_the_python_example_compares_two_portraits() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    one, other = str(locate(GRACE_HOPPER)), str(locate(EILEEN_COLLINS))

    def similarity(first: str, second: str) -> float:
        command = [sys.executable, "-c", code, first, second]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return float(done.stdout.removeprefix("cosine similarity "))

    assert similarity(one, one) == 1.0
    assert similarity(one, other) < 0.95


def test_every_page_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / target).exists(), target
