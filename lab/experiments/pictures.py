"""The page's pictures: accuracies with their intervals, and how runs converge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from lab.experiments.page import Board

DPI = 90


def draw_accuracies(board: Board, folder: Path) -> list[Path]:
    """A picture for each experiment with two finished entries or more: values, intervals, and what was published."""
    drawn = []
    for name, experiment in board.experiments.items():
        found = [(entry, board.value(name, entry.name)) for entry in experiment.rows]
        values = [(entry, value) for entry, value in found if value is not None]
        if len(values) < 2:
            continue
        figure = Figure(figsize=(8.0, 1.0 + 0.3 * len(values)), layout="constrained")
        axes: Axes = figure.subplots()
        for place, (entry, value) in enumerate(reversed(values)):
            low, high = (value.mean if end is None else end for end in (value.low, value.high))
            axes.plot([100.0 * low, 100.0 * high], [place, place], color="#1f77b4", linewidth=2)
            axes.plot([100.0 * value.mean], [place], "o", color="#1f77b4")
            if entry.published is not None:
                axes.plot([100.0 * entry.published], [place], "x", color="#d62728")
        axes.set_yticks(range(len(values)), [entry.label for entry, _ in reversed(values)])
        axes.set_xlabel("accuracy %, 95 % interval over people; x: published, on another split")
        axes.grid(axis="x", alpha=0.3)
        drawn.append(_save(figure, folder / f"experiments-{name}-accuracy.png"))
    return drawn


def draw_curves(board: Board, folder: Path) -> list[Path]:
    """A picture for each experiment with a curve: loss, and equal error rate of the validation part, by step."""
    drawn = []
    for name, experiment in board.experiments.items():
        if experiment.trial:
            continue
        curves = [
            (entry.label, board.results.curve(rows[0]["name"]))
            for entry in experiment.rows
            if (rows := board.rows(name, entry.name)) and board.results.curve(rows[0]["name"])
        ]
        if not curves:
            continue
        figure = Figure(figsize=(10.0, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, (label, curve) in enumerate(curves):
            style = {"color": f"C{place % 10}", "linestyle": "-" if place < 10 else "--", "linewidth": 1.2}
            for axes, key, factor in ((left, "loss", 1.0), (right, "eer", 100.0)):
                points = [(int(row["step"]), factor * float(row[key])) for row in curve if row[key]]
                axes.plot([x for x, _ in points], [y for _, y in points], label=label, **style)
        left.set(xlabel="step", ylabel="training loss")
        right.set(xlabel="step", ylabel="equal error rate, validation people, %")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", fontsize="x-small")
        drawn.append(_save(figure, folder / f"experiments-{name}-curves.png"))
    return drawn


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path
