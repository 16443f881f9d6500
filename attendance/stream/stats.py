"""How a run goes, in figures for a person and for JSON: rates, times and queues, and no name of anybody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from attendance.stream.running import Stream
from attendance.stream.vision import Lane
from attendance.telemetry import STAGES, TO_PUNCH, Telemetry, Times


class Stats:
    """Figures of a run from the moment this is made; ask it from one thread."""

    def __init__(self, stream: Stream, lanes: Sequence[Lane], telemetry: Telemetry, *, warm_up_s: float) -> None:
        """``warm_up_s``: how long the work before the first frame took."""
        self._warm_up_s = warm_up_s
        self._stream, self._lanes, self._telemetry = stream, lanes, telemetry
        self._began_s = self._looked_s = time.monotonic()
        self._looked_at, self._busy_s = [0] * len(lanes), 0.0

    def to_json(self) -> dict[str, Any]:
        """The run so far: rates over all of it, times in milliseconds."""
        seconds = time.monotonic() - self._began_s
        times = self._telemetry.times()
        frames = [lane.kiosk.summary.frames for lane in self._lanes]
        highest = self._stream.frames.highest()
        return {
            "seconds": round(seconds, 3),
            "warm_up_s": round(self._warm_up_s, 3),
            "cameras": [
                {
                    "camera_id": lane.station.camera_id,
                    "frames": count,
                    "frames_per_s": round(count / seconds, 2) if seconds > 0.0 else 0.0,
                    "dropped": _dropped(lane),
                }
                for lane, count in zip(self._lanes, frames, strict=True)
            ],
            "vision": self._vision(seconds),
            "stages": {step: _times(times[step]) for step in STAGES if step in times},
            "to_punch": _times(times[TO_PUNCH]) if TO_PUNCH in times else None,
            "queues": {
                "frames": {"bound": self._frames_bound(), "highest": max(highest)},
                "results": {"bound": self._stream.results.bound, "highest": self._stream.results.highest},
            },
        }

    @property
    def age_s(self) -> float:
        """Seconds since the last table."""
        return time.monotonic() - self._looked_s

    def table(self) -> str:
        """The run as a few lines: rates since the last table, times of the last steps, queues as they are now."""
        now_s = time.monotonic()
        passed, self._looked_s = max(now_s - self._looked_s, 1e-9), now_s
        counts = [lane.kiosk.summary.frames for lane in self._lanes]
        rates = [(count - before) / passed for count, before in zip(counts, self._looked_at, strict=True)]
        self._looked_at = counts
        wide = max(len("camera"), *(len(lane.station.camera_id) for lane in self._lanes))
        lines = [f"{'camera':<{wide}}  frames/s   frames  dropped  waiting"]
        for place, (lane, rate, count) in enumerate(zip(self._lanes, rates, counts, strict=True)):
            waiting = f"{self._stream.frames.depth(place)}/{self._stream.frames.bound(place)}"
            name = f"{lane.station.camera_id:<{wide}}"
            lines.append(f"{name}  {rate:8.1f} {count:8d} {_dropped(lane):8d} {waiting:>8}")
        results, effort = self._stream.results, self._stream.effort
        # A round counts when it ends, also for the time before this table.
        busy = min((effort.busy_s - self._busy_s) / passed, 1.0)
        self._busy_s = effort.busy_s
        a_round = effort.frames / effort.rounds if effort.rounds else 0.0
        lines.append(
            f"vision busy {busy:.0%}, {a_round:.1f} frames a round; "
            f"results waiting {results.depth}/{results.bound} (most {results.highest})"
        )
        return "\n".join([f"after {now_s - self._began_s:.0f} s", *lines, *self._steps()])

    def _steps(self) -> list[str]:
        times = self._telemetry.times()
        steps = [step for step in (*STAGES, TO_PUNCH) if step in times]
        heads = [step.replace("_", " ") for step in steps]
        rows = {
            "ms": heads,
            "mean": [f"{times[step].mean_s * 1000:.2f}" for step in steps],
            "p95": [f"{times[step].p95_s * 1000:.2f}" for step in steps],
        }
        return [f"{head:<5}" + "".join(f"{cell:>9}" for cell in cells) for head, cells in rows.items()]

    def _vision(self, seconds: float) -> dict[str, Any]:
        effort = self._stream.effort
        return {
            "rounds": effort.rounds,
            "frames_per_round": round(effort.frames / effort.rounds, 2) if effort.rounds else 0.0,
            "busy": round(effort.busy_s / seconds, 4) if seconds > 0.0 else 0.0,
        }

    def _frames_bound(self) -> int:
        return max(self._stream.frames.bound(place) for place in range(len(self._lanes)))


def _dropped(lane: Lane) -> int:
    health = lane.station.health
    return 0 if health is None else health.dropped


def _times(times: Times) -> dict[str, Any]:
    return {
        "count": times.count,
        "mean_ms": round(times.mean_s * 1000, 3),
        "p95_ms": round(times.p95_s * 1000, 3),
    }
