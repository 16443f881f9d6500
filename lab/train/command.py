"""``python -m lab train``: run a recipe."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from lab.command import Context, add_command

RUNS = Path("build/lab/runs")


def add_train(commands: Any) -> None:
    """The command's flags."""
    parser = add_command(
        commands,
        "train",
        summary="Train a network as a recipe says.",
        details=(
            "RECIPE is a file, or a name of `python -m lab list recipes`. Ctrl-C finishes the step and keeps a\n"
            "checkpoint. Several processes: torchrun --nproc-per-node N -m lab train RECIPE."
        ),
        example="python -m lab train finetune-own-folder --set data.path=people --out runs/staff",
        command=train_command,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="what to do")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="change a key of the recipe, as stages.0.optimiser.rate=0.05; may be repeated",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"the run's folder ({RUNS}/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the run's folder")


def train_command(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    from lab.train.recipe_file import find_recipe, read_recipe

    path = find_recipe(arguments.recipe)
    recipe = read_recipe(path, arguments.changes)
    out = RUNS / path.stem if arguments.out is None else arguments.out

    from lab.train.loop import train

    hidden = context.quiet or not sys.stderr.isatty()
    result = train(recipe, out=out, resume=arguments.resume, quiet=hidden)
    if int(os.environ.get("RANK", "0")) > 0:
        return  # torchrun's first process speaks for all
    for line in result_lines(result, out):
        context.say(line)
    context.write_json({"out": str(out), **result})


def result_lines(result: dict[str, Any], out: Path) -> list[str]:
    """The result for a person."""
    lines = [f"{out}: {result['faces']} faces of {result['classes']} people, {result['unread']} files without a face"]
    if result["stopped"]:
        return [*lines, f"stopped after step {result['steps']}; --resume goes on from there"]
    if result["loss"] is not None:
        lines.append(f"{result['steps']} steps, last loss {result['loss']:.4f}")
    for name, figures in result["figures"].items():
        lines.append(f"{name}: {', '.join(_figure(key, value) for key, value in figures.items())}")
    return lines


def _figure(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {rate} {share:.4f}" for rate, share in value.items())
    if value is None:
        return f"{key} -"
    return f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}"
