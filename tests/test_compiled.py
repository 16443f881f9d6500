"""Kernels that are kept on disk: loaded again, and compiled anew where the files are not as they were written."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

KERNEL = """
from attendance.compiled import compiled

@compiled
def twice(number):
    return 2 * number
"""


def loads(source: Path) -> int:
    """How often the kernel comes from the disk when a process meets it for the first time."""
    spec = importlib.util.spec_from_file_location("kernel", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.twice(21) == 42
    return sum(module.twice.stats.cache_hits.values())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(255 - byte for byte in content[middle : middle + 4])
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [cut, overwritten, gone])
def test_a_damaged_kernel_is_compiled_anew_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], ending: str
) -> None:
    source = tmp_path / "kernel.py"
    source.write_text(KERNEL)
    assert [loads(source), loads(source)] == [0, 1]
    [kept] = tmp_path.glob(f"__pycache__/*.{ending}")
    damage(kept)
    with caplog.at_level(logging.WARNING, "attendance.compiled"):
        assert loads(source) == 0
    assert {str(kept) in record.getMessage() for record in caplog.records} == (set() if damage is gone else {True})
    assert loads(source) == 1


def test_another_source_is_compiled_anew(tmp_path: Path) -> None:
    source = tmp_path / "kernel.py"
    source.write_text(KERNEL)
    assert loads(source) == 0
    source.write_text(KERNEL.replace("2 * number", "number + number  # longer"))
    assert loads(source) == 0
