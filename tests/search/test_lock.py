"""The lock: one at a time, the other one waits or learns who it is; a dead holder's text blocks nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from attendance.errors import LockHeldError
from attendance.search import lock

HOLD = """
import sys, time
from pathlib import Path
from attendance.search import lock
with lock.hold(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_learns_who_holds_it_and_a_kill_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "chroma.lock"
    with holder(path) as process:
        try:
            with (
                pytest.raises(LockHeldError, match=rf"process {process.pid} on .* since 20.*Z"),
                lock.hold(path, wait_s=0),
            ):
                pytest.fail("two hold the lock")
        finally:
            process.send_signal(signal.SIGKILL)
    assert f"process {process.pid}" in lock.describe(path)
    with lock.hold(path, wait_s=5):
        assert f"process {os.getpid()}" in lock.describe(path)


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "chroma.lock"
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with lock.hold(path, wait_s=0):
            inside.set()
            leave.wait(10)
            order.append("first leaves")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    threading.Timer(0.2, leave.set).start()
    with lock.hold(path, wait_s=20):
        order.append("second enters")
    thread.join()
    assert order == ["first leaves", "second enters"]


def test_nothing_but_the_lock_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "chroma.lock"
    with lock.hold(path, wait_s=0):
        written = json.loads((tmp_path / "chroma.lock.holder").read_text(encoding="utf-8"))
        assert set(written) == {"pid", "host", "command", "since"}
        assert (tmp_path / "chroma.lock.holder").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["chroma.lock"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_unreadable_text_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "chroma.lock"
    (tmp_path / "chroma.lock.holder").write_bytes(b"\xff{")
    assert "not written its name" in lock.describe(path)
    with lock.hold(path, wait_s=0):
        assert str(os.getpid()) in lock.describe(path)
