"""What every command shares: flags, precedence, one-line errors, exit codes and JSON."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from attendance import __version__
from attendance.app import App
from attendance.config import Settings, load
from attendance.errors import AttendanceError, UsageError
from attendance.logs import configure

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_STRICT = 3

AppFactory = Callable[[Settings], App]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Context:
    """What a command was given besides its own flags. ``make_app`` makes the objects of a configuration."""

    settings: Settings
    config_path: Path | None
    quiet: bool
    json_path: str | None
    make_app: AppFactory = App

    def open_app(self) -> App:
        """The configuration's objects, to be used in a ``with``; the store is made where there is none."""
        path = self.settings.store.path
        if path.exists() and not path.is_dir():
            raise UsageError(f"expected a folder as store, {path} is a file: name another with --store")
        return self.make_app(self.settings)

    def open_store(self) -> App:
        """As `open_app`, for a command that has no use for a store that is not there: UsageError then."""
        path = self.settings.store.path
        if not path.exists():
            raise UsageError(f"there is no store at {path}: name it with --store, or make one with build_database.py")
        return self.open_app()

    def say(self, text: str = "") -> None:
        """Print for a person; stays off stdout when that carries the JSON."""
        if not self.quiet:
            print(text, file=sys.stderr if self.json_path == "-" else sys.stdout, flush=True)

    def say_json(self, data: Any) -> None:
        """Print JSON for a person."""
        self.say(json.dumps(data, ensure_ascii=False, indent=2))

    def write_json(self, data: Any) -> None:
        """Write the result where ``--json`` says; nothing without the flag."""
        if self.json_path is None:
            return
        if self.json_path == "-":
            # What is not UTF-8 gets escapes, which every reader of JSON undoes.
            unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
            print(json.dumps(data, ensure_ascii=not unicode, indent=2), flush=True)
            return
        try:
            Path(self.json_path).write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise AttendanceError(
                f"--json {self.json_path}: cannot be written ({error.strerror}): name another file"
            ) from error


Command = Callable[[argparse.Namespace, Context], int]

_EFFECTIVE = os.access in os.supports_effective_ids
_DEFAULTS: dict[str, Any] = {"config": None, "store": None, "json": None, "quiet": False}


def common_flags() -> argparse.ArgumentParser:
    """The flags of every command, as a parent parser. They hold before and after a subcommand's name alike."""
    parent = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parent.add_argument_group("common")
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML with any subset of the keys")
    group.add_argument("--store", type=Path, metavar="DIR", help="folder of ledger, gallery and models (./store)")
    group.add_argument("--json", metavar="FILE", help="write the result as JSON; - is stdout")
    group.add_argument("--quiet", action="store_true", help="print errors only")
    group.add_argument("--version", action="version", version=__version__)
    return parent


def _settings_of(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "epilog": f"example:\n  {example}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "parents": [common_flags()],
        "allow_abbrev": False,
    }


def new_parser(prog: str, description: str, example: str) -> Parser:
    """A parser for a program of its own, common flags included."""
    parser = Parser(prog=prog, **_settings_of(description, example))
    parser.set_defaults(**_DEFAULTS)
    return parser


def add_group(subparsers: Any, name: str, *, summary: str, example: str) -> Any:
    """A command that has commands of its own; where to add them."""
    parser: Parser = subparsers.add_parser(name, help=summary, **_settings_of(summary, example))
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_command(subparsers: Any, name: str, *, summary: str, example: str, command: Command) -> Parser:
    """A subcommand with the common flags, a help page with an example, and the function that runs it."""
    parser: Parser = subparsers.add_parser(name, help=summary, **_settings_of(summary, example))
    parser.set_defaults(command=command)
    return parser


def overrides_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the common flags say of the configuration, by dotted key."""
    return {} if arguments.store is None else {"store.path": arguments.store}


def context_of(arguments: argparse.Namespace, *, make_app: AppFactory = App) -> Context:
    """Load the configuration for parsed arguments and start the log. Who checks it is given the defaults instead."""
    checks = getattr(arguments, "checks_config", False)
    settings = Settings() if checks else load(arguments.config, overrides=overrides_of(arguments))
    _check_json_target(arguments.json)
    configure(settings.log.level, settings.log.format)
    return Context(settings, arguments.config, arguments.quiet, arguments.json, make_app)


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


def run(
    parser: argparse.ArgumentParser, command: Command, argv: Sequence[str] | None = None, *, make_app: AppFactory = App
) -> int:
    """Parse, load the configuration, run; the exit code. ``make_app`` is how a test puts others behind the ports."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal has no letters for is shown with escapes, and ends nothing.
            stream.reconfigure(errors="backslashreplace")
    arguments = parser.parse_args(argv)
    return guard(parser.prog, lambda: command(arguments, context_of(arguments, make_app=make_app)))


def existing_folder(path: Path, what: str) -> Path:
    """The path itself, if it is a folder that can be listed."""
    if not path.exists():
        raise UsageError(f"{what} {path}: there is no such folder")
    if not path.is_dir():
        raise UsageError(f"{what} {path}: expected a folder, got a file")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"{what} {path}: the folder cannot be read; check its permissions")
    return path


def existing_photo(path: Path) -> Path:
    """The path itself, if there is a file; whether it can be read and shows a face is told by reading it."""
    try:
        is_there = path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected a photo, the path cannot be looked at ({error})") from error
    if not is_there:
        raise UsageError(f"{path}: there is no such photo")
    if path.is_dir():
        raise UsageError(f"{path}: expected a photo, got a folder")
    return path


def _check_json_target(target: str | None) -> None:
    """Refuse before the work what would fail after it."""
    if target is None or target == "-":
        return
    path = Path(target).absolute()
    if path.is_dir():
        why = "it is a folder"
    elif not path.parent.is_dir():
        why = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK, effective_ids=_EFFECTIVE):
        why = "it may not be written"
    else:
        return
    raise UsageError(f"--json {target}: cannot be written, {why}: name a file in an existing folder, or -")


def _fail(prog: str, message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"{prog}: {line}", file=sys.stderr, flush=True)
    return code
