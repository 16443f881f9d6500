"""Puts the newest results of the benchmarks into docs/performance.md and docs/detectors.md, and draws their curves.

``python -m tools.performance`` fills what stands between ``<!-- result: NAME / TABLE -->`` and ``<!-- end -->`` with
that table of the newest ``benchmarks/results/DATE-NAME.md`` that has it, and draws docs/performance/*.png from the JSON
beside it, shown at ``<!-- plot: CURVE / TITLE -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
PLOTS = DOCS / "performance"
PAGES = ("performance.md", "detectors.md")

BLOCK = re.compile(r"<!-- (?P<kind>result|plot): (?P<name>[a-z-]+) / (?P<of>[^>\n]+) -->\n.*?<!-- end -->", re.DOTALL)
DATED = r"\d{4}-\d{2}-\d{2}"

SIZE_INCHES, DPI = (6.4, 3.8), 90
OURS, LIVE, REFERENCE, FLOOR = "#1f77b4", "#2ca02c", "#888888", "#d62728"


def main() -> int:
    """Fill the pages, draw the curves, say what was done."""
    drawn = [name for name, (result, draw) in CURVES.items() if _draw(name, result, draw)]
    there = {path.stem for path in PLOTS.glob("*.png")}
    for page in PAGES:
        path = DOCS / page
        path.write_text(filled(path.read_text(encoding="utf-8"), RESULTS, there), encoding="utf-8")
    print(f"filled {', '.join(PAGES)}; drawn: {', '.join(drawn) if drawn else 'nothing'}")
    return 0


def results_of(name: str, results: Path) -> list[Path]:
    """The Markdown of a benchmark's results, the last one first."""
    found = [path for path in results.glob(f"*-{name}.md") if re.fullmatch(rf"{DATED}-{name}", path.stem)]
    return sorted(found, key=lambda path: path.stem, reverse=True)


def filled(page: str, results: Path, plots: Collection[str]) -> str:
    """The page with every marked table as the newest result that has it has it, and every curve that was drawn."""

    def block(match: re.Match[str]) -> str:
        name, of = match["name"], match["of"]
        if match["kind"] == "plot":
            text = f"![{of}]({PLOTS.name}/{name}.png)\n" if name in plots else ""
        else:
            quoted = (_quoted(path, of) for path in results_of(name, results))
            text = next((text for text in quoted if text), f"Not measured yet: `python -m benchmarks {name}`.") + "\n"
        return f"<!-- {match['kind']}: {name} / {of} -->\n{text}<!-- end -->"

    return BLOCK.sub(block, page)


def _quoted(path: Path, table: str) -> str:
    """The table, and where it is from; nothing where the result has no such table."""
    content = path.read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(table)}\n(?P<body>.*?)(?=^## |\Z)", content, re.DOTALL | re.MULTILINE)
    if section is None:
        return ""
    return f"{section['body'].strip()}\n\nFrom [{path.name}](../benchmarks/results/{path.name}): {_machine(content)}."


def _machine(content: str) -> str:
    facts = dict(re.findall(r"^\| (commit|processor|threads|torch) \| (.+?) \|$", content, re.MULTILINE))
    parts = [facts.get("processor", "a machine that is not named")]
    parts += [f"{facts['threads']} threads"] if "threads" in facts else []
    parts += [f"{key} {facts[key]}" for key in ("torch", "commit") if key in facts]
    return ", ".join(parts)


def _draw(name: str, result: str, draw: Callable[[Any, Mapping[str, Any]], None]) -> bool:
    path = next(iter(results_of(result, RESULTS)), None)
    if path is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["data"]
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    draw(axes, data)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="major", alpha=0.3)
    PLOTS.mkdir(exist_ok=True)
    # Without the version of the library, which would change the file with every release of it.
    figure.savefig(PLOTS / f"{name}.png", metadata={"Software": None})
    pyplot.close(figure)
    return True


def _lines(
    axes: Any, x: Sequence[float], ticks: Sequence[str], lines: Sequence[tuple[str, Sequence[float], str]]
) -> None:
    """Curves on two logarithmic axes, each named at its end."""
    for label, y, colour in lines:
        axes.plot(x, y, "o-", color=colour, label=label, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(x, ticks)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.legend(frameon=False, fontsize=8)


def _from_nothing(axes: Any) -> None:
    """The axis begins at 0 and leaves room above the curve."""
    axes.set_ylim(0, 1.15 * axes.dataLim.ymax)


def _costs(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[float], str]]:
    return [
        ("facenet-pytorch's parts, every frame", [row["reference_ms"] for row in rows], REFERENCE),
        ("ours, every frame", [row["every_frame_ms"] for row in rows], OURS),
        ("live path, with tracking", [row["live_ms"] for row in rows], LIVE),
    ]


def _faces(axes: Any, data: Mapping[str, Any]) -> None:
    rows = data["faces"]
    _lines(axes, [row["faces"] for row in rows], [str(row["faces"]) for row in rows], _costs(rows))
    axes.set(xlabel="faces in a frame of 1920x1080", ylabel="ms a frame", title="Cost against faces")


def _size(axes: Any, data: Mapping[str, Any]) -> None:
    rows = data["size"]
    pixels = [int(row["size"].split("x")[0]) * int(row["size"].split("x")[1]) / 1e6 for row in rows]
    _lines(axes, pixels, [row["size"] for row in rows], _costs(rows))
    axes.set(xlabel="frame with two faces", ylabel="ms a frame", title="Cost against frame size")


def _cameras(axes: Any, data: Mapping[str, Any]) -> None:
    rows = data["cameras"]
    lines = [
        ("a person before each", [row["busy_ms"] for row in rows], OURS),
        ("before one of them", [row["one_busy_ms"] for row in rows], LIVE),
        ("before none", [row["idle_ms"] for row in rows], REFERENCE),
    ]
    _lines(axes, [row["cameras"] for row in rows], [str(row["cameras"]) for row in rows], lines)
    axes.axhline(1000 / 30, color=FLOOR, linewidth=1, linestyle="--")
    axes.annotate("30 frames a second", (1, 1000 / 30), xytext=(0, 3), textcoords="offset points", fontsize=8)
    axes.set(xlabel="cameras of 640x360", ylabel="ms for a frame of each", title="Cost against cameras")


def _memory(axes: Any, data: Mapping[str, Any]) -> None:
    for key, what, colour in (("faces", "faces", OURS), ("cameras", "cameras", LIVE)):
        rows = data[key]
        axes.plot([r[key] for r in rows], [r["memory_mb"] for r in rows], "o-", color=colour, label=what, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    _from_nothing(axes)
    axes.legend(frameon=False, fontsize=8)
    axes.set(xlabel="faces at 1920x1080, or cameras of 640x360", ylabel="MB resident", title="Memory of the process")


def _gallery(axes: Any, data: Mapping[str, Any]) -> None:
    shades = {128: (OURS, FLOOR), 512: ("#0b3c5d", "#7a1a1a")}
    for dimension, (colour, floor) in shades.items():
        rows = [r for r in data["rows"] if r["dimension"] == dimension and r["kind"] == "face-like"]
        if not rows:
            continue
        people = [row["people"] for row in rows]
        axes.plot(people, [r["one_ms"] for r in rows], "o-", color=colour, label=f"lookup, {dimension}-D", markersize=4)
        axes.plot(
            people,
            [r["floor_ms"] for r in rows],
            "--",
            color=floor,
            linewidth=1,
            label=f"reading it once, {dimension}-D",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.legend(frameon=False, fontsize=8)
    axes.set(xlabel="people in the gallery", ylabel="ms a lookup", title="Exact lookup against gallery size")


def _soak(axes: Any, data: Mapping[str, Any]) -> None:
    axes.plot([frames for frames, _ in data["curve"]], [mb for _, mb in data["curve"]], color=OURS)
    _from_nothing(axes)
    axes.set(xlabel="frames", ylabel="MB resident", title="Memory over 10,000 frames")


def _shrunk(axes: Any, data: Mapping[str, Any]) -> None:
    colours = dict(
        zip(dict.fromkeys(r["detector"] for r in data["shrunk"]), (OURS, LIVE, FLOOR, REFERENCE), strict=False)
    )
    for name, colour in colours.items():
        rows = [row for row in data["shrunk"] if row["detector"] == name]
        shares = [100 * row["found"] for row in rows]
        axes.plot([row["face_px"] for row in rows], shares, "o-", color=colour, label=name, markersize=4)
    axes.set_ylim(0, 103)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set(xlabel="width of the face, px", ylabel="found, %", title="Portraits shrunk until they are lost")


CURVES: Mapping[str, tuple[str, Callable[[Any, Mapping[str, Any]], None]]] = {
    "faces": ("curves", _faces),
    "size": ("curves", _size),
    "cameras": ("curves", _cameras),
    "memory": ("curves", _memory),
    "gallery": ("search", _gallery),
    "soak": ("soak", _soak),
    "smallest-face": ("detectors", _shrunk),
}


if __name__ == "__main__":
    sys.exit(main())
