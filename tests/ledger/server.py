"""A MongoDB to test against: SecantusDB as a process of its own, or the server that MONGODB_URL names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient

PROGRAM = Path(sys.executable).with_name("secantusd-py")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """SecantusDB on a free port with its data in ``folder``; it can be killed and started again."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = list(options)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str, *, user: str = "", options: str = "") -> str:
        return f"mongodb://{user}{'@' if user else ''}{self.address}/{database}{options}"

    def start(self) -> None:
        command = [str(PROGRAM), "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "ERROR"]
        command += ["--storage-path", str(self.folder), *self.options]
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder.parent)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, "the server ended by itself"
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


_shared: list[Server] = []
_folders: set[Path] = set()


def shared_server() -> str:
    """The URL of the server that the tests share, without a database: MONGODB_URL, or one of our own."""
    outside = os.environ.get("MONGODB_URL", "")
    if outside:
        return outside.rstrip("/")
    if not _shared:
        _shared.append(Server(Path(tempfile.mkdtemp(prefix="ledger-mongo-")) / "data"))
    return f"mongodb://{_shared[0].address}"


def stop_shared_server() -> None:
    while _shared:
        server = _shared.pop()
        server.kill()
        shutil.rmtree(server.folder.parent)


def fresh_database(folder: Path) -> str:
    """The URL of the tests' database, emptied when a test asks for the first time; ``folder`` is the test's own.

    One database for all: making its collections and indexes takes longer than most tests.
    """
    url = f"{shared_server()}/attendance_tests"
    if folder not in _folders:
        _folders.add(folder)
        with MongoClient[dict[str, Any]](url) as client:
            database = client.get_default_database()
            for name in database.list_collection_names():
                if name != "schema":
                    database[name].delete_many({})
    return url
