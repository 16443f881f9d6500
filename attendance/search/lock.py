"""The lock of an embedded gallery: one opener at a time, and everybody else learns who it is.

The lock itself is the operating system's (released by a kill), the text beside it only tells who holds it; a text that
outlived its writer therefore blocks nobody.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from attendance.errors import LockHeldError, StoreError


@contextmanager
def hold(path: Path, *, wait_s: float) -> Iterator[None]:
    """Hold the lock file ``path``, waiting up to ``wait_s`` seconds for whoever holds it.

    Raises LockHeldError that names the holder (process id, host, command, since when), or StoreError where the file
    cannot be made or the file system has no locks.
    """
    lock = FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=max(wait_s, 0.0))
    except Timeout as error:
        raise LockHeldError(
            f"the gallery lock {path} should have come free within {wait_s:g} s, but is held by {describe(path)}: "
            "wait for it to end, or raise search.lock_wait_s"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"the gallery lock {path} should be a file that can be locked, got {error}") from error
    try:
        _write_holder(path)
        yield
    finally:
        _holder_file(path).unlink(missing_ok=True)
        lock.release()


def describe(path: Path) -> str:
    """Who holds the lock file ``path``, as a phrase; says so where nothing readable is written."""
    try:
        holder = json.loads(_holder_file(path).read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} ({holder['command']}) since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not written its name"


def _holder_file(path: Path) -> Path:
    return path.with_name(path.name + ".holder")


def _write_holder(path: Path) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv)[:200],
        "since": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    file = _holder_file(path)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(holder, handle)
    draft.replace(file)
