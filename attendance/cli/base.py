"""What every command shares: flags, precedence, one-line errors, exit codes, JSON and progress."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from attendance import __version__
from attendance.config import Settings, load
from attendance.errors import AttendanceError, UsageError

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_STRICT = 3


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Context:
    """What a command was given besides its own flags."""

    settings: Settings
    config_path: Path | None
    quiet: bool
    json_path: str | None

    def say(self, text: str = "") -> None:
        """Print for a person; stays off stdout when that carries the JSON."""
        if not self.quiet:
            print(
                text,
                file=sys.stderr if self.json_path == "-" else sys.stdout,
                flush=True,
            )

    def write_json(self, data: Any) -> None:
        """Write the result where ``--json`` says; nothing without the flag."""
        if self.json_path is None:
            return
        text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
        if self.json_path == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            Path(self.json_path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise AttendanceError(f"--json {self.json_path}: cannot be written ({error.strerror})") from error

    def say_json(self, data: Any) -> None:
        """Print JSON for a person."""
        self.say(json.dumps(data, ensure_ascii=False, indent=2))


Command = Callable[[argparse.Namespace, Context], int]


def common_flags() -> argparse.ArgumentParser:
    """The flags of every command, as a parent parser."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("common")
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML with any subset of the keys")
    group.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="folder of ledger, gallery and models (./store)",
    )
    group.add_argument("--json", metavar="FILE", help="write the result as JSON; - is stdout")
    group.add_argument("--quiet", action="store_true", help="print errors only")
    group.add_argument("--version", action="version", version=__version__)
    return parent


def new_parser(prog: str, description: str, example: str) -> Parser:
    """A parser for a program of its own, common flags included."""
    return Parser(
        prog=prog,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_flags()],
        allow_abbrev=False,
    )


def add_command(subparsers: Any, name: str, *, summary: str, example: str, command: Command) -> Parser:
    """A subcommand with the common flags, a help page with an example, and the function that runs it."""
    parser: Parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_flags()],
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def context_of(arguments: argparse.Namespace, overrides: dict[str, Any] | None = None) -> Context:
    """Load the configuration for parsed arguments; ``overrides`` are values of a command's own flags by dotted key."""
    values = dict(overrides or {})
    if arguments.store is not None:
        values["store.path"] = arguments.store
    settings = load(arguments.config, overrides=values)
    _check_json_target(arguments.json)
    logging.basicConfig(
        level=settings.log.level.upper(),
        format="%(levelname)s %(name)s: %(message)s",
        force=True,
    )
    return Context(settings, arguments.config, arguments.quiet, arguments.json)


def guard(prog: str, body: Callable[[], int]) -> int:
    """Run a command's body; an error on purpose becomes one line on stderr and its exit code."""
    try:
        return body()
    except AttendanceError as error:
        return _fail(prog, error, error.exit_code)
    except KeyboardInterrupt:
        return _fail(prog, "interrupted; run it again to go on", EXIT_FAILURE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE


def run(parser: argparse.ArgumentParser, command: Command, argv: Sequence[str] | None = None) -> int:
    """Parse, load the configuration, run; the exit code."""
    arguments = parser.parse_args(argv)
    return guard(parser.prog, lambda: command(arguments, context_of(arguments)))


def existing_folder(path: Path, what: str) -> Path:
    """The path itself, if it is a folder that can be listed."""
    if not path.exists():
        raise UsageError(f"{what} {path}: there is no such folder")
    if not path.is_dir():
        raise UsageError(f"{what} {path}: expected a folder, got a file")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"{what} {path}: the folder cannot be read; check its permissions")
    return path


def _check_json_target(target: str | None) -> None:
    """Refuse before the work what would fail after it."""
    if target is None or target == "-":
        return
    folder = Path(target).absolute().parent
    if Path(target).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--json {target}: cannot be written there; name a file in an existing folder, or -")


def _fail(prog: str, message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"{prog}: {line}", file=sys.stderr, flush=True)
    return code
