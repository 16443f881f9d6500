"""What a run says while it goes: the loss of every step, fetched from the device now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from attendance.errors import AttendanceError
from lab.train.run_folder import RunFolder


class DivergedError(AttendanceError):
    """The loss is no number any more."""


@dataclass(slots=True)
class _Step:
    total: int
    stage: int
    rate: float
    names: tuple[str, ...]
    values: Tensor


class Journal:
    """Collects steps and writes them to the run's folder; ``last_loss`` is the last one written."""

    def __init__(self, folder: RunFolder, bar: Any, *, batch_size: int) -> None:
        self.folder, self.bar, self.batch_size = folder, bar, batch_size
        self.last_loss = math.nan
        self._waiting: list[_Step] = []
        self._since = time.perf_counter()

    def step(self, total: int, stage: int, *, rate: float, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """Note a step's loss without waiting for the device."""
        values = torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
        self._waiting.append(_Step(total, stage, rate, tuple(terms), values))

    def flush(self) -> None:
        """Write what is noted.

        Raises:
            DivergedError: a loss is no number.
        """
        if not self._waiting:
            return
        rows = torch.stack([step.values for step in self._waiting]).tolist()
        seconds, now = time.perf_counter() - self._since, time.perf_counter()
        for step, values in zip(self._waiting, rows, strict=True):
            self._write(step, values)
        speed = self.batch_size * len(rows) / seconds
        self.folder.write({"step": self._waiting[-1].total, "images_per_s": speed})
        self.folder.show()
        self.bar.update(len(rows))
        self.bar.set_postfix(loss=f"{self.last_loss:.3f}", images_per_s=f"{speed:.0f}")
        self._waiting.clear()
        self._since = now

    def figures(self, total: int, figures: Mapping[str, Any]) -> None:
        """Write what a judgement found; its time is not counted as training."""
        self.folder.write({"step": total, "figures": figures})
        self._since = time.perf_counter()

    def _write(self, step: _Step, values: list[float]) -> None:
        self.last_loss = values[0]
        row: dict[str, Any] = {"step": step.total, "stage": step.stage, "loss": values[0], "rate": step.rate}
        if len(step.names) > 1:
            row["terms"] = dict(zip(step.names, values[1:], strict=True))
        if not math.isfinite(values[0]):
            raise DivergedError(
                f"step {step.total}: expected a loss, got {values[0]}: lower the rate, clip the gradients, or begin "
                "with a stage of n-softmax"
            )
        self.folder.write(row)


def progress_bar(name: str, *, done: int, steps: int, hidden: bool) -> Any:
    """A bar over a stage's steps, on a terminal."""
    return tqdm(total=steps, initial=done, desc=name, unit="step", disable=hidden)
