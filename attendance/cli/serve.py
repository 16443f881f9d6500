"""``serve``: the web service."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.errors import UsageError

if TYPE_CHECKING:
    from attendance.service.server import Started


def register(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "serve",
        summary="run the web service: compare photos, health, metrics",
        example="python -m attendance serve --port 8000",
        command=serve,
    )
    parser.add_argument("--host", metavar="HOST", help="address to listen on (127.0.0.1); others demand a token")
    parser.add_argument("--port", type=int, metavar="PORT", help="port to listen on (8000); 0 takes any free one")


def serve(arguments: argparse.Namespace, context: Context) -> int:
    """Serve until SIGINT or SIGTERM."""
    from attendance.service import server

    section = context.settings.service
    host = section.host if arguments.host is None else arguments.host
    port = section.port if arguments.port is None else arguments.port
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port must lie between 0 and 65535, got {port}")

    def tell(started: Started) -> None:
        locked = "; every request must bear the token" if started.needs_token else ""
        context.say(f"serving at {started.url} (Ctrl-C ends it){locked}")
        context.write_json(
            {"url": started.url, "host": started.host, "port": started.port, "needs_token": started.needs_token}
        )

    with context.open_app() as app:
        server.serve(app, host=host, port=port, on_start=tell)
    return EXIT_OK
