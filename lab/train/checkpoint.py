"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attendance.errors import ModelError, StoreError
from lab.train.atomic import flush_folder, save_atomically
from lab.train.ema import Ema
from lab.train.processes import Processes
from lab.train.weights import read_tensors

FORMAT = "lab-checkpoint-1"
KEPT = 2
"""The last so many are kept; the last of all may be damaged by a failing disk."""

_NAME = re.compile(r"step-(\d+)")


@dataclass(slots=True)
class Progress:
    """Where a run stands: ``step`` steps of stage ``stage`` are done, ``total`` of the whole run.

    ``log_bytes`` is how long the log was then. The samplers need no more: they are functions of the step.
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    log_bytes: int = 0


@dataclass(slots=True)
class State:
    """What a checkpoint holds besides `Progress`. ``optimiser`` is None between stages."""

    net: nn.Module
    objective: nn.Module
    extra: nn.Module
    ema: Ema | None
    scaler: torch.amp.GradScaler
    optimiser: torch.optim.Optimizer | None = None
    _waiting: dict[str, Any] | None = field(default=None, repr=False)

    def begin_stage(self, optimiser: torch.optim.Optimizer, extra: nn.Module) -> None:
        """A stage's own optimiser and map to the teacher; they take up what a checkpoint of this stage holds."""
        self.optimiser, self.extra = optimiser, extra
        if self._waiting is not None:
            extra.load_state_dict(self._waiting["extra"])
            optimiser.load_state_dict(self._waiting["optimiser"])
            _set_random(self._waiting)  # again, since making the stage's networks has drawn from it
            self._waiting = None

    def end_stage(self) -> None:
        """The stage is over, and what was its own with it."""
        self.optimiser, self.extra = None, nn.Identity()

    def content(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "net": self.net.state_dict(),
            "objective": self.objective.state_dict(),
            "extra": self.extra.state_dict(),
            "ema": None if self.ema is None else self.ema.net.state_dict(),
            "scaler": self.scaler.state_dict(),
            "optimiser": None if self.optimiser is None else self.optimiser.state_dict(),
            # Dropout and elastic margins draw from torch; nothing draws from numpy's or Python's own generators.
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take up what `content` gave; the optimiser's share waits for `begin_stage`."""
        self.net.load_state_dict(content["net"])
        self.objective.load_state_dict(content["objective"])
        if self.ema is not None:
            self.ema.net.load_state_dict(content["ema"])
        self.scaler.load_state_dict(content["scaler"])
        self._waiting = None if content["optimiser"] is None else content
        _set_random(content)


def save_checkpoint(folder: Path, progress: Progress, state: State, processes: Processes) -> None:
    """Write ``step-N``, every process its own part; it has its name when all parts are on the disk.

    Raises:
        StoreError: it cannot be written.
    """
    place = folder / f"step-{progress.total:08d}"
    building = folder / f".{place.name}"
    if processes.first:
        _fresh(building)
    processes.wait()
    content = {
        "format": FORMAT,
        "world": processes.world,
        "stage": progress.stage,
        "step": progress.step,
        "total": progress.total,
        "log_bytes": progress.log_bytes,
        **state.content(),
    }
    save_atomically(building / f"rank-{processes.rank}.pt", content)
    processes.wait()
    if processes.first:
        shutil.rmtree(place, ignore_errors=True)
        building.rename(place)
        flush_folder(folder)
        for old in _found(folder)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    processes.wait()


def load_checkpoint(folder: Path, state: State, processes: Processes) -> Progress:
    """Restore the last checkpoint; the beginning where there is none.

    Raises:
        ModelError: it was made by another number of processes, or is none.
    """
    found = _found(folder) if folder.is_dir() else []
    if not found:
        return Progress()
    part = found[-1] / f"rank-{processes.rank}.pt"
    if len(list(found[-1].glob("rank-*.pt"))) != processes.world:
        raise ModelError(
            f"{found[-1]}: expected the parts of {processes.world} processes, got "
            f"{len(list(found[-1].glob('rank-*.pt')))}: resume with as many as began"
        )
    content = read_tensors(part)
    if content.get("format") != FORMAT:
        raise ModelError(f"{part}: expected a checkpoint ({FORMAT}), got {str(content.get('format'))!r}")
    try:
        state.restore(content)
    except (RuntimeError, KeyError) as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{part}: expected a checkpoint of this recipe and these faces, got another: {line}"
        ) from error
    return Progress(content["stage"], content["step"], content["total"], content["log_bytes"])


def _set_random(content: dict[str, Any]) -> None:
    torch.set_rng_state(content["random"])
    if content["random_cuda"]:
        torch.cuda.set_rng_state_all(content["random_cuda"])


def _fresh(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror}): name another --out") from error


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
