"""Writes the tables of models in README.md and docs/models.md: `python -m tools.zoo_table [--check]`.

What is known of a model comes from the catalogue. Speeds come from the newest results of `python -m benchmarks
embedding` and `python -m benchmarks detectors`, so that a table never says what no command measured.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attendance.zoo.catalogue import ZooModel, packaged_catalogue

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "models.md")
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- zoo table: made by tools/zoo_table.py -->", "<!-- end of the zoo table -->"

EMBEDDED = "dlib-resnet29"
"""Whose network `benchmarks embedding` times."""


def speeds(results: Path = RESULTS) -> dict[str, str]:
    """What the newest results say of models that can be loaded from packages; the others could not be fetched."""
    found = {}
    embedding = _newest(results, "embedding")
    if embedding is not None:
        times = {row["faces"]: row["ours_ms"] for row in embedding["rows"] if row["mirror"]}
        found[EMBEDDED] = f"{times[min(times)]:.1f} ms a face, {times[max(times)]:.1f} of {max(times)} at once"
    detectors = _newest(results, "detectors")
    rows = [] if detectors is None else detectors["speed"]
    for name in dict.fromkeys(row["detector"] for row in rows):
        times = {row["frame"]: row["ms"] for row in reversed(rows) if row["detector"] == name}
        found[name] = ", ".join(f"{ms:.1f} ms at {frame}" for frame, ms in reversed(times.items()))
    return found


def row(model: ZooModel, speed: str) -> str:
    """One line of the table."""
    comes = (
        f"package `{model.package}`"
        if model.package is not None
        else "import only"
        if model.sha256 is None
        else "`pull`"
    )
    reported = f"{model.reported_text()} ({model.reported_by})" if model.reported else ""
    known = (f"`{model.id}`", model.role.value, model.size_text(), model.licence, model.commercial.value)
    return f"| {' | '.join((*known, comes, speed, reported))} |"


def table() -> str:
    """The whole table, between its marks."""
    head = (
        "| id | role | size | licence | commercial use | comes by | speed here | reported by its authors, in per cent |"
    )
    measured = speeds()
    rows = [row(model, measured.get(model.id, "not measured")) for model in packaged_catalogue().values()]
    return "\n".join([BEGIN, head, "|---|---|---|---|---|---|---|---|", *rows, END])


def with_table(text: str) -> str:
    """The page with the table in its place. ValueError where the page has no place for it."""
    start, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:start] + table() + text[end:]


def main(argv: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` compare; the exit code."""
    parser = argparse.ArgumentParser(prog="zoo_table", description="The table of models in README.md, docs/models.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when it would")
    arguments = parser.parse_args(argv)
    differing = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = with_table(before)
        differing += before != after
        if not arguments.check:
            page.write_text(after, encoding="utf-8")
    return int(arguments.check and differing > 0)


def _newest(results: Path, name: str) -> dict[str, Any] | None:
    """The data of the last dated result of a benchmark."""
    files = sorted(results.glob(f"????-??-??-{name}.json"))
    if not files:
        return None
    data: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))["data"]
    return data


if __name__ == "__main__":
    sys.exit(main())
