"""The Chroma servers of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.server import ChromaServer, fresh_name, shared_server, stop_shared_server


@pytest.fixture(scope="session", autouse=True)
def _stopped_at_the_end() -> Iterator[None]:
    """The server that the tests share is started by the first that needs it."""
    yield
    stop_shared_server()


@pytest.fixture
def server() -> ChromaServer:
    """The shared server."""
    return shared_server()


@pytest.fixture
def collection() -> str:
    """The name of a gallery of the test's own."""
    return fresh_name()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ChromaServer]:
    """A server that the test may kill."""
    started = ChromaServer(tmp_path / "server")
    yield started
    started.kill()
