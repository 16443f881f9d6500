"""The events file: whole lines, whatever was in it and whatever goes wrong."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from attendance.errors import UsageError
from attendance.events import Event, EventLog, format_utc
from attendance.types import Candidate, Direction, EventKind
from tests.fakes import at


def event(number: int = 1) -> Event:
    return Event(
        event_id=f"event-{number}", observed_at=at(0.0415), kind=EventKind.PUNCH, identity_id="Zoë",
        similarity=0.98765432, runner_up=Candidate("red", 0.5), margin=0.48765432, threshold=0.9, reason="match",
        box=(1.04, 2.0, 3.0, 4.0), track_id=7, camera_id="camera-1", site="main", direction=Direction.IN, model="m",
    )  # fmt: skip


def test_a_line_is_there_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        for number in (1, 2):
            log.append(event(number))
            written = path.read_text(encoding="utf-8")
            assert written.count("\n") == number
            assert json.loads(written.splitlines()[-1])["event_id"] == f"event-{number}"
    assert json.loads(written.splitlines()[0]) == {
        "event_id": "event-1", "observed_at": "2026-03-02T08:00:00.041Z", "kind": "punch", "identity_id": "Zoë",
        "similarity": 0.987654, "runner_up": {"identity_id": "red", "similarity": 0.5}, "margin": 0.487654,
        "threshold": 0.9, "reason": "match", "box": [1.0, 2.0, 3.0, 4.0], "track_id": 7, "camera_id": "camera-1",
        "site": "main", "direction": "in", "model": "m",
    }  # fmt: skip
    assert "Zoë" in written


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event_id": "event-0"}\n{"event_id": "ev', encoding="utf-8")
    for number in (1, 2):
        with EventLog(path) as log:
            log.append(event(number))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(lines[i])["event_id"] for i in (0, 2, 3)] == ["event-0", "event-1", "event-2"]


def test_a_full_disk_is_told_and_what_fits_later_is_whole(tmp_path: Path) -> None:
    """A limit on the file's size stands for the disk."""
    path = tmp_path / "events.jsonl"
    size = len(json.dumps(event().to_json(), ensure_ascii=False).encode()) + 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventLog(path) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            log.append(event(1))
            for number in (2, 3):
                with pytest.raises(OSError, match=r"No space|too large"):
                    log.append(event(number))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.append(event(4))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(lines[i])["event_id"] for i in (0, -1)] == ["event-1", "event-4"]


@pytest.mark.parametrize("path", ["none/events.jsonl", "."])
def test_a_file_that_cannot_be_written_is_wrong_use(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match=r"--events .*: cannot be written \(.*\): name another file"):
        EventLog(tmp_path / path)


def test_without_a_path_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with EventLog(None) as log:
        log.append(event())
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_can_be_an_events_file() -> None:
    read_end, write_end = os.pipe()
    with EventLog(Path(f"/dev/fd/{write_end}")) as log:
        log.append(event())
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        assert json.loads(reader.read())["track_id"] == 7


def test_times_are_utc_in_milliseconds() -> None:
    assert format_utc(at(0.0015)) == "2026-03-02T08:00:00.001Z"
