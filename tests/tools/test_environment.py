"""The script that makes environments: what can be known without installing anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment


def test_pins_reads_exact_versions_only() -> None:
    text = (
        '# comment\n--only-binary :all:\nNumPy==2.4.6\nuvloop==0.23.0 ; sys_platform != "win32"\nfree\nface_models==1\n'
    )
    assert environment.pins(text) == {"numpy": "2.4.6", "uvloop": "0.23.0", "face-models": "1"}


@pytest.mark.parametrize(
    ("stderr", "library"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "libGL.so.1"),
        ("ImportError: libgthread-2.0.so.0: cannot open shared object file: No such file", "libgthread-2.0.so.0"),
        ("ModuleNotFoundError: No module named 'cv2'", None),
        ("ImportError: numpy.core.multiarray failed to import", None),
        ("", None),
    ],
)
def test_a_missing_library_is_told_from_other_failures(stderr: str, library: str | None) -> None:
    assert environment.missing_library(stderr) == library


def test_a_missing_lock_is_one_line(tmp_path: Path) -> None:
    script = environment.ROOT / "tools" / "environment.py"
    command = [sys.executable, str(script), str(tmp_path / "env"), str(tmp_path / "none.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "none.lock" in done.stderr
    assert not (tmp_path / "env").exists()


def test_the_script_needs_the_standard_library_only() -> None:
    script = environment.ROOT / "tools" / "environment.py"
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(script), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def make(*args: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *args]
    return subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def other_python(tmp_path: Path) -> Path:
    """A stand-in for an interpreter that is too old: it fails whatever it is asked."""
    script = tmp_path / "python3.8"
    script.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_a_wrong_python_is_one_line_that_says_what_to_do(tmp_path: Path, other_python: Path) -> None:
    for python in (other_python, tmp_path / "nowhere"):
        done = make(
            "-o", "requirements/all.lock", f"VENV={tmp_path}/env", f"PYTHON={python}", f"{tmp_path}/env/installed"
        )
        assert done.returncode == 2
        ours = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert len(ours) == 1
        assert "expected Python 3.11" in ours[0]
        assert str(python) in ours[0]
        assert "PYTHON=" in ours[0]


def test_help_names_every_target_that_a_user_may_call() -> None:
    listed = make("help").stdout
    for target in ("setup", "demo", "test", "check", "bench", "clean", "help"):
        assert f"make {target} " in listed
