"""One run of the plan from where it stands to its row: faces, training, the one judgement."""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from attendance.align import arcface_112
from attendance.errors import UsageError
from attendance.types import Float32, RGBImage
from lab.data.folder import at_size
from lab.data.loading import to_input
from lab.experiments.faces import VIEWS, make_crops, make_views
from lab.experiments.judge import Embed, Judged, judge
from lab.experiments.photos import Photos, UnfinishedError, alone
from lab.experiments.plan import Run
from lab.experiments.products import default_embedder, judge_export, judge_model
from lab.experiments.results import Results, Row
from lab.experiments.validation import validate
from lab.train.journal import DivergedError
from lab.train.loop import train
from lab.train.recipe import Recipe
from lab.train.recipe_file import first_difference, read_recipe
from lab.train.run_folder import CHECKPOINTS, ENVIRONMENT, FREE, LOG, RECIPE, RESULT, WEIGHTS, environment
from lab.train.weights import load_weights

WORK = Path("build/lab/experiments")
CURVE_POINTS = 40
BATCH = 64
CLAIM = ".claimed"


class Ended(StrEnum):
    """How one go at a run ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Where runs find and leave things. ``stop_at`` is a time of ``time.monotonic()``; ``resamples`` of intervals."""

    photos: Photos
    results: Results
    runs: tuple[Run, ...]
    threads: int
    stop_at: float | None = None
    resamples: int = 1000

    @property
    def work(self) -> Path:
        """What is made on the way, which may be lost."""
        return self.photos.work

    def folder(self, run: Run) -> Path:
        """The run's own folder."""
        return self.work / "runs" / run.slug

    def time_is_up(self) -> bool:
        """Whether to stop."""
        return self.stop_at is not None and time.monotonic() >= self.stop_at


def outstanding(laboratory: Laboratory) -> list[Run]:
    """The runs that have no row yet, in the order they are due."""
    return [run for run in laboratory.runs if laboratory.results.row_of(run) is None]


def carry_on(laboratory: Laboratory, run: Run) -> Ended:
    """Go on with a run until its row is kept or the time is up; nothing where another process is at it."""
    with _claimed(laboratory.folder(run)) as claimed:
        if not claimed:
            return Ended.BUSY
        if laboratory.results.row_of(run) is not None:
            return Ended.FINISHED
        try:
            return _train_and_judge(laboratory, run) if run.trains else _judge_product(laboratory, run)
        except UnfinishedError:
            return Ended.STOPPED


def trained(laboratory: Laboratory, run: Run) -> bool:
    """Train a run to its end; False where the time was up before."""
    recipe, folder = run.recipe(laboratory.work), laboratory.folder(run)
    make_ready(laboratory, recipe)
    if (folder / RECIPE).exists() and first_difference(read_recipe(folder / RECIPE), recipe, ignored=FREE) is not None:
        _forget(folder)  # the plan was changed since: what was begun is another run
    if (folder / RESULT).exists():
        return True
    result = train(recipe, out=folder, resume=True, stop_at=laboratory.stop_at)
    return not result["stopped"]


def make_ready(laboratory: Laboratory, recipe: Recipe) -> None:
    """Find the faces that the recipe trains on and the judgement needs, and cut them.

    Raises:
        UnfinishedError: the time was up before.
    """
    photos, stop_at = laboratory.photos, laboratory.stop_at
    with alone(laboratory.work, stop_at):
        found = photos.found("tune", stop_at=stop_at)
        if recipe.data.path.name == VIEWS:
            make_views(photos, found, default_embedder(laboratory.threads), stop_at=stop_at)
        else:
            make_crops(photos, found)
        photos.found("report", stop_at=stop_at)


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != CLAIM:
            path.unlink()


def _train_and_judge(laboratory: Laboratory, run: Run) -> Ended:
    folder = laboratory.folder(run)
    try:
        if not trained(laboratory, run):
            return Ended.STOPPED
    except DivergedError:
        _keep(laboratory, run, {"diverged": True, **_training_figures(folder, run.recipe(laboratory.work))})
        return Ended.FINISHED
    if laboratory.time_is_up():
        return Ended.STOPPED
    embed, input_px = _embedder(folder / WEIGHTS)
    figures = {"diverged": False, **_training_figures(folder, run.recipe(laboratory.work))}
    if (validation := validate(laboratory.photos, embed, input_px)) is not None:
        figures["validation"] = validation
    if not run.trial:  # what a recipe is chosen by must not have seen the report half
        judged = judge_weights(laboratory, folder / WEIGHTS, cross=run.cross)
        laboratory.results.keep_people(judged.first, judged.second, judged.people)
        figures |= judged.figures
    _keep(laboratory, run, figures)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return Ended.FINISHED


def judge_weights(laboratory: Laboratory, weights: Path, *, cross: bool) -> Judged:
    """Judge a trained network on the report half."""
    embed, input_px = _embedder(weights)
    alignment = at_size(arcface_112(), input_px)
    return judge(laboratory.photos, embed, alignment, cross=cross, resamples=laboratory.resamples)


def _embedder(weights: Path) -> tuple[Embed, int]:
    """What turns crops into embeddings of unit length, and the side of the crops."""
    net, _, input_px = load_weights(weights)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def embed(chips: RGBImage) -> Float32:
        found = [
            functional.normalize(net(to_input(torch.from_numpy(chips[at : at + BATCH]), torch.device("cpu"))), dim=1)
            for at in range(0, len(chips), BATCH)
        ]
        vectors: Float32 = torch.cat(found).numpy()
        return vectors

    return embed, input_px


def _judge_product(laboratory: Laboratory, run: Run) -> Ended:
    if not run.entry.export:
        assert run.entry.model is not None
        judged, figures = judge_model(
            laboratory.photos, run.entry.model, cross=run.cross, threads=laboratory.threads, stop_at=laboratory.stop_at
        )
        laboratory.results.keep_people(judged.first, judged.second, judged.people)
        _keep(laboratory, run, {**figures, **judged.figures})
        return Ended.FINISHED
    candidates = [other for other in laboratory.runs if other.name in run.entry.export]
    for other in candidates:
        if laboratory.results.row_of(other) is None and (how := carry_on(laboratory, other)) is not Ended.FINISHED:
            return how
    source = preferred(laboratory, candidates)
    if not trained(laboratory, source):  # its row came with the checkout, its weights did not
        return Ended.STOPPED
    if laboratory.time_is_up():
        return Ended.STOPPED
    figures = judge_export(
        laboratory.photos,
        laboratory.folder(source),
        precision=run.entry.precision,
        targets=run.entry.targets,
        threads=laboratory.threads,
    )
    _keep(laboratory, run, {"of": source.name, **figures})
    return Ended.FINISHED


def preferred(laboratory: Laboratory, candidates: Sequence[Run]) -> Run:
    """The run whose row has the highest AUC on the validation part.

    Raises:
        UsageError: none of them has one.
    """
    found = [(laboratory.results.row_of(run), run) for run in candidates]
    known = [(row["validation"]["auc"], run) for row, run in found if row is not None and "validation" in row]
    if not known:
        raise UsageError(f"expected a trained network to export, {[run.name for run in candidates]} all diverged")
    return max(known, key=lambda item: item[0])[1]


def _keep(laboratory: Laboratory, run: Run, figures: dict[str, Any]) -> None:
    known = json.loads((laboratory.folder(run) / ENVIRONMENT).read_text()) if run.trains else environment()
    row: Row = {
        "name": run.name,
        "experiment": run.experiment,
        "row": run.entry.name,
        "label": run.entry.label,
        "seed": run.seed,
        "recipe": run.recipe_name if run.trains else None,
        "set": list(run.entry.set),
        "fingerprint": run.fingerprint(),
        "data": f"{laboratory.photos.root.name}, {'validation part' if run.trial else 'report half'}",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": known["commit"],
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "threads": laboratory.threads,
        "torch": torch.__version__,
        **figures,
    }
    curve = curve_of(laboratory.folder(run) / LOG) if run.trains else []
    laboratory.results.append(_plain(row), curve=curve)


def _training_figures(folder: Path, recipe: Recipe) -> dict[str, Any]:
    rows = read_log(folder / LOG)
    speeds = [row["images_per_s"] for row in rows if "images_per_s" in row]
    steps = [row for row in rows if "loss" in row]
    judged = [row["figures"] for row in rows if "figures" in row]
    figures: dict[str, Any] = {
        "backbone": recipe.network.backbone,
        "input_px": recipe.data.input_px,
        "steps": steps[-1]["step"] if steps else 0,
        "seconds_a_step": statistics.median(recipe.stages[-1].batch_size / s for s in speeds) if speeds else None,
    }
    if (folder / WEIGHTS).exists():
        net, _, _ = load_weights(folder / WEIGHTS)
        figures["parameters"] = sum(weight.numel() for weight in net.parameters())
    if judged:
        figures["train_accuracy"] = judged[-1]["train"]["accuracy"]
    return figures


@torch.inference_mode()
def milliseconds(net: torch.nn.Module, input_px: int) -> float:
    """One face through the network: the lowest of five medians of twenty, which is the one least disturbed."""
    face = torch.zeros(1, 3, input_px, input_px)
    net(face)
    return 1000.0 * min(statistics.median(_seconds(net, face) for _ in range(20)) for _ in range(5))


def _seconds(net: torch.nn.Module, face: torch.Tensor) -> float:
    begun = time.perf_counter()
    net(face)
    return time.perf_counter() - begun


def curve_of(log: Path) -> list[dict[str, Any]]:
    """A run's log as some forty rows: ``step``, ``loss`` (mean since the last), ``auc`` and ``eer`` of strangers."""
    rows = read_log(log)
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    if not losses:
        return []
    width = max(1, math.ceil(len(losses) / CURVE_POINTS))
    curve: dict[int, dict[str, Any]] = {}
    for at in range(0, len(losses), width):
        part = losses[at : at + width]
        mean = float(np.mean([loss for _, loss in part]))
        curve[part[-1][0]] = {"step": part[-1][0], "loss": f"{mean:.5g}", "auc": "", "eer": ""}
    for row in rows:
        strangers = row.get("figures", {}).get("strangers")
        if strangers:
            point = curve.setdefault(row["step"], {"step": row["step"], "loss": "", "auc": "", "eer": ""})
            point["auc"], point["eer"] = f"{strangers['auc']:.5f}", f"{strangers['eer']:.5f}"
    return [curve[step] for step in sorted(curve)]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the line that a kill cut off
    return found


def _plain(value: Any) -> Any:
    """Numbers that are none become null, so that a row is JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether this process alone is at the run; the system gives the claim back however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
