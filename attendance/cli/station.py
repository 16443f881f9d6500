"""What a run of cameras tells at its end and in its health note."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from attendance.camera import Health
from attendance.events import format_utc
from attendance.kiosk import Summary
from attendance.stream import Lane, Station


class Stop:
    """Why all cameras are to stop: a signal (their numbers are noted in ``signals``), or the window was closed."""

    def __init__(self, signals: list[int]) -> None:
        self._signals = signals
        self._closed = threading.Event()

    def __call__(self) -> bool:
        return bool(self._signals) or self._closed.is_set()

    @property
    def is_urgent(self) -> bool:
        """Whether a second signal came."""
        return len(self._signals) > 1

    def close(self) -> None:
        """The window was closed."""
        self._closed.set()


def note_of(station: Station) -> dict[str, Any]:
    """The camera as the kiosk's health document holds it."""
    health = station.health
    state = "failed" if station.error is not None else "connecting" if health is None else str(health.state)
    return {
        "id": station.camera_id,
        "state": state,
        "frames": 0 if health is None else health.frames,
        "dropped": 0 if health is None else health.dropped,
        "reconnects": 0 if health is None else health.reconnects,
        "last_frame_at": None if health is None else health.last_frame_at,
    }


def lane_json(lane: Lane) -> dict[str, Any]:
    """Summary, health and failure of one camera of several as JSON values."""
    station = lane.station
    return {
        "camera_id": station.camera_id,
        **lane.kiosk.summary.to_json(),
        "camera": health_json(station.health),
        "error": None if station.error is None else str(station.error),
    }


def total_of(summaries: Sequence[Summary]) -> Summary:
    """The summaries of several cameras as one."""
    total = Summary()
    for each in summaries:
        total.frames += each.frames
        total.kinds.update(each.kinds)
        total.reasons.update(each.reasons)
        total.recorded += each.recorded
        total.not_recorded += each.not_recorded
        total.events_lost += each.events_lost
    total.recorded.sort(key=lambda one: one[1])
    total.first_frame_at = min((s.first_frame_at for s in summaries if s.first_frame_at is not None), default=None)
    total.last_frame_at = max((s.last_frame_at for s in summaries if s.last_frame_at is not None), default=None)
    return total


def health_json(health: Health | None) -> dict[str, Any] | None:
    """The camera's health as JSON values; None of one that was never opened."""
    if health is None:
        return None
    last = health.last_frame_at
    return {**asdict(health), "state": str(health.state), "last_frame_at": None if last is None else format_utc(last)}
