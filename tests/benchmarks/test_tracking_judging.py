"""What the tracking benchmark promises: for every generated video its speed, what is kept, and everybody."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.tracking import judge


def row(kind: str = "crowd", **changed: Any) -> dict[str, Any]:
    found = {"kind": kind, "name": kind, "ratio": 13.0, "kept": 0.96, "missed_people": [], "tracked_ms": 30.0}
    return found | changed


def test_every_generated_video_is_judged_and_the_street_is_not() -> None:
    promises = judge([row("one"), row("eight"), row("crowd"), row("street", ratio=1.0, kept=0.1)])
    assert all(promises.values())
    assert len(promises) == 3 + 4 + 3


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("one", {"ratio": 11.9}),
        ("eight", {"ratio": 9.9}),
        ("crowd", {"ratio": 9.9}),
        ("crowd", {"kept": 0.949}),
        ("one", {"missed_people": [2]}),
        ("eight", {"tracked_ms": 51.0}),
    ],
)
def test_one_miss_breaks_one_promise(kind: str, changed: dict[str, Any]) -> None:
    assert sum(not kept for kept in judge([row(kind, **changed)]).values()) == 1
