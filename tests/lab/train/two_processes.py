"""One of two processes of a test: every margin over shared classes, then a short run of the whole loop.

Started by test_partial_fc.py with RANK and WORLD_SIZE in the environment and a folder for its findings.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.losses.registry import MARGINS, build_margin
from lab.train.loop import train
from lab.train.partial_fc import PartialFC
from lab.train.processes import Processes, joined
from lab.train.recipe import Recipe
from tests.lab.made_people import made_folder
from tests.lab.train.tiny import tiny_recipe

DIMENSION, CLASSES, FACES = 6, 11, 8


def faces() -> tuple[Tensor, Tensor]:
    """Embeddings and labels of both processes together."""
    generator = torch.Generator().manual_seed(9)
    return torch.randn(FACES, DIMENSION, generator=generator), torch.tensor([0, 10, 3, 3, 7, 5, 6, 1])


def margins(processes: Processes) -> dict[str, Any]:
    """Loss, gradients and nearest classes with each margin."""
    found = {}
    share = FACES // processes.world
    for name in MARGINS:
        x, labels = faces()
        rows = slice(processes.rank * share, (processes.rank + 1) * share)
        own = x[rows].clone().requires_grad_()
        classes = PartialFC(dimension=DIMENSION, classes=CLASSES, processes=processes, seed=2)
        view = classes.view(own, labels[rows], step=0)
        loss = classes.cross_entropy(build_margin(name)(view.cosines, view.columns, view.norms), view.columns)
        loss.backward()  # type: ignore[no-untyped-call]
        found[name] = {
            "loss": loss.detach(),
            "faces": own.grad,
            "weights": classes.rows.grad,
            "nearest": classes.nearest(view),
        }
    return found


def recipes(folder: Path) -> dict[str, Recipe]:
    """``drawn``: half of the classes at a step. ``whole``: all, and a network without batch statistics."""
    return {
        "drawn": tiny_recipe(folder, iterations=6, class_rate=0.5),
        "whole": tiny_recipe(
            folder,
            iterations=4,
            network={"backbone": "edgeface-xxs", "dimension": 16},
            losses=[{"loss": "arcface-safe", "numbers": {"scale": 16.0}}],
            optimiser={"rate": 0.05, "clip_norm": 5.0},
        ),
    }


def losses_of(out: Path) -> list[float]:
    """The loss of every step of a run."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def next_port() -> None:
    """A group that is made after another meets at another door: the old one may still be open."""
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)


def main(folder: Path) -> None:
    """Write the findings of this process."""
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        found = margins(processes)
        if processes.first:
            made_folder(folder / "people", people=6, photos=4)
        processes.wait()
        rank = processes.rank
    for name, recipe in recipes(folder).items():
        next_port()
        train(recipe, out=folder / name)
        found[name] = losses_of(folder / name)
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
