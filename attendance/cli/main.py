"""``python -m attendance``: the commands of whoever runs the system."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from attendance import __version__
from attendance.cli import check, enrol, galleries, people, recognise, reports
from attendance.cli.base import Parser, run


def build_parser() -> Parser:
    """The parser with every command."""
    parser = Parser(
        prog="python -m attendance",
        description="Face attendance: people, photos, gallery and reports.",
        epilog="example:\n  python -m attendance report --by day",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (people, enrol, recognise, galleries, reports, check):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    return run(build_parser(), lambda arguments, context: int(arguments.command(arguments, context)), argv)
