"""One HTML page without anything outside it: figures and curves of pairs."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from attendance import metrics
from attendance.errors import StoreError

Judged = tuple[dict[str, Any], metrics.Floats, np.ndarray]
"""A result, the cosines (N,) and the truth (N,) that it was taken of."""

STYLE = (
    "body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em 1em;text-align:left}img{width:100%}"
)
BINS = 80


def write_report(path: Path, title: str, judged: Sequence[Judged]) -> None:
    """Write a page with a table and ROC, DET and histogram of each result.

    Raises:
        StoreError: it cannot be written.
    """
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(title)}</h1>")
    for result, scores, same in judged:
        parts.append(table(result))
        parts.append(picture(draw_pairs(scores, same), "ROC, DET and histogram of the cosines"))
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


def draw_pairs(scores: metrics.Floats, same: np.ndarray) -> Figure:
    """ROC with FAR in logarithms, DET, and a histogram of both kinds of pairs."""
    curve = metrics.roc(scores, same)
    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, det, histogram = figure.subplots(1, 3)
    lowest = 0.5 / max(int(np.count_nonzero(~same)), 1)
    far, frr = np.maximum(curve.far, lowest), np.maximum(1.0 - curve.tar, 0.5 / max(int(np.count_nonzero(same)), 1))
    roc.step(far, curve.tar, where="post")
    roc.set(xscale="log", xlabel="false-accept rate", ylabel="true-accept rate", title="ROC", ylim=(0.0, 1.02))
    det.plot(far, frr)
    det.set(xscale="log", yscale="log", xlabel="false-accept rate", ylabel="false-reject rate", title="DET")
    edges = np.linspace(min(float(scores.min()), 0.0), 1.0, BINS + 1)
    for kind, name in ((same, "same person"), (~same, "different people")):
        histogram.hist(scores[kind], bins=edges.tolist(), density=True, alpha=0.6, label=name)
    histogram.set(xlabel="cosine", title="cosines of pairs")
    histogram.legend()
    return figure


def draw_cmc(ranks: np.ndarray, *, most: int = 20) -> Figure:
    """Cumulative match curve of the places (N,) of the probes' own people; 0: not found."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    places = range(1, most + 1)
    axes.plot(places, [metrics.top_k(ranks, k) for k in places], marker="o")
    axes.set(xlabel="rank", ylabel="share of probes found by then", ylim=(0.0, 1.02), title="CMC")
    return figure
