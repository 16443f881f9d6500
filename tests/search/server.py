"""A real Chroma server on a free port, which can be killed, stopped in its tracks, emptied and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx

from attendance.search.chroma import GraphSettings, ServerStore
from tests.enrolled import CARD, DIMENSION

PROGRAM = Path(sys.executable).with_name("chroma")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class ChromaServer:
    """``chroma run`` with its data in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(PROGRAM), "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder.parent)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server ended by itself"
            try:
                if httpx.get(f"{self.url}/api/v2/heartbeat", timeout=1.0).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """As a power cut would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and says nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """Lose everything it has."""
        shutil.rmtree(self.folder)

    def store(self, *, collection: str = "templates", timeout_s: float = 20.0, owner: str = "") -> ServerStore:
        """A gallery on it, whose graph files are rewritten every 20 additions."""
        graph = GraphSettings(sync_threshold=20)
        return ServerStore(self.url, CARD, DIMENSION, collection, owner, graph, timeout_s)


_shared: list[ChromaServer] = []


def shared_server() -> ChromaServer:
    """The server that the tests of one process share; nobody kills it."""
    if not _shared:
        _shared.append(ChromaServer(Path(tempfile.mkdtemp(prefix="gallery-server-")) / "data"))
    return _shared[0]


def stop_shared_server() -> None:
    while _shared:
        server = _shared.pop()
        server.kill()
        shutil.rmtree(server.folder.parent)


def fresh_name() -> str:
    """A collection's name that no other test has."""
    return f"test-{uuid.uuid4().hex}"
