"""The calibration as one HTML file with its plots inside: nothing is fetched when it is opened."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from attendance.calibration import Calibration, Histogram

_STYLE = "body{font:16px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}svg{max-width:100%;height:auto}"


def page(found: Calibration, *, model: str, lines: Sequence[str], pairs: Sequence[str]) -> str:
    """The whole page.

    Args:
        found: what is drawn.
        model: the card's id.
        lines: sentences on the operating point.
        pairs: look-alikes, a line each.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Calibration</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Calibration of the gallery, model {html.escape(model)}</h1>",
        "<h2>Operating point</h2>",
        _list(lines),
        "<h2>Similarities of this gallery</h2>",
        _histograms(found),
        "<p>Same person: each photo against the person's others. Other people: photos against everybody else; nearest: "
        "the most similar of these to each photo. The band is what a match needs, from a full lead to none.</p>",
    ]
    if found.det:
        parts += [
            "<h2>Misses against strangers accepted</h2>",
            _det(found),
            "<p>Strangers by the card, misses by leaving out each photo in turn. The dashed line is the target.</p>",
        ]
    if pairs:
        parts += ["<h2>Look-alikes</h2>", _list(pairs)]
    return "\n".join([*parts, "</body></html>", ""])


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _histograms(found: Calibration) -> str:
    def draw(axes: Axes) -> None:
        for histogram, label in (
            (found.impostors, "other people"),
            (found.nearest, "nearest other person"),
            (found.genuine, "same person"),
        ):
            _outline(axes, histogram, label)
        rule = found.point.rule
        axes.axvspan(rule.required(None), rule.required(0.0), color="0.8", zorder=0)
        axes.set(xlabel="similarity (cosine)", ylabel="share")
        axes.legend(frameon=False)

    return _svg(draw, "Histograms of similarities")


def _outline(axes: Axes, histogram: Histogram, label: str) -> None:
    total = int(histogram.counts.sum())
    if total:
        axes.stairs(histogram.counts / total, histogram.edges, label=f"{label} ({total})", linewidth=1.5)


def _det(found: Calibration) -> str:
    def draw(axes: Axes) -> None:
        axes.plot([fpir for fpir, _ in found.det], [fnir for _, fnir in found.det], marker="o", markersize=3)
        if found.target_fpir is not None:
            axes.axvline(found.target_fpir, linestyle="--", color="0.5")
        axes.set(
            xscale="log", xlabel="strangers accepted (FPIR)", ylabel="known photos missed (FNIR)", ylim=(0.0, None)
        )
        axes.grid(alpha=0.3)

    return _svg(draw, "Misses against strangers accepted")


def _svg(draw: Callable[[Axes], None], title: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.0), layout="constrained")
    draw(figure.subplots())
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Title": title, "Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
