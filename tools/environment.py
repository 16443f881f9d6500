"""Makes the environment that the programs run in: torch first and alone, then one lock without dependencies.

Run by the Python that the environment is to have, before anything is installed, so it needs the standard library only:

    python3.11 tools/environment.py .venv requirements/all.lock [--torch-args "OPTIONS FOR PIP"]

Run again, it brings an existing environment up to the lock.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"

# pip compiles every file of every package on one core, which takes longer than all the rest; Python compiles the
# few that are used when they are first imported.
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "-qq")
INSTALL = (*PIP, "install", "--no-compile")

# The packages that fail when something of the machine is missing, imported once: a broken environment shows here.
TRIAL = "import chromadb, numba, numpy, onnxruntime, scipy, skimage, torch"


class SetupError(Exception):
    """The environment cannot be made; the message says what was expected, what came and what to do."""


def pins(requirements: str) -> dict[str, str]:
    """The exact versions that the text of a lock or of constraints.txt names: {name in lower case: version}."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", requirements, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def interpreter(folder: Path) -> Path:
    """The Python of the environment in `folder`."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(folder: Path, lock: Path, *, torch_args: Sequence[str] = ()) -> str | None:
    """Makes or updates the environment in `folder` and returns a note for the operator, or None.

    Raises SetupError where a step fails.
    """
    for file in (CONSTRAINTS, lock):
        if not file.is_file():
            raise SetupError(f"expected the file {file}, found none; take a complete checkout")
    locked, constrained = pins(lock.read_text(encoding="utf-8")), pins(CONSTRAINTS.read_text(encoding="utf-8"))
    python = interpreter(folder)
    if not _has_this_version(python):
        _say(f"making {folder} with Python {sys.version.split()[0]}")
        venv.create(folder, clear=True, with_pip=True)
    # The pip that came with Python may be years old and takes twice as long; setuptools builds the one source package.
    _run(python, *INSTALL, "-c", str(CONSTRAINTS), "pip", "setuptools")
    _say(f"installing torch {constrained['torch']} (minutes, where it is a GPU build that must be fetched)")
    _run(python, *INSTALL, "-c", str(CONSTRAINTS), f"torch=={constrained['torch']}", *torch_args)
    _say(f"installing the {len(locked)} packages of {lock.name}")
    _run(python, *INSTALL, "--no-deps", "--no-build-isolation", "-r", str(lock))
    note = _use_headless_opencv(python, locked["opencv-python"]) if "opencv-python" in locked else None
    _say("importing them for the first time")
    _run(python, "-c", f"{TRIAL}, cv2")
    return note


def _use_headless_opencv(python: Path, version: str) -> str | None:
    """Puts the headless wheel in place of the other one where the machine lacks the libraries of a screen."""
    attempt = subprocess.run([python, "-c", "import cv2"], capture_output=True, text=True, check=False)
    missing = missing_library(attempt.stderr)
    if attempt.returncode == 0 or missing is None:
        return None
    _run(python, *PIP, "uninstall", "--yes", "opencv-python", "opencv-python-headless")
    _run(python, *INSTALL, "--no-deps", f"opencv-python-headless=={version}")
    return (
        f"the window is off: OpenCV's window needs {missing}, which this machine lacks, so opencv-python-headless "
        f"{version} was installed; for a window install the library (Debian: apt install libgl1 libglib2.0-0) and "
        f"delete {python.parent.parent}"
    )


def missing_library(stderr: str) -> str | None:
    """The shared library that an import failed for, such as libGL.so.1, or None where it failed for something else."""
    match = re.search(r"ImportError: (lib[\w.+-]+): cannot open shared object file", stderr)
    return match.group(1) if match else None


def _has_this_version(python: Path) -> bool:
    if not python.exists():
        return False
    question = "import sys, pip; print(sys.version_info[:2])"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == str(sys.version_info[:2])


def _run(python: Path, *args: str) -> None:
    # ONNX Runtime would note the machine for its maker when it is first imported.
    silent = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([python, *args], env=silent, check=False)
    if done.returncode != 0:
        raise SetupError(
            f"expected `{shlex.join([str(python), *args])}` to succeed, it ended with {done.returncode}; "
            "its own message stands above (no network? no room on the disk?), then run the set-up again"
        )


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(prog="environment", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the environment, such as .venv")
    parser.add_argument("lock", type=Path, help="requirements/all.lock or requirements/product.lock")
    parser.add_argument("--torch-args", default="", metavar="OPTIONS", help="more options for pip when it gets torch")
    args = parser.parse_args(argv)
    try:
        note = make_environment(args.folder, args.lock, torch_args=shlex.split(args.torch_args))
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if note is not None:
        _say(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
