"""The script that makes environments: what can be known without installing anything."""

import subprocess
import sys
import venv
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


def test_a_lock_is_halved_without_what_comes_otherwise() -> None:
    text = '# made\n--only-binary :all:\na==1\nB_c==2 ; sys_platform != "win32"\nd==3\ntorch==4\ne==5\n'
    assert environment.halves_of(text, without={"torch", "a"}) == (
        '--only-binary :all:\nB_c==2 ; sys_platform != "win32"\ne==5\n',
        "--only-binary :all:\nd==3\n",
    )


def test_packages_of_the_version_wanted_are_linked(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        venv.create(folder)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    there, here = (folder / "lib" / version / "site-packages" for folder in (one, two))
    for name, files in (("a_b", ["a/x.py", "../../../bin/a"]), ("old", ["old.py"]), ("nvidia-x", ["nv.py"])):
        record = there / f"{name}-1.0+cpu.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0+cpu\n", encoding="utf-8")
        (record / "RECORD").write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
        for file in files:
            (there / file).parent.mkdir(parents=True, exist_ok=True)
            (there / file).write_text("value = 1\n", encoding="utf-8")
    assert environment.link_packages(one, two, {"a-b": "1.0", "old": "0.9"}) == 2
    assert sorted(str(path.relative_to(here)) for path in here.rglob("*.py")) == ["a/x.py", "nv.py"]
    assert (here / "a" / "x.py").samefile(there / "a" / "x.py")
    assert not (two / "bin" / "a").exists()
