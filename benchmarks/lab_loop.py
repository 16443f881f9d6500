"""The lab's training loop against a bare loop of the same network and batch: what loading and keeping track cost."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.report import RESULTS, Table, environment, write_result
from lab.data.augment import Augment
from lab.data.folder import FolderSource
from lab.data.loading import TrainingFaces, to_input, training_batches
from lab.data.samplers import Place, Shuffled
from lab.losses.registry import build_loss
from lab.nets.registry import build_backbone
from lab.train.loop import train
from lab.train.recipe import Recipe
from lab.train.run import TYPES

SIDE_PX = 112
PHOTOS = 16
LIMIT = 0.10
AUGMENT = {"flip": 0.5, "crop": 0.2, "colour": 0.2, "low_resolution": 0.2, "erase": 0.1}
LOSS = "arcface-safe"


def main(argv: Sequence[str]) -> int:
    """Measure in turns, write the result; 1 where the loop costs more than a tenth."""
    options = _options(argv)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_people(folder / "people", people=_people(options))
        bare, loop = [], []
        for turn in range(options.rounds):
            # Each is first in every second turn: a machine that grows slower favours neither.
            if turn % 2:
                loop.append(_loop_s(options, folder, turn))
            bare.append(_bare_s(options))
            if not turn % 2:
                loop.append(_loop_s(options, folder, turn))
            print(f"turn {turn + 1}: bare {bare[-1]:.4f} s a step, loop {loop[-1]:.4f} s", flush=True)
        loading = _loading_s(options, folder)
    overhead = statistics.median(one / other for one, other in zip(loop, bare, strict=True)) - 1.0
    _write(options, bare, loop, loading, overhead)
    return 0 if overhead <= LIMIT else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab_loop", description=__doc__)
    parser.add_argument("--backbone", default="mobilefacenet")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="measured in each turn, after as many more to warm up")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=list(TYPES), default="fp32")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the result goes (benchmarks/results)")
    options = parser.parse_args(argv)
    environment()
    options.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return options


def _people(options: argparse.Namespace) -> int:
    """Few, for a run ends by judging their faces, which is not timed and takes its time; two batches at least."""
    return max(16, 2 * int(options.batch_size) // PHOTOS)


def _make_people(root: Path, *, people: int) -> None:
    random = np.random.default_rng(0)
    for person in range(people):
        pattern = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        folder = root / f"person-{person:04d}"
        folder.mkdir(parents=True)
        for number in range(PHOTOS):
            face = cv2.resize(pattern, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC).astype(np.int64)
            face = np.clip(face + random.integers(-20, 21, face.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number:02d}.png"), face)


def _bare_s(options: argparse.Namespace) -> float:
    """Seconds a step of network, loss, back-propagation and SGD on one batch that lies ready."""
    torch.manual_seed(0)
    device, kind = options.device, TYPES[options.precision]
    classes = _people(options)
    net = build_backbone(options.backbone).to(device).train()
    x = torch.randn(options.batch_size, 3, SIDE_PX, SIDE_PX, device=device)
    labels = torch.randint(0, classes, (options.batch_size,), device=device)
    with torch.no_grad():
        dimension = int(net(x[:2]).shape[1])
    loss = build_loss(LOSS, dimension=dimension, classes=classes).to(device)
    optimiser = torch.optim.SGD([*net.parameters(), *loss.parameters()], lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=kind, enabled=kind is not torch.float32):
            embeddings = net(x)
        loss(embeddings, labels).backward()
        optimiser.step()

    for _ in range(options.steps):
        step()
    _finish(device)
    begun = time.perf_counter()
    for _ in range(options.steps):
        step()
    _finish(device)
    return (time.perf_counter() - begun) / int(options.steps)


def _loop_s(options: argparse.Namespace, folder: Path, turn: int) -> float:
    """Seconds a step of the lab's loop: varied faces from its cache, log and TensorBoard, no judging."""
    recipe = Recipe.model_validate(
        {
            "description": "overhead",
            "source": "benchmarks/lab_loop.py",
            "network": {"backbone": options.backbone},
            "data": {
                "path": folder / "people",
                "cache": folder / "cache",
                "input_px": SIDE_PX,
                "workers": options.workers,
            },
            "augment": AUGMENT,
            "stages": [
                {
                    "iterations": 2 * options.steps,
                    "batch_size": options.batch_size,
                    "losses": [{"loss": LOSS}],
                    "optimiser": {"rate": 0.1},
                }
            ],
            "precision": options.precision,
            "validate_every": None,
            "checkpoint_every": 10**9,
            "log_every": options.steps,
        }
    )
    out = folder / f"run-{turn}"
    if train(recipe, out=out)["stopped"]:  # the loop takes SIGTERM as a request, and returns
        raise KeyboardInterrupt
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    speeds = [row["images_per_s"] for row in rows if "images_per_s" in row]
    return float(options.batch_size / speeds[-1])


def _loading_s(options: argparse.Namespace, folder: Path) -> float:
    """Seconds that reading, varying and handing over a batch takes with nothing else to do."""
    source = FolderSource(folder / "people")
    chosen = np.arange(len(source))
    classes = np.arange(len(source.people))
    faces = TrainingFaces(source, chosen, classes, size_px=SIDE_PX, how=Augment.model_validate(AUGMENT), seed=0)
    sampler = Shuffled(faces.labels, batch_size=options.batch_size, seed=0)
    batches = training_batches(faces, sampler, Place(), rank=0, world=1, workers=0, pinned=False)
    next(batches)
    count = 10
    begun = time.perf_counter()
    for batch in islice(batches, count):
        to_input(batch.faces, options.device)
    _finish(options.device)
    return (time.perf_counter() - begun) / count


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _write(
    options: argparse.Namespace, bare: Sequence[float], loop: Sequence[float], loading: float, overhead: float
) -> None:
    rows = [
        ["bare loop", f"{1000 * statistics.median(bare):.1f}", f"{options.batch_size / statistics.median(bare):.1f}"],
        ["lab's loop", f"{1000 * statistics.median(loop):.1f}", f"{options.batch_size / statistics.median(loop):.1f}"],
    ]
    data = {
        "backbone": options.backbone,
        "batch_size": options.batch_size,
        "workers": options.workers,
        "precision": options.precision,
        "device": str(options.device),
        "bare_s": list(bare),
        "loop_s": list(loop),
        "loading_s": loading,
        "overhead": overhead,
    }
    note = (
        f"{options.backbone}, batch {options.batch_size}, {options.precision} on {options.device.type}, "
        f"{options.workers} worker; {options.rounds} turns of {options.steps} steps each, in turn. Median of "
        f"the turns' ratios: {100.0 * overhead:+.1f} % (at most {100.0 * LIMIT:.0f} %). The loop reads crops, varies "
        f"them, logs, and clips nothing; reading and varying a batch straight from PNG files alone takes "
        f"{1000.0 * loading:.0f} ms on one thread."
    )
    written = write_result(
        "lab-loop",
        "The training loop's overhead",
        tables=[Table("A step", ["", "ms", "images/s"], rows, note)],
        data=data,
        command="python -m benchmarks lab_loop",
        threads=options.threads,
        folder=options.folder,
    )
    print(f"overhead {100.0 * overhead:+.1f} %; {written[0]}")


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
