"""How a benchmark's result is written down: what was measured, on what, by which commit and command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "torch", "opencv-python", "onnxruntime", "numba", "chromadb", "facenet-pytorch")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report: its heading, its columns and its rows, each cell as it shall be read."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def write_result(
    name: str,
    title: str,
    *,
    tables: Sequence[Table],
    data: Mapping[str, Any],
    command: str,
    threads: int | None = None,
    folder: Path = RESULTS,
    day: date | None = None,
) -> tuple[Path, Path]:
    """Write ``<day>-<name>.md`` and ``.json`` into ``folder``; a result of the same day is replaced.

    Args:
        name: of the benchmark.
        title: heading of the Markdown.
        tables: what a person reads.
        data: what a program reads, plain values only.
        command: what produced it, as typed in the checkout.
        threads: processor threads that the measured code used, where that matters.
        folder: where results lie.
        day: date in UTC, default today.

    Returns:
        The two files, Markdown first.
    """
    stem = f"{(datetime.now(UTC).date() if day is None else day).isoformat()}-{name}"
    circumstances = {"command": command, **environment()}
    if threads is not None:
        circumstances["threads"] = str(threads)
    folder.mkdir(parents=True, exist_ok=True)
    markdown, plain = folder / f"{stem}.md", folder / f"{stem}.json"
    markdown.write_text(_markdown(title, circumstances, tables), encoding="utf-8")
    content = {"title": title, "circumstances": circumstances, "data": data}
    plain.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return markdown, plain


@cache
def environment() -> dict[str, str]:
    """Commit, machine and versions; nothing that names the host or its user.

    Taken once: call it before the measured code is imported, so that a commit made meanwhile is not taken for it.
    """
    return {
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def share(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    """A rate as a person reads it: ``98.95 % [98.41, 99.32]``; a dash where there is none."""
    if value is None:
        return "-"
    text = f"{100.0 * value:.2f} %"
    if interval is None or interval[0] is None or interval[1] is None:
        return text
    return f"{text} [{100.0 * interval[0]:.2f}, {100.0 * interval[1]:.2f}]"


def _markdown(title: str, circumstances: Mapping[str, str], tables: Sequence[Table]) -> str:
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in circumstances.items()]
    for table in tables:
        lines += ["", f"## {table.title}", ""]
        lines += [f"| {' | '.join(_cell(column) for column in table.columns)} |", "|---" * len(table.columns) + "|"]
        lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]
        if table.note:
            lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _commit() -> str:
    """The checkout's commit, with a mark where tracked code differs from it."""
    try:
        root = Path(__file__).parents[1]
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        state = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return head.stdout.strip() + (" with changes" if state.stdout.strip() else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


def _memory() -> str:
    try:
        pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return UNKNOWN
    return f"{pages * page_bytes / 2**30:.0f} GiB"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
