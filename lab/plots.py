"""``python -m lab.plots``: draw the margins' target-logit curves and decision margins into docs/lab/.

The two pictures are figures 2 and 3 of AirFace (Li et al. 2019), for every margin that is a curve of the angle alone.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attendance.errors import AttendanceError
from attendance.types import Float64
from lab.losses.registry import build_margin

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "lab"

CURVES = ("n-softmax", "sphereface", "cosface", "arcface", "arcface-safe", "arcface-easy", "li-arcface", "combined")
MARGINS = ("n-softmax", "cosface", "arcface", "arcface-safe", "arcface-easy", "li-arcface")

NEITHER, FIRST, SECOND, BOTH = range(4)
COLOURS = ("#f5e663", "#dbe9f4", "#e2f0d9", "#d9534f")
"""As in the paper: yellow is the decision margin, red is where both classes hold."""

STEPS = 361
DPI = 90


def logits(name: str, angles: Float64) -> tuple[Float64, Float64]:
    """The own class's and another class's logit over s at each angle in radians: (A,) -> two of (A,).

    The length of the embedding, which is SphereFace's scale, is 1, and nothing is drawn.
    """
    scaled = {} if name == "sphereface" else {"scale": 1.0}
    margin = build_margin(name, **scaled).eval()
    cosines = torch.cos(torch.from_numpy(angles))[:, None].expand(-1, 2)
    labels, norms = torch.zeros(len(angles), dtype=torch.int64), torch.ones(len(angles), dtype=torch.float64)
    with torch.inference_mode():
        values: Float64 = margin(cosines, labels, norms).numpy()
    return values[:, 0], values[:, 1]


def regions(name: str, angles: Float64) -> NDArray[np.int64]:
    """Which of two classes holds a sample at angles (theta_1, theta_2): (A, A) of NEITHER, FIRST, SECOND, BOTH.

    A class holds it where its logit with the margin exceeds the other's without: training is content there.
    Rows are theta_2, columns theta_1.
    """
    own, other = logits(name, angles)
    first = own[None, :] > other[:, None]
    second = own[:, None] > other[None, :]
    return FIRST * first.astype(np.int64) + SECOND * second.astype(np.int64)


def draw_curves() -> Figure:
    """Target logits over s against the angle in degrees."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    angles = np.linspace(0.0, math.pi, STEPS)
    for name in CURVES:
        # points, so that a jump is a gap and no line
        axes.plot(np.degrees(angles), logits(name, angles)[0], ".", markersize=2.5, label=name)
    axes.set(xlabel="angle to the own class (degrees)", ylabel="target logit / s", xlim=(0, 180), ylim=(-2.2, 1.1))
    axes.set_xticks(range(0, 181, 30))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(markerscale=4, fontsize=9)
    return figure


def draw_margins() -> Figure:
    """Decision margins of two classes, one square a margin."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    angles = np.linspace(0.0, math.pi, STEPS)
    for axes, name in zip(figure.subplots(2, 3).flat, MARGINS, strict=True):
        _draw_regions(axes, regions(name, angles), name)
    return figure


def _draw_regions(axes: Axes, held: NDArray[np.int64], name: str) -> None:
    axes.imshow(
        held,
        origin="lower",
        extent=(0, 180, 0, 180),
        cmap=ListedColormap(COLOURS),
        vmin=NEITHER,
        vmax=BOTH,
        interpolation="nearest",
    )
    axes.set(title=name, xlabel="angle to class 1 (degrees)", ylabel="angle to class 2")
    axes.set_xticks(range(0, 181, 60))
    axes.set_yticks(range(0, 181, 60))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that is the same on every run.

    Raises:
        AttendanceError: the file cannot be written.
    """
    try:
        figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    except OSError as error:
        raise AttendanceError(f"{path}: expected to write the picture there, got: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Draw both pictures; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.plots", description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of the pictures (docs/lab)")
    folder: Path = parser.parse_args(argv).out
    if not folder.is_dir():
        parser.error(f"--out {folder}: expected a folder, there is none; make it first")
    try:
        save(draw_curves(), folder / "target_logits.png")
        save(draw_margins(), folder / "decision_margins.png")
    except AttendanceError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
