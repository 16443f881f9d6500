"""The trade-off of covered faces as a picture for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

PLOT = Path(__file__).parents[1] / "docs" / "occlusion.svg"
WIDE, HIGH, LEFT, TOP, SIDE = 720, 420, 60, 20, 340
MOST_REFUSED = 0.3
COLOURS = ("#1b6ca8", "#c0392b", "#7f8c8d", "#d68910", "#1e8449", "#7d3c98", "#17a2b8", "#5d4037")


def write_plot(
    curves: Mapping[str, Sequence[Sequence[float]]], signals: Mapping[str, str], *, path: Path = PLOT
) -> Path:
    """Write the curves, (bare faces refused, covered faces named) by signal, as SVG; the file."""
    path.write_text("\n".join([*_axes(), *_lines(curves, signals), "</svg>"]) + "\n", encoding="utf-8")
    return path


def _axes() -> list[str]:
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
    ]
    for step in range(7):
        rate = MOST_REFUSED * step / 6
        x, _ = _place(rate, 0.0)
        drawn.append(f'<path d="M{x:.0f} {TOP}V{TOP + SIDE}" stroke="#ddd"/>')
        drawn.append(f'<text x="{x:.0f}" y="{TOP + SIDE + 16}" text-anchor="middle">{100 * rate:g} %</text>')
    for step in range(6):
        _, y = _place(0.0, step / 5)
        drawn.append(f'<path d="M{LEFT} {y:.0f}h{SIDE}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{20 * step} %</text>')
    drawn.append(f'<text x="{LEFT}" y="{HIGH - 12}">bare faces refused; upwards: covered faces named</text>')
    return drawn


def _lines(curves: Mapping[str, Sequence[Sequence[float]]], signals: Mapping[str, str]) -> list[str]:
    drawn = []
    for number, (signal, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join("{:.1f},{:.1f}".format(*_place(rate, named)) for rate, named in points)
        drawn.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 20 + 22 * number
        drawn.append(f'<path d="M{LEFT + SIDE + 20} {y - 4}h24" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{LEFT + SIDE + 50}" y="{y}">{escape(signals[signal])}</text>')
    return drawn


def _place(rate: float, share: float) -> tuple[float, float]:
    return LEFT + SIDE * rate / MOST_REFUSED, TOP + SIDE * (1.0 - share)
