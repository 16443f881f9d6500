"""The server that speaks MongoDB's protocol in the benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def wire_server(folder: Path) -> Iterator[str]:
    """The address of a database: where ``MONGODB_URL`` says, else on a stand-in started below ``folder``."""
    outside = os.environ.get("MONGODB_URL", "")
    if outside:
        yield outside
        return
    from tests.ledger.server import Server

    server = Server(folder / "server")
    try:
        yield server.url("bench")
    finally:
        server.stop()
