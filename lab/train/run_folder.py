"""A run's folder: the recipe as it was resolved, commit and environment, the log, checkpoints, weights and result."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from attendance.errors import StoreError, UsageError
from lab.train.processes import Processes
from lab.train.recipe import Recipe
from lab.train.recipe_file import first_difference, read_recipe, recipe_text

RECIPE, ENVIRONMENT, LOG, RESULT, WEIGHTS = "recipe.yaml", "environment.json", "log.jsonl", "result.json", "model.pt"
CHECKPOINTS, BOARD = "checkpoints", "tensorboard"
FREE = ("data.workers", "data.cache", "checkpoint_every")
"""Keys that may change when a run is resumed, since no number follows from them."""

WRITTEN = (":!lab/results", ":!lab/README.md", ":!docs", ":!benchmarks/results")
"""Tracked, and written by what runs or about it: with other results a commit is the same code."""

PACKAGES = ("torch", "numpy", "opencv-python", "pillow", "timm", "pydantic")
ROOT = Path(__file__).resolve().parents[2]


class RunFolder:
    """The files of a run. Only the first process writes; the others' calls do nothing."""

    def __init__(self, folder: Path, recipe: Recipe, processes: Processes, *, resume: bool) -> None:
        self.folder, self.writes = folder, processes.first
        self.checkpoints = folder / CHECKPOINTS
        if self.writes:
            self._claim(recipe, resume=resume)
        processes.wait()
        self._log: Any = None
        self._board: Any = None

    def begin(self, log_bytes: int, step: int) -> None:
        """Open the log behind the checkpoint; what a killed run wrote beyond it is dropped."""
        if not self.writes:
            return
        path = self.folder / LOG
        path.touch()
        os.truncate(path, log_bytes)
        self._log = path.open("a", encoding="utf-8")
        from tensorboardX import SummaryWriter

        self._board = SummaryWriter(str(self.folder / BOARD), purge_step=step + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """A line of the log, and its numbers for TensorBoard at its ``step``."""
        if self._log is None:
            return
        self._log.write(json.dumps(row) + "\n")
        for name, value in _numbers(row):
            if name not in ("step", "stage"):
                self._board.add_scalar(name, value, row["step"])

    def show(self) -> None:
        """Let others read what is written so far."""
        if self._log is not None:
            self._log.flush()

    def log_bytes(self) -> int:
        """How long the log is, on the disk."""
        if self._log is None:
            return 0
        self._log.flush()
        os.fsync(self._log.fileno())
        return int(self._log.tell())

    def last(self) -> tuple[float | None, dict[str, Any]]:
        """The last loss and the last judgement in the log."""
        loss: float | None = None
        figures: dict[str, Any] = {}
        if self._log is not None:
            self._log.flush()
            for line in (self.folder / LOG).read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                loss, figures = row.get("loss", loss), row.get("figures", figures)
        return loss, figures

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result."""
        (self.folder / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Close the files."""
        if self._log is not None:
            self._log.close()
            self._board.close()
            self._log = self._board = None

    def _claim(self, recipe: Recipe, *, resume: bool) -> None:
        known, log = self.folder / RECIPE, self.folder / LOG
        # A start that failed before its first step holds nothing that could be lost.
        begun = known.exists() and log.exists() and log.stat().st_size > 0
        if begun and not resume:
            raise UsageError(f"--out {self.folder}: holds a run already; --resume goes on with it, or name another")
        if begun:
            key = first_difference(read_recipe(known), recipe, ignored=FREE)
            if key is not None:
                raise UsageError(
                    f"--resume: the recipe differs from {known} in {key}; resume with the run's own recipe"
                )
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            text = json.dumps(environment(), indent=2) + "\n"
            (self.folder / ENVIRONMENT).write_text(text, encoding="utf-8")
            known.write_text(recipe_text(recipe), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"--out {self.folder}: cannot be written ({error.strerror}): name another") from error


def environment() -> dict[str, str]:
    """When, which commit, on what and with which versions; nothing that names the host or its user."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "begun_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "system": f"{platform.system()} {platform.release()}",
        "processors": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "graphics_card": card,
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _numbers(row: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in row.items():
        name = f"{before}/{key}" if before else key
        if isinstance(value, Mapping):
            found += _numbers(value, name)
        elif isinstance(value, int | float):
            found.append((name, float(value)))
    return found
