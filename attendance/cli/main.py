"""``python -m attendance``: the commands of whoever runs the system."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from attendance.app import App
from attendance.cli import (
    backup,
    calibrating,
    check,
    crops,
    enrol,
    fairness,
    galleries,
    kiosks,
    ledgers,
    models,
    people,
    protecting,
    recognise,
    registers,
    reports,
    serve,
)
from attendance.cli.base import AppFactory, Context, Parser, new_parser, run


def build_parser() -> Parser:
    """The parser with every command."""
    parser = new_parser(
        "python -m attendance",
        "Face attendance: people, photos, gallery and reports.",
        "python -m attendance report --by day",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    data = (people, enrol, recognise, galleries, ledgers, kiosks, registers, models, protecting, crops)
    for module in (*data, reports, calibrating, fairness, backup, serve, check):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None, *, make_app: AppFactory = App) -> int:
    """Run a command; the exit code."""
    return run(build_parser(), _run_chosen, argv, make_app=make_app)


def _run_chosen(arguments: argparse.Namespace, context: Context) -> int:
    return int(arguments.command(arguments, context))
