"""ONNX Runtime's door: nothing is told to anybody, and what a model has is what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attendance.onnx_runtime import TELEMETRY_SWITCH, Port

ROOT = Path(__file__).parent.parent


def test_a_model_run_writes_nothing_into_a_fresh_home(tmp_path: Path) -> None:
    code = """
import numpy as np
from attendance.onnx_runtime import OnnxModel
from tests.embed.onnx_file import channel_means
model = OnnxModel("model tiny", channel_means(np.eye(3, dtype=np.float32), side=8), device="cpu", threads=1)
print(model.run({"x": np.ones((2, 3, 8, 8), np.float32)})[0].shape)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "(2, 3)\n"), ran.stderr
    assert list(tmp_path.rglob("*")) == []


def test_whatever_imports_it_is_told_to_be_silent_first() -> None:
    """Every import of the package in the programs' own code lies behind the switch."""
    importers = [
        path
        for folder in ("attendance", "lab", "benchmarks", "demo", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if "import onnxruntime" in (text := path.read_text(encoding="utf-8")) or "onnxruntime," in text
    ]
    assert {path.relative_to(ROOT).as_posix() for path in importers} >= {"attendance/onnx_runtime.py"}
    for path in importers:
        assert TELEMETRY_SWITCH in path.read_text(encoding="utf-8"), f"{path} imports onnxruntime without the switch"


def test_the_container_is_silent() -> None:
    assert f"{TELEMETRY_SWITCH}=1" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("shape", "sizes", "fits"),
    [
        (("n", 3, 8, 8), (None, 3, 8, 8), True),
        ((1, 3, 8, 8), (None, 3, 8, 8), True),
        ((None, 3, "h", "w"), (None, 3, 8, 8), True),
        ((1, 8, 8, 3), (None, 3, 8, 8), False),
        ((1, 3, 8), (None, 3, 8, 8), False),
    ],
)
def test_fits_what_is_open_or_equal(
    shape: tuple[int | str | None, ...], sizes: tuple[int | None, ...], fits: bool
) -> None:
    assert Port("x", "tensor(float)", shape).fits(*sizes) is fits
    assert not Port("x", "tensor(uint8)", shape).fits(*sizes)
