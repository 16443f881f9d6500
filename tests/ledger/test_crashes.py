"""Processes that are killed, and processes at once: every acknowledged punch is there, once, and counted right."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import AttendanceRow

WRITER = Path(__file__).with_name("writer.py")
ROOT = WRITER.parents[2]


def start(path: Path | str, *, first: int, count: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(path), str(first), str(count), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def check(ledger: Ledger, acknowledged: set[str], expected_rows: Callable[..., list[AttendanceRow]]) -> int:
    punches = ledger.punches()
    ids = [punch.event_id for punch in punches]
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
    assert ledger.attendance() == expected_rows(punches)
    return len(ids)


def test_a_killed_writer_loses_and_doubles_nothing(
    sqlite_path: Path, expected_rows: Callable[..., list[AttendanceRow]]
) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    for kill in range(6):
        writer = start(sqlite_path, first=100 * (kill // 2), count=300, seed=kill)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            acknowledged.add(writer.stdout.readline().split()[0])
        time.sleep(chance.random() * 0.005)
        writer.kill()
        # What it had printed before it died counts as acknowledged too; a line cut short does not.
        acknowledged.update(line.split()[0] for line in writer.stdout.read().splitlines(True) if line.endswith("\n"))
        writer.wait()
        writer.stdout.close()
        with SqliteLedger(sqlite_path, cooldown_s=300.0, time_zones={}) as ledger:
            stored = check(ledger, acknowledged, expected_rows)
            assert len(acknowledged) <= stored <= len(acknowledged) + kill + 1


def test_two_processes_recording_the_same_punches_store_each_once(
    sqlite_path: Path, expected_rows: Callable[..., list[AttendanceRow]]
) -> None:
    writers = [start(sqlite_path, first=0, count=150, seed=seed) for seed in (1, 2)]
    printed = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    said = [dict(zip(words[::2], words[1::2], strict=True)) for words in printed]
    assert all(len(words) == 150 for words in said)
    assert all({words[event_id] for words in said} == {"new", "known"} for event_id in said[0])
    with SqliteLedger(sqlite_path, cooldown_s=300.0, time_zones={}) as ledger:
        assert check(ledger, set(said[0]), expected_rows) == 150
