"""What the lab's commands share: flags, one-line errors, exit codes, JSON and progress."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from attendance import __version__
from attendance.config import Settings, load
from attendance.errors import AttendanceError, UsageError

T = TypeVar("T")

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Context:
    """What a command was given besides its own flags."""

    settings: Settings
    quiet: bool
    json_target: str | None

    def say(self, text: str) -> None:
        """Print for a person; beside stdout where that carries the JSON."""
        if not self.quiet:
            print(text, file=sys.stderr if self.json_target == "-" else sys.stdout, flush=True)

    def progress(self, items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
        """Go through items with a progress bar, which appears on a terminal only."""
        hidden = self.quiet or not sys.stderr.isatty()
        yield from tqdm(items, total=total, desc=label, disable=hidden, file=sys.stderr)

    def write_json(self, result: Mapping[str, Any]) -> None:
        """Write the result where ``--json`` says; nothing without the flag. A number that is none becomes null."""
        if self.json_target is None:
            return
        text = json.dumps(_without_nan(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        if self.json_target == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            Path(self.json_target).write_text(text, encoding="utf-8")
        except OSError as error:
            raise AttendanceError(f"--json {self.json_target}: cannot be written ({error.strerror})") from error


Command = Callable[[argparse.Namespace, Context], None]


def add_command(
    commands: Any, name: str, *, summary: str, details: str, example: str, command: Command
) -> argparse.ArgumentParser:
    """A subcommand with the common flags and a help page that ends with an example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{details}",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    add_common_flags(parser)
    return parser


def add_common_flags(parser: argparse.ArgumentParser, *, version_only: bool = False) -> None:
    """The flags of every command."""
    group = parser.add_argument_group("common")
    group.add_argument("--version", action="version", version=__version__)
    if version_only:
        return
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML with any subset of the keys")
    group.add_argument("--store", type=Path, metavar="DIR", help="folder of the models (./store)")
    group.add_argument("--json", metavar="FILE", help="write the result as JSON; - is stdout")
    group.add_argument("--quiet", action="store_true", help="print errors only")


def run(parser: Parser, argv: Sequence[str] | None = None) -> int:
    """Parse, load the configuration and run; an error on purpose becomes one line on stderr and its exit code."""
    arguments = parser.parse_args(argv)
    try:
        arguments.command(arguments, _context(arguments))
    except AttendanceError as error:
        return _fail(parser.prog, error, error.exit_code)
    except KeyboardInterrupt:
        return _fail(parser.prog, "interrupted; nothing was kept, run it again", EXIT_FAILURE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return EXIT_OK


def existing_folder(path: Path, flag: str) -> Path:
    """The path itself, if it is a folder that can be listed."""
    if not path.exists():
        raise UsageError(f"{flag} {path}: there is no such folder; name one that holds photos")
    if not path.is_dir():
        raise UsageError(f"{flag} {path}: expected a folder, got a file; name a folder that holds photos")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"{flag} {path}: the folder cannot be read; check its permissions")
    return path


def _context(arguments: argparse.Namespace) -> Context:
    overrides: dict[str, Any] = {}
    if arguments.store is not None:
        overrides["store.path"] = arguments.store
    if getattr(arguments, "model", None) is not None:
        overrides["model.id"] = arguments.model
    settings = load(arguments.config, overrides=overrides)
    _require_writable(arguments.json)
    return Context(settings=settings, quiet=arguments.quiet, json_target=arguments.json)


def _require_writable(target: str | None) -> None:
    """Refuse before the work what would fail after it."""
    if target is None or target == "-":
        return
    folder = Path(target).absolute().parent
    if Path(target).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--json {target}: cannot be written there; name a file in an existing folder, or -")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _fail(prog: str, message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"{prog}: {line}", file=sys.stderr, flush=True)
    return code
