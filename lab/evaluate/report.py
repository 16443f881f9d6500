"""One HTML page without anything outside it: figures and curves of pairs or of searches."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attendance import metrics
from attendance.errors import StoreError
from lab.evaluate.streamed import ScoreCounts

Judged = tuple[dict[str, Any], metrics.Floats, np.ndarray]
"""A result, the cosines (N,) and the truth (N,) that it was taken of."""

STYLE = (
    "body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em 1em;text-align:left}img{width:100%}"
)
PAIRS = "ROC, DET and histogram of the cosines"
BINS = 80
POINTS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What N probes of people in a gallery and M of strangers met there.

    ``best`` (N,) similarity of the nearest person, ``ranks`` (N,) place of the own one, 0 where it is not among the
    first ``listed``; ``strangers`` (M,) as ``best``. `metrics.FAILED` and 0 for a failed read.
    """

    best: metrics.Floats
    ranks: np.ndarray
    strangers: metrics.Floats
    listed: int


def write_report(path: Path, title: str, judged: Sequence[Judged]) -> None:
    """Write a page with a table and ROC, DET and histogram of each result.

    Raises:
        StoreError: it cannot be written.
    """
    _write_page(path, title, [(result, draw_pairs(scores, same), PAIRS) for result, scores, same in judged])


def write_counts(path: Path, title: str, result: dict[str, Any], counts: ScoreCounts) -> None:
    """`write_report` of pairs that were counted in bins.

    Raises:
        StoreError: it cannot be written.
    """
    middles, same, numbers = counts.binned()
    _write_page(path, title, [(result, draw_pairs(middles, same, numbers=numbers), PAIRS)])


def write_searches(path: Path, title: str, judged: Sequence[tuple[dict[str, Any], Searched]]) -> None:
    """Write a page with a table, cumulative matches, misses over false alarms, and histogram of each result.

    Raises:
        StoreError: it cannot be written.
    """
    words = "CMC, FNIR over FPIR and histogram of the nearest person's cosine"
    _write_page(path, title, [(result, draw_searches(searched), words) for result, searched in judged])


def _write_page(path: Path, title: str, shown: Sequence[tuple[dict[str, Any], Figure, str]]) -> None:
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1>")
    for result, figure, words in shown:
        parts.append(table(result))
        parts.append(picture(figure, words))
    try:
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--report {path}: cannot be written ({error.strerror}): name another file") from error


def table(result: dict[str, Any]) -> str:
    """A result's figures as an HTML table, each with its interval where it has one."""
    rows = "".join(_row(name, value, result.get("intervals", {})) for name, value in result.items())
    return f"<table><tr><th>figure<th>value<th>95 % interval</tr>{rows}</table>"


def _row(name: str, value: Any, intervals: Any) -> str:
    if name == "intervals":
        return ""
    if isinstance(value, dict):
        inner = intervals.get(name) or {}
        return "".join(_row(f"{name} {key}", item, {f"{name} {key}": inner.get(key)}) for key, item in value.items())
    given = f"{value:.5f}" if isinstance(value, float) else str(value)
    interval = intervals.get(name)
    between = "" if interval is None else f"{interval[0]:.5f} to {interval[1]:.5f}"
    return f"<tr><td>{html.escape(name)}<td>{html.escape(given)}<td>{between}</tr>"


def picture(figure: Figure, words: str) -> str:
    """A figure as an image tag that holds it."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=90, metadata={"Software": None})
    data = base64.b64encode(written.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'


def draw_pairs(scores: metrics.Floats, same: np.ndarray, *, numbers: metrics.Floats | None = None) -> Figure:
    """ROC with FAR in logarithms, DET, and a histogram of both kinds of pairs.

    Args:
        scores: (N,) cosines.
        same: (N,) truth.
        numbers: (N,) how many pairs each stands for; one by default.
    """
    counts = np.ones(len(scores)) if numbers is None else numbers
    curve = metrics.roc(scores, same, weights=counts)
    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, det, histogram = figure.subplots(1, 3)
    far = np.maximum(curve.far, 0.5 / counts[~same].sum())
    frr = np.maximum(1.0 - curve.tar, 0.5 / counts[same].sum())
    roc.step(far, curve.tar, where="post")
    roc.set(xscale="log", xlabel="false-accept rate", ylabel="true-accept rate", title="ROC", ylim=(0.0, 1.02))
    det.plot(far, frr)
    det.set(xscale="log", yscale="log", xlabel="false-accept rate", ylabel="false-reject rate", title="DET")
    edges = np.linspace(min(float(scores.min()), 0.0), 1.0, BINS + 1)
    for kind, name in ((same, "same person"), (~same, "different people")):
        histogram.hist(scores[kind], bins=edges.tolist(), weights=counts[kind], density=True, alpha=0.6, label=name)
    histogram.set(xlabel="cosine", title="cosines of pairs")
    histogram.legend()
    return figure


def draw_searches(searched: Searched) -> Figure:
    """Cumulative match curve, FNIR over FPIR where there are strangers, and a histogram of the nearest cosines."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    cmc, open_set, histogram = figure.subplots(1, 3)
    _cmc(cmc, searched.ranks, most=searched.listed)
    if len(searched.strangers):
        rates = np.geomspace(1.0 / len(searched.strangers), 1.0, POINTS)
        right = searched.ranks == 1
        misses = [metrics.fnir_at_fpir(searched.best, right, searched.strangers, min(rate, 1.0)) for rate in rates]
        open_set.step(rates, misses, where="post")
    open_set.set(xscale="log", xlabel="FPIR", ylabel="FNIR", ylim=(0.0, 1.02), title="known people missed")
    edges = np.linspace(0.0, 1.0, BINS + 1).tolist()
    for values, name in ((searched.best, "known"), (searched.strangers, "strangers")):
        if len(values):
            histogram.hist(values, bins=edges, density=True, alpha=0.6, label=name)
    histogram.set(xlabel="cosine", title="nearest person")
    histogram.legend()
    return figure


def _cmc(axes: Axes, ranks: np.ndarray, *, most: int) -> None:
    places = range(1, most + 1)
    axes.plot(places, [metrics.top_k(ranks, k) for k in places], marker="o")
    axes.set(xlabel="rank", ylabel="share of probes found by then", ylim=(0.0, 1.02), title="CMC")
