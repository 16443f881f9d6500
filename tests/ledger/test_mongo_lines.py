"""The way to a MongoDB server: lines that break in the middle of a write, an address by name service, MONGODB_URL."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attendance.errors import ConfigError
from attendance.ledger.mongo import MongoLedger
from attendance.types import AttendanceRow, Punch
from tests.ledger.conftest import ZONES, open_mongo
from tests.ledger.server import Server


class BreakingLine:
    """Passes bytes on to a server, and cuts a connection when told: before a request arrives, or before its answer."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut: tuple[bytes, str] | None = None
        self.cuts = 0
        self._open: list[socket.socket] = [self._listener]
        self._silent: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        _end(*self._open)
        for thread in self._threads:
            thread.join(10.0)
        for each in self._open:
            each.close()

    def _start(self, work: Callable[..., None], *values: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=values, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._open += [client, server]
            self._start(self._requests, client, server)
            self._start(self._answers, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(1 << 20):
                cut = self.cut
                if cut is None or cut[0] not in data:
                    server.sendall(data)
                    continue
                self.cut = None
                self.cuts += 1
                if cut[1] == "answer":
                    self._silent.append(server)
                    server.sendall(data)
                    return
                break
        except OSError:
            pass
        _end(client, server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while (data := server.recv(1 << 20)) and server not in self._silent:
                client.sendall(data)
        except OSError:
            pass
        _end(client, server)


def _end(*lines: socket.socket) -> None:
    for line in lines:
        try:
            line.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("lines") / "server")
    yield found
    found.stop()


@pytest.fixture
def line(server: Server) -> Iterator[BreakingLine]:
    found = BreakingLine(server.port)
    yield found
    found.close()


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("collection", [b"unfinished", b"punches", b"attendance"])
def test_a_line_that_breaks_in_the_middle_of_a_write_loses_and_doubles_nothing(
    server: Server,
    line: BreakingLine,
    make_punch: Callable[..., Punch],
    expected_rows: Callable[..., list[AttendanceRow]],
    collection: bytes,
    lost: str,
) -> None:
    name = f"broken_{collection.decode()}_{lost}"
    url = f"mongodb://127.0.0.1:{line.port}/{name}?directConnection=true"
    punches = [make_punch(1), make_punch(2, 1000.0), make_punch(3, 2000.0)]
    with MongoLedger(url, cooldown_s=300.0, time_zones=ZONES, timeout_s=10.0) as ledger:
        ledger.record(punches[0])
        command = b"update" if collection == b"attendance" else b"insert"
        # As BSON begins a command: its name, the length of the collection's name, the collection.
        line.cut = (b"\x02" + command + b"\x00" + (len(collection) + 1).to_bytes(4, "little") + collection, lost)
        assert ledger.record(punches[1]).counted
        assert line.cuts == 1
        assert ledger.record(punches[2]).inserted
        assert not ledger.record(punches[1]).inserted
        assert ledger.attendance() == expected_rows(punches)
        assert ledger.punches() == punches


def test_an_address_by_name_service_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"mongodb\+srv://\*\*\*@nowhere\.invalid/x: .+") as caught:
        MongoLedger("mongodb+srv://someone:hidden@nowhere.invalid/x", cooldown_s=1.0, time_zones={}, timeout_s=1.0)
    assert "hidden" not in str(caught.value) and "\n" not in str(caught.value)


def test_the_tests_use_the_server_that_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_punch: Callable[..., Punch]
) -> None:
    monkeypatch.setenv("MONGODB_URL", f"mongodb://{server.address}/")
    with open_mongo(tmp_path, 300.0, ZONES) as ledger:
        ledger.record(make_punch(1))
    with MongoLedger(server.url("attendance_tests"), cooldown_s=300.0, time_zones=ZONES) as ledger:
        assert len(ledger.punches()) == 1
