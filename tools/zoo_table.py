"""Writes the table of models in docs/models.md from the catalogue: `python -m tools.zoo_table [--check]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from attendance.zoo.catalogue import ZooModel, packaged_catalogue

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- zoo table: made by tools/zoo_table.py -->", "<!-- end of the zoo table -->"

SPEED = {"dlib-resnet29": "[measured](../benchmarks/results)"}
"""Where the measured speed of what can be loaded from packages stands; the rest could not be fetched to be measured."""


def row(model: ZooModel) -> str:
    """One line of the table."""
    comes = (
        f"package `{model.package}`"
        if model.package is not None
        else "import only"
        if model.sha256 is None
        else "`pull`"
    )
    reported = f"{model.reported_text()} ({model.reported_by})" if model.reported else ""
    speed = SPEED.get(model.id, "not measured")
    known = (f"`{model.id}`", model.role.value, model.size_text(), model.licence, model.commercial.value)
    return f"| {' | '.join((*known, comes, speed, reported))} |"


def table() -> str:
    """The whole table, between its marks."""
    head = (
        "| id | role | size | licence | commercial use | comes by | speed here | reported by its authors, in per cent |"
    )
    lines = [BEGIN, head, "|---|---|---|---|---|---|---|---|", *map(row, packaged_catalogue().values()), END]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The page with the table in its place. ValueError where the page has no place for it."""
    start, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:start] + table() + text[end:]


def main(argv: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` compare; the exit code."""
    parser = argparse.ArgumentParser(prog="zoo_table", description="The table of models in docs/models.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when it would")
    arguments = parser.parse_args(argv)
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(before)
    if arguments.check:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
