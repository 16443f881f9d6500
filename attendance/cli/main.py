"""``python -m attendance``: the commands of whoever runs the system."""

from __future__ import annotations

from collections.abc import Sequence

from attendance.app import App
from attendance.cli import check, enrol, galleries, people, recognise, reports
from attendance.cli.base import AppFactory, Parser, new_parser, run


def build_parser() -> Parser:
    """The parser with every command."""
    parser = new_parser(
        "python -m attendance",
        "Face attendance: people, photos, gallery and reports.",
        "python -m attendance report --by day",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (people, enrol, recognise, galleries, reports, check):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None, *, app: AppFactory = App) -> int:
    """Run a command; the exit code."""
    return run(build_parser(), lambda arguments, context: int(arguments.command(arguments, context)), argv, app=app)
