"""Events: one line of JSON per track and change of state, as the contract names their keys."""

from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attendance.errors import UsageError
from attendance.types import Candidate, Direction, EventKind


@dataclass(frozen=True, slots=True)
class Event:
    """What a kiosk saw and what became of it. ``box`` is x1, y1, x2, y2 in pixels of the frame."""

    event_id: str
    observed_at: datetime
    kind: EventKind
    identity_id: str | None
    similarity: float | None
    runner_up: Candidate | None
    margin: float | None
    threshold: float | None
    reason: str
    box: tuple[float, float, float, float]
    track_id: int
    camera_id: str
    site: str
    direction: Direction
    model: str

    def to_json(self) -> dict[str, Any]:
        """The event as the contract's JSON object; similarities to six decimals, the box to a tenth of a pixel."""
        runner_up = self.runner_up
        return {
            "event_id": self.event_id,
            "observed_at": format_utc(self.observed_at),
            "kind": str(self.kind),
            "identity_id": self.identity_id,
            "similarity": _rounded(self.similarity),
            "runner_up": None
            if runner_up is None
            else {
                "identity_id": runner_up.identity_id,
                "similarity": _rounded(runner_up.similarity),
            },
            "margin": _rounded(self.margin),
            "threshold": _rounded(self.threshold),
            "reason": self.reason,
            "box": [round(value, 1) for value in self.box],
            "track_id": self.track_id,
            "camera_id": self.camera_id,
            "site": self.site,
            "direction": str(self.direction),
            "model": self.model,
        }


class EventLog:
    """Appends events to a file, each handed to the operating system as one line; without a path it keeps nothing.

    Events may come from several threads.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: FileIO | None = None
        self._mid_line = False
        self._lock = threading.Lock()
        if path is not None:
            try:
                self._mid_line = _ends_mid_line(path)
                self._file = path.open("ab", buffering=0)
            except OSError as error:
                raise UsageError(f"--events {path}: cannot be written ({error.strerror}): name another file") from error

    def append(self, event: Event) -> None:
        """Write one line; raises OSError when that fails, such as on a full disk.

        A line that a crash or a full disk cut short is ended first, so that it spoils no other.
        """
        if self._file is None:
            return
        text = json.dumps(event.to_json(), ensure_ascii=False).encode() + b"\n"
        with self._lock:
            line = (b"\n" if self._mid_line else b"") + text
            self._mid_line = True
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._mid_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


def _ends_mid_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def format_utc(moment: datetime) -> str:
    """An aware datetime as ISO 8601 in UTC with milliseconds and ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
