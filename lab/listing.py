"""``python -m lab list``: name what there is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from lab.command import Context, add_command

Rows = list[dict[str, Any]]


def _losses() -> Rows:
    from lab.losses.registry import LOSSES

    return [{"name": name, "target": entry.equation, "source": entry.source} for name, entry in LOSSES.items()]


def _backbones() -> Rows:
    from lab.nets.registry import BACKBONES

    return [{"name": name, "dimension": entry.dimension, "source": entry.source} for name, entry in BACKBONES.items()]


def _recipes() -> Rows:
    from lab.train.recipe_file import read_recipe, recipe_files

    recipes = {name: read_recipe(path) for name, path in recipe_files().items()}
    return [{"name": name, "description": it.description, "source": it.source} for name, it in recipes.items()]


KINDS: dict[str, tuple[str, str, Callable[[], Rows]]] = {
    "losses": (
        "name the losses",
        "What each does to the logit of the own class at angle t, and where it comes from.",
        _losses,
    ),
    "backbones": (
        "name the networks",
        "The length of each one's embedding, and where it comes from. Any other network of timm is timm:NAME.",
        _backbones,
    ),
    "recipes": (
        "name the recipes",
        "What each trains, and where its numbers come from. `python -m lab train` takes the names.",
        _recipes,
    ),
}


def add_list(commands: Any) -> None:
    """The command `list` and what it lists."""
    parser = commands.add_parser(
        "list",
        help="name the losses, backbones and recipes there are",
        description="Name what there is.",
        epilog="example:\n  python -m lab list losses",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for kind, (summary, details, rows) in KINDS.items():
        add_command(
            kinds,
            kind,
            summary=summary,
            details=details,
            example=f"python -m lab list {kind}",
            command=_printer(kind, rows),
        )


def _printer(kind: str, rows: Callable[[], Rows]) -> Callable[[argparse.Namespace, Context], None]:
    def command(arguments: argparse.Namespace, context: Context) -> None:
        listed = rows()
        widths = {key: max(len(str(row[key])) for row in listed) for key in listed[0]}
        for row in listed:
            context.say("  ".join(str(value).ljust(widths[key]) for key, value in row.items()).rstrip())
        context.write_json({kind: listed})

    return command
