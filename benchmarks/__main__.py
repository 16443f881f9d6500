"""``python -m benchmarks [PART...]``: run the parts named, or all of them; ``--list`` names them.

A part is a module of this folder with a function ``main`` that takes its arguments and returns an exit code.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import environment

FOLDER = Path(__file__).parent


def parts() -> dict[str, str]:
    """Each part's name and the first line of its documentation, found without importing any."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if "main" in functions and not path.stem.startswith("_"):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts; the highest of their exit codes."""
    known = parts()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the project promises; results go to benchmarks/results/.",
        epilog="example: python -m benchmarks accuracy",
    )
    parser.add_argument("part", nargs="*", metavar="PART", help="parts to run (all); see --list")
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.part) - known.keys())
    if unknown:
        parser.error(f"there is no part {unknown[0]}; known are {', '.join(known)}")
    if arguments.list:
        for name, summary in known.items():
            print(f"{name:<20} {summary}")
        return 0
    codes = [_run(name) for name in arguments.part or known]
    return max(codes, default=0)


def _run(name: str) -> int:
    print(f"== {name}", flush=True)
    environment()
    code: int = importlib.import_module(f"benchmarks.{name}").main([])
    return code


if __name__ == "__main__":
    sys.exit(main())
