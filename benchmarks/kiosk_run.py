"""The programs as their user runs them, in this process, with a note of when each punch was in the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli import build, realtime
from attendance.config import Settings
from attendance.ledger.port import Ledger, Recorded
from attendance.types import Punch
from benchmarks.lfw import materialise


class NotedApp(App):
    """Notes ``written``: each punch with the moment, in s of `time.monotonic`, at which the ledger had stored it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.written: list[tuple[float, Punch]] = []

    @cached_property
    def ledger(self) -> Ledger:
        """The configured ledger."""
        ledger: Ledger = super().ledger
        record = ledger.record

        def noted(punch: Punch) -> Recorded:
            recorded = record(punch)
            self.written.append((time.monotonic(), punch))
            return recorded

        ledger.record = noted  # type: ignore[method-assign]
        return ledger

    def frames_taken(self) -> float:
        """Frames that the path was given so far."""
        value = self.telemetry.registry.get_sample_value(
            "attendance_frames_total", {"camera": self.settings.cameras[0].id}
        )
        return 0.0 if value is None else value


def enrol(people: Mapping[str, Sequence[Path]], folder: Path) -> Path:
    """Enrol these people's photos by the program, in a store under ``folder``; returns the store."""
    photos, store = materialise(folder / "people", people), folder / "store"
    code = build.main([str(photos), "--store", str(store), "--face", "centre", "--quiet"])
    if code != 0:
        raise SystemExit(f"build_database.py ended with exit code {code}")
    return store


def watch(store: Path, source: str, *, on_app: Callable[[NotedApp], None], flags: Sequence[str] = ()) -> dict[str, Any]:
    """Run the program without a window until the source ends or the flags say so; what it says as JSON.

    ``on_app`` is given the app before anything is loaded.
    """
    result = store.parent / "watched.json"

    def make_app(settings: Settings) -> NotedApp:
        app = NotedApp(settings)
        on_app(app)
        return app

    arguments = ["--store", str(store), "--source", source, "--headless", "--quiet", "--json", str(result), *flags]
    code = realtime.main(arguments, make_app=make_app)
    if code != 0:
        raise SystemExit(f"realtime_attendance.py ended with exit code {code}")
    said: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return said
