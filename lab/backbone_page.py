"""``python -m lab.backbone_page``: count and time every backbone, and write docs/lab/backbones.md."""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lab.nets.counting import multiply_adds, parameters
from lab.nets.published import CLASSES, CLASSIFIERS, ROWS, Published
from lab.nets.registry import BACKBONES, INPUT_PX, build_backbone
from lab.nets.timm_net import create

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lab" / "backbones.md"
REFERENCE = "mobilefacenet"

INTRODUCTION = """\
# Backbones

Written by `python -m lab.backbone_page`. `python -m lab list backbones` names them;
`lab.nets.registry.build_backbone("timm:NAME")` takes any other network of timm. They give embeddings of any length,
as losses take them; `unit=True` divides by the length.

AirFace has CBAM in every bottleneck, before the shortcut is added, and both of its gates, the one over channels and
the one over positions, end in 1 + tanh. Networks of timm go through BN, dropout 0.4, a linear layer without bias and
BN. EdgeFace has the keys and shapes of the published checkpoints (`tests/lab/nets/edgeface_keys.txt`).
"""

OURS = """\
## Ours

At 112x112, with the embedding of the network's own dimension. Multiply-adds of convolutions, linear layers and matrix
products, for one face. Time is that of one face on one thread, as a multiple of MobileFaceNet's in the same run:
{machine}; {rounds} rounds through all networks, the median of the ratios within a round.

| backbone | dimension | parameters (M) | multiply-adds (M) | time / MobileFaceNet's |
|---|---:|---:|---:|---:|
"""

COMPARISON = """
## Published and ours

Ours is counted in the row's own unit, input size and head. A multiply-add is two operations.

| backbone | published by | input | head | unit | parameters (M) | ours | cost (M) | ours | why not the same |
|---|---|---:|---|---|---:|---:|---:|---:|---|
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """Millions of parameters, and of a published row's unit for one image."""

    parameters: float
    cost: float


def count(row: Published) -> Counted:
    """Our numbers for a published row, in its unit, input size and head."""
    learned, adds = _counts(row.backbone, row.input_px, row.head == CLASSES)
    return Counted(learned / 1e6, adds * (2 if row.unit == "operations" else 1) / 1e6)


@functools.cache
def _counts(backbone: str, input_px: int, classifier: bool) -> tuple[int, int]:
    """Parameters and multiply-adds. No memory is taken for the weights."""
    with torch.device("meta"):
        net: nn.Module
        if classifier:
            net = create(CLASSIFIERS[backbone], input_px=input_px)
        else:
            net = build_backbone(backbone, input_px=input_px)
    return parameters(net), multiply_adds(net, input_px=input_px)


def time_backbones(*, rounds: int) -> dict[str, float]:
    """Median over the rounds of a network's time over the reference's in the same round: batch 1, one thread."""
    torch.set_num_threads(1)
    nets = {name: build_backbone(name).eval() for name in BACKBONES}
    ratios: dict[str, list[float]] = {name: [] for name in nets}
    for index in range(rounds + 1):
        seconds = {name: _seconds(net) for name, net in nets.items()}
        if index > 0:  # the first round warms up
            for name in nets:
                ratios[name].append(seconds[name] / seconds[REFERENCE])
    return {name: statistics.median(values) for name, values in ratios.items()}


def _seconds(net: nn.Module) -> float:
    face = torch.zeros(1, 3, INPUT_PX, INPUT_PX)
    taken = []
    with torch.inference_mode():
        for _ in range(3):
            start = time.perf_counter()
            net(face)
            taken.append(time.perf_counter() - start)
    return min(taken)


def our_line(name: str) -> str:
    """The backbone's line of the first table, without the time."""
    learned, adds = _counts(name, INPUT_PX, False)
    return f"| {name} | {BACKBONES[name].dimension} | {learned / 1e6:.3f} | {adds / 1e6:.1f} |"


def comparison_line(row: Published, ours: Counted) -> str:
    """A published row's line of the second table."""
    published = ["" if value is None else f"{value:g}" for value in (row.parameters, row.cost)]
    cells = [row.backbone, row.source, str(row.input_px), row.head, row.unit]
    cells += [published[0], f"{ours.parameters:.3f}", published[1], f"{ours.cost:.1f}", row.why]
    return "| " + " | ".join(cells) + " |"


def page(times: Mapping[str, float], *, machine: str, rounds: int) -> str:
    """The whole page."""
    timed = [f"{our_line(name)} {times[name]:.2f} |" for name in BACKBONES]
    compared = [comparison_line(row, count(row)) for row in ROWS]
    first = OURS.format(machine=machine, rounds=rounds) + "\n".join(timed)
    return f"{INTRODUCTION}\n{first}\n{COMPARISON}" + "\n".join(compared) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Count, time, write; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.backbone_page", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of timing through all networks (7)")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, got {arguments.rounds}")
    times = time_backbones(rounds=arguments.rounds)
    machine = f"{platform.machine()}, torch {torch.__version__}, float32"
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(times, machine=machine, rounds=arguments.rounds), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
