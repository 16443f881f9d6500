"""The service as a process of its own, on a real port: start, stop, slow and broken connections."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from attendance.cli.main import main
from attendance.service.server import PatientProtocol, bind
from tests.building import FakeApp
from tests.fakes import RED
from tests.service.conftest import TOKEN, photo

ROOT = Path(__file__).resolve().parents[2]
# The commands as a user types them, with networks that need no weights.
PROGRAM = """
import sys
from attendance.cli.main import main
from tests.building import FakeApp
sys.exit(main(sys.argv[1:], make_app=FakeApp))
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> socket.socket:
        """A connection without a word said."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=15.0)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15.0)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextlib.contextmanager
def running(folder: Path, *flags: str, **environment: str) -> Iterator[Running]:
    """Start the service on a free port; it is killed when the test has not ended it."""
    told = folder / "started.json"
    words = ["serve", "--port", "0", "--store", str(folder / "store"), "--json", str(told), *flags]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60.0
        while not told.exists() or not told.read_text(encoding="utf-8").endswith("}\n"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started = json.loads(told.read_text(encoding="utf-8"))
        assert started["url"] == f"http://127.0.0.1:{started['port']}"
        yield Running(process, started["port"])
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"ATTENDANCE_SERVICE__REQUEST_TIMEOUT_S": "2.0", "ATTENDANCE_SERVICE__MAX_UPLOAD_MB": "1.0"}
    with running(tmp_path_factory.mktemp("service"), **limits) as service:
        yield service


def form(*photos: bytes) -> tuple[bytes, bytes]:
    """Head and body of a comparison."""
    parts = [
        b'--a\r\nContent-Disposition: form-data; name="image%d"; filename="p"\r\n\r\n%b\r\n' % (number, data)
        for number, data in enumerate(photos, start=1)
    ]
    body = b"".join(parts) + b"--a--\r\n"
    head = (
        b"POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    return head, body


def read_answer(connection: socket.socket) -> tuple[int, str]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read().decode()


def test_it_answers(service: Running) -> None:
    assert service.ask("GET", "/healthz") == (200, '{"status":"alive"}')
    with service.connect() as connection:
        head, body = form(photo(RED), photo(RED))
        connection.sendall(head + body)
        status, text = read_answer(connection)
    assert (status, json.loads(text)["match"]) == (200, True)


def test_a_body_that_does_not_come(service: Running) -> None:
    head, body = form(photo(RED), photo(RED))
    with service.connect() as connection:
        connection.sendall(head + body[:100])
        status, text = read_answer(connection)
        assert (status, json.loads(text)["code"]) == (408, "timeout")
        # What still comes is not taken for another request.
        assert connection.recv(1) == b""


def test_a_body_that_is_too_large_is_refused_and_the_refusal_arrives(service: Running) -> None:
    head, body = form(photo(RED), b"x" * 3_000_000)
    with service.connect() as connection:
        connection.sendall(head)
        for start in range(0, len(body), 100_000):
            connection.sendall(body[start : start + 100_000])
        status, text = read_answer(connection)
    assert (status, json.loads(text)["code"]) == (413, "image_too_large")
    assert service.ask("GET", "/healthz")[0] == 200


def test_what_is_no_http(service: Running) -> None:
    endless = b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000
    for words in (b"certainly not\r\n\r\n", endless, b"\x16\x03\x01"):
        with service.connect() as connection:
            connection.sendall(words)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100).startswith((b"HTTP/1.1 400", b""))
    assert service.ask("GET", "/healthz")[0] == 200


def test_no_name_but_the_machines_own(service: Running) -> None:
    assert service.ask("GET", "/", Host="evil.example")[0] == 421


class ImpatientProtocol(PatientProtocol):
    """Waits a moment only."""

    head_s = 0.2


async def _hello(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"hi"})  # type: ignore[operator]


def test_a_head_that_does_not_come() -> None:
    """A connection that says nothing, one that stops in the middle, and one that does so after a whole request."""
    hello = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def ask() -> list[bytes]:
        config = uvicorn.Config(_hello, http=ImpatientProtocol, lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        listener = bind("127.0.0.1", 0)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        heard = []
        for first, then in ((b"", b""), (b"GET / HT", b""), (hello, b"GET / HTTP/1.1\r\nHo")):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(first)
            if then:
                heard.append(await reader.readuntil(b"hi"))
                writer.write(then)
            heard.append(await asyncio.wait_for(reader.read(), 3.0))
            writer.close()
            await writer.wait_closed()
        server.should_exit = True
        await serving
        return heard

    heard = asyncio.run(ask())
    assert heard[2].startswith(b"HTTP/1.1 200 OK")
    assert [heard[0], heard[1], heard[3]] == [b"", b"", b""]


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that wrong use is told with."""
    assert main(["serve", *words], make_app=FakeApp) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_wrong_use_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--store", str(tmp_path / "store")]
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "port is in use" in fails(capsys, "--port", port, *store)
    assert "no address by that name" in fails(capsys, "--host", "no.such.name.invalid", *store)
    assert "no address by that name" in fails(capsys, "--host", "a" * 80, *store)
    assert "no such address" in fails(capsys, "--host", "192.0.2.7", *store)
    assert "between 0 and 65535" in fails(capsys, "--port", "65536", *store)
    assert "demands a token" in fails(capsys, "--host", "0.0.0.0", "--port", "0", *store)
    monkeypatch.setenv("ATTENDANCE_SERVICE__TOKEN", TOKEN[:9])
    assert "32 characters" in fails(capsys, *store)
    monkeypatch.setenv("ATTENDANCE_SERVICE__TOKEN", "")
    monkeypatch.setenv("ATTENDANCE_SERVICE__TOKEN_FILE", str(tmp_path / "nowhere"))
    assert "cannot be read" in fails(capsys, "--port", "0", *store)
    assert not (tmp_path / "store").exists()


def test_sigterm_ends_it_after_the_running_request(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        end_in_the_middle(service, signal.SIGTERM)


def test_and_so_does_sigint(service: Running) -> None:
    # The last test of the service that the others share.
    end_in_the_middle(service, signal.SIGINT)


def end_in_the_middle(service: Running, number: signal.Signals) -> None:
    """Send a signal while a request is on its way, which must be answered all the same."""
    head, body = form(photo(RED), photo(RED))
    with service.connect() as connection, service.connect() as idle:
        idle.sendall(b"GET / HT")
        connection.sendall(head + body[:-10])
        # Until the head is known to be read.
        while "attendance_http_requests_in_flight 2.0" not in service.ask("GET", "/metrics")[1]:
            time.sleep(0.01)
        service.process.send_signal(number)
        time.sleep(0.3)
        assert service.process.poll() is None
        connection.sendall(body[-10:])
        status, text = read_answer(connection)
    assert (status, json.loads(text)["match"]) == (200, True)
    out, err = service.process.communicate(timeout=15.0)
    assert service.process.returncode == 0
    assert "Traceback" not in err
    assert out == f"serving at http://127.0.0.1:{service.port} (Ctrl-C ends it)\n"
