"""The ledger of results: one JSON object a line, appended whole or not at all; the curves beside it."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attendance.errors import StoreError
from lab.experiments.plan import Run
from lab.train.atomic import flush_folder

FOLDER = Path(__file__).resolve().parents[1] / "results"
ROWS, CURVES, PEOPLE, TIMES = "experiments.jsonl", "curves", "pairs-report-people.json", "times.json"

Row = dict[str, Any]


class Results:
    """The finished rows under ``folder``."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def rows(self) -> list[Row]:
        """Every row ever finished, oldest first.

        Raises:
            StoreError: a line is no JSON object.
        """
        path = self.folder / ROWS
        if not path.exists():
            return []
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                rows.append(dict(json.loads(line)))
            except ValueError as error:
                raise StoreError(f"{path}: line {number}: expected a JSON object; take it from the history") from error
        return rows

    def row_of(self, run: Run) -> Row | None:
        """The last row of this run as it is planned now."""
        fingerprint = run.fingerprint()
        of_it = [row for row in self.rows() if row["name"] == run.name and row["fingerprint"] == fingerprint]
        return of_it[-1] if of_it else None

    def append(self, row: Mapping[str, Any], *, curve: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Keep a finished row; False where this very run was kept already. A kill leaves the old or the new file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder):
            known = self.rows()
            if any((r["name"], r["fingerprint"]) == (row["name"], row["fingerprint"]) for r in known):
                return False
            if curve:
                _write(self.curve_path(row["name"]), _csv(curve))
            lines = [json.dumps(r, ensure_ascii=False, allow_nan=False) for r in (*known, row)]
            _write(self.folder / ROWS, "\n".join(lines) + "\n")
        return True

    def curve_path(self, name: str) -> Path:
        """Where a run's curve lies."""
        return self.folder / CURVES / f"{name.replace('/', '--')}.csv"

    def curve(self, name: str) -> list[dict[str, str]]:
        """A run's curve, empty where none was kept."""
        path = self.curve_path(name)
        if not path.exists():
            return []
        return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))

    def keep_people(self, first: Sequence[int], second: Sequence[int], people: int) -> None:
        """Which pair shows which people, as numbers: what intervals over people need and no name is needed for."""
        path = self.folder / PEOPLE
        if not path.exists():
            content = {"people": people, "first": list(first), "second": list(second)}
            _write(path, json.dumps(content, separators=(",", ":")) + "\n")

    def people(self) -> dict[str, Any] | None:
        """See `keep_people`."""
        path = self.folder / PEOPLE
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def times(self) -> dict[str, dict[str, Any]]:
        """By experiment/row, what a step and a face took on a machine that did nothing else."""
        path = self.folder / TIMES
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def keep_times(self, times: Mapping[str, Mapping[str, Any]]) -> None:
        """See `times`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / TIMES, json.dumps(times, indent=1, sort_keys=True) + "\n")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(
            f"{path}: cannot be written ({error.strerror}): make room, or name another --results"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The folder itself is the lock: no file is left behind in the checkout.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
