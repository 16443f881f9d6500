"""``python -m lab``: the lab's commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from lab.command import Parser, add_common_flags, run
from lab.evaluate.identification import add_identification
from lab.evaluate.protocols import add_protocols
from lab.evaluate.template_search import add_template_search
from lab.evaluate.verification import add_verification
from lab.experiments.command import add_experiments
from lab.export.command import add_export
from lab.listing import add_list
from lab.train.command import add_train

EXAMPLE = "example:\n  python -m lab evaluate verification --images lfw --pairs pairs.csv"
PAGE: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(build_parser(), argv)


def build_parser() -> Parser:
    """Every command and flag of the lab."""
    parser = Parser(
        prog="python -m lab", description="Train and judge face-recognition models.", epilog=EXAMPLE, **PAGE
    )
    add_common_flags(parser, version_only=True)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    evaluate = commands.add_parser(
        "evaluate", help="measure a model on photos", description="Measure a model on photos.", epilog=EXAMPLE, **PAGE
    )
    kinds = evaluate.add_subparsers(metavar="KIND", required=True)
    add_verification(kinds)
    add_identification(kinds)
    add_protocols(kinds)
    add_template_search(kinds)
    add_train(commands)
    add_export(commands)
    add_experiments(commands)
    add_list(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
