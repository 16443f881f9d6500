"""Partial FC at a tenth of 100,000 classes against the full softmax: memory and time of a step."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import RESULTS, Table, environment, write_result
from lab.losses.registry import build_margin
from lab.train.partial_fc import PartialFC
from lab.train.processes import Processes

RATES = (1.0, 0.1)
MIB = 2**20


def main(argv: Sequence[str]) -> int:
    """Measure each rate in a process of its own, in turns; write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab_partial_fc", description=__doc__)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the result goes (benchmarks/results)")
    options = parser.parse_args(argv)
    environment()
    found: dict[float, list[dict[str, float]]] = {rate: [] for rate in RATES}
    for _ in range(options.rounds):
        for rate in RATES:
            found[rate].append(_in_a_process_of_its_own(options, rate))
            print(f"rate {rate:g}: {found[rate][-1]}", flush=True)
    _write(options, found)
    return 0


def _in_a_process_of_its_own(options: argparse.Namespace, rate: float) -> dict[str, float]:
    """Peak memory is a process's; a second measurement in the same one would see the first."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (vars(options), rate))


def measure(options: dict[str, Any], rate: float) -> dict[str, float]:
    """Median seconds a step, and the MiB by which the peak lies above what the process had before.

    A step: the drawn directions' cosines with the batch, ArcFace, cross-entropy, gradients, SGD with momentum.
    """
    torch.set_num_threads(options["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _one_small_step(device)
    before = _peak_mib(device)
    classes = PartialFC(
        dimension=options["dimension"], classes=options["classes"], processes=Processes(0, 1, device), rate=rate
    ).to(device)
    margin = build_margin("arcface-safe")
    optimiser = torch.optim.SGD([classes.rows], lr=0.1, momentum=0.9, weight_decay=5e-4)
    torch.manual_seed(0)
    times = []
    for step in range(options["steps"]):
        embeddings = torch.randn(options["batch_size"], options["dimension"], device=device, requires_grad=True)
        labels = torch.randint(0, options["classes"], (options["batch_size"],), device=device)
        _wait(device)
        begun = time.perf_counter()
        view = classes.view(embeddings, labels, step=step)
        loss = classes.cross_entropy(margin(view.cosines, view.columns, view.norms), view.columns)
        optimiser.zero_grad(set_to_none=True)
        classes.lend(optimiser)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        classes.take_back(optimiser)
        _wait(device)
        times.append(time.perf_counter() - begun)
    return {"step_s": statistics.median(times[2:]), "peak_mib": _peak_mib(device) - before}


def _one_small_step(device: torch.device) -> None:
    """What torch loads at its first step is not the classifier's."""
    weight = torch.nn.Parameter(torch.ones(64, 64, device=device))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    torch.nn.functional.cross_entropy(weight, torch.arange(64, device=device)).backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _write(options: argparse.Namespace, found: dict[float, list[dict[str, float]]]) -> None:
    middle = {
        rate: {key: statistics.median(row[key] for row in rows) for key in ("step_s", "peak_mib")}
        for rate, rows in found.items()
    }
    rows = [
        [
            "full softmax" if rate == 1.0 else f"Partial FC, rate {rate:g}",
            f"{1000.0 * figures['step_s']:.0f}",
            f"{figures['peak_mib']:.0f}",
            f"{middle[1.0]['step_s'] / figures['step_s']:.1f} x",
            f"{figures['peak_mib'] / middle[1.0]['peak_mib']:.2f}",
        ]
        for rate, figures in middle.items()
    ]
    note = (
        f"{options.classes:,} classes of {options.dimension} dimensions, batch {options.batch_size}, ArcFace, SGD with "
        f"momentum, float32 on {'a graphics card' if torch.cuda.is_available() else 'the processor'}: the classifier "
        f"alone, without a network. Median of {options.rounds} processes with {options.steps} steps each, without the "
        "first two. Memory: the peak above a process that has done one small step. All directions and their "
        "momentum lie in it at any rate."
    )
    written = write_result(
        "lab-partial-fc",
        "Partial FC on many classes",
        tables=[Table("A step", ["", "ms", "MiB at the peak", "times as fast", "share of memory"], rows, note)],
        data={
            "options": {key: value for key, value in vars(options).items() if key != "folder"},
            "rates": {f"{rate:g}": rows for rate, rows in found.items()},
        },
        command="python -m benchmarks lab_partial_fc",
        threads=options.threads,
        folder=options.folder,
    )
    print(written[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
