"""The calibration as one HTML file with its plots inside: nothing is fetched when it is opened."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from attendance.calibration import Calibration, Histogram
    from attendance.decide import Rule

_LOWEST = 0.0005
"""Share at which nothing missed is drawn."""
_TICKS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)

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
        f"the most similar of these to each photo. {_needed(found.point.rule)}</p>",
    ]
    if found.det:
        parts += [
            "<h2>Misses against strangers accepted</h2>",
            _det(found),
            "<p>Strangers by the card, misses by leaving out each photo in turn, both on a scale of normal deviates (a "
            "DET curve, Martin et al. 1997). The band is the 95 % interval of the misses, over people; the dashed line "
            "is the target. Nothing missed is drawn at the lower edge.</p>",
        ]
    if pairs:
        parts += ["<h2>Look-alikes</h2>", _list(pairs)]
    return "\n".join([*parts, "</body></html>", ""])


def _needed(rule: Rule) -> str:
    if rule.required(0.0) > rule.required(None):
        return "The band is what a match needs, from a full lead to none."
    return "The dashed line is what a match needs."


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
        if rule.required(0.0) > rule.required(None):
            axes.axvspan(rule.required(None), rule.required(0.0), color="0.8", zorder=0, label="needed, by lead")
        else:
            axes.axvline(rule.required(0.0), color="0.3", linestyle="--", linewidth=1.2, label="needed")
        axes.set(xlabel="similarity (cosine)", ylabel="share")
        axes.legend(frameon=False)

    return _svg(draw, "Histograms of similarities")


def _outline(axes: Axes, histogram: Histogram, label: str) -> None:
    total = int(histogram.counts.sum())
    if total:
        axes.stairs(histogram.counts / total, histogram.edges, label=f"{label} ({total})", linewidth=1.5)


def _det(found: Calibration) -> str:
    rates = [at.fpir for at in found.det]
    ticks = [tick for tick in _TICKS if tick >= _LOWEST]

    def place(shares: Sequence[float], lowest: float = _LOWEST) -> list[float]:
        return [NormalDist().inv_cdf(min(max(share, lowest), max(_TICKS))) for share in shares]

    def draw(axes: Axes) -> None:
        at = place(rates, min(_TICKS))
        axes.fill_between(
            at,
            place([point.misses.low for point in found.det]),
            place([point.misses.high for point in found.det]),
            color="tab:blue",
            alpha=0.2,
            linewidth=0,
            label="95 % over people",
        )
        axes.plot(at, place([point.misses.expected for point in found.det]), marker="o", markersize=3, label="misses")
        if found.target_fpir is not None:
            axes.axvline(*place([found.target_fpir], min(_TICKS)), linestyle="--", color="0.5", label="target")
        highest = max(point.misses.high for point in found.det)
        _normal_deviates(axes.xaxis, [tick for tick in _TICKS if min(rates) <= tick <= max(rates)])
        _normal_deviates(axes.yaxis, ticks)
        top = min([tick for tick in ticks if tick >= highest], default=max(ticks))
        axes.set(xlabel="strangers accepted (FPIR)", ylabel="known photos missed (FNIR)", ylim=place([_LOWEST, top]))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)

    return _svg(draw, "Misses against strangers accepted")


def _normal_deviates(axis: Axis, ticks: Sequence[float]) -> None:
    axis.set_ticks([NormalDist().inv_cdf(tick) for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])


def _svg(draw: Callable[[Axes], None], title: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.0), layout="constrained")
    draw(figure.subplots())
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Title": title, "Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
