"""Reading the configuration from flags, environment and file, with every fault named by file, line, key and value."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from attendance.config.kiosk import fault_of
from attendance.config.layers import Layer, flat, laid_under
from attendance.config.layers import put as _put
from attendance.config.sections import Settings
from attendance.errors import ConfigError

ENVIRONMENT_PREFIX = "ATTENDANCE_"
LISTS = ("cameras", "sites")
SECRETS = ("backup.passphrase", "crops.key", "service.token")
"""Keys whose value comes from the environment alone, is taken as it stands there, and is shown nowhere."""
# A value that is an address may carry a user and password; up to the last @, since they may hold one themselves.
_PASSWORD = re.compile(r"(?<=://).*@", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where it stands (``line`` from 1, None outside a file), the dotted key, the value and what is wrong.

    ``origin`` is the file, ``environment NAME``, ``flag`` or ``defaults``; ``value`` is shown as Python writes it.
    """

    origin: str
    line: int | None
    key: str
    value: str | None
    message: str

    def __str__(self) -> str:
        place = self.origin if self.line is None else f"{self.origin}: line {self.line}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.message}{'' if self.value is None else f', got {self.value}'}"


class _FileFaultError(Exception):
    """The file cannot be read as a mapping of sections."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    layers: Sequence[Layer] = (),
) -> Settings:
    """Read the configuration.

    Args:
        path: YAML with any subset of the keys, or None for the defaults alone.
        environment: where ``ATTENDANCE_<SECTION>__<KEY>`` is looked up; None is the process's environment.
        overrides: values of flags by dotted key, such as ``{"store.path": Path("s")}``.
        layers: what the ledger holds, the weakest first; everything above beats it.

    Raises:
        ConfigError: one line with file, line, key, value and what was expected, for the first fault found.
    """
    found = check(path, environment=environment, overrides=overrides, layers=layers)
    if isinstance(found, Settings):
        return found
    more = f" (and {len(found) - 1} more: see python -m attendance check-config)" if len(found) > 1 else ""
    raise ConfigError(f"{found[0]}{more}")


def check(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    layers: Sequence[Layer] = (),
) -> Settings | list[Problem]:
    """As `load`, but every fault is returned, in the order of the file, and none raised."""
    try:
        in_file, lines = _read(path)
        _refuse_secrets(in_file, path, lines)
        _refuse_foreign(layers)
        values, sources = laid_under(layers, in_file)
        for variable, name, text in _from_environment(os.environ if environment is None else environment):
            _put(values, name, text if name in SECRETS else scalar(text))
            sources[name] = variable
    except _FileFaultError as fault:
        return [fault.problem]
    for name, value in (overrides or {}).items():
        _put(values, name, value)
        sources[name] = "flag"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        origin = str(path) if path is not None else "defaults"
        found = [_problem(fault, origin, lines, sources) for fault in error.errors()]
        return sorted(found, key=lambda problem: (problem.line is None, problem.line))


def _read(path: Path | None) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's values, and the line of each dotted key."""
    if path is None:
        return {}, {}

    def fault(message: str, line: int | None = None) -> _FileFaultError:
        return _FileFaultError(Problem(str(path), line, "", None, message))

    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise fault(f"cannot be read ({error.strerror}): give --config a YAML file") from error
    except ValueError as error:
        raise fault("cannot be read (not UTF-8 text): give --config a YAML file") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise fault(f"not valid YAML ({error.problem}): mend the file", line) from error
    except (yaml.YAMLError, ValueError) as error:
        raise fault(f"not valid YAML ({' '.join(str(error).split())}): mend the file") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise fault(f"expected a mapping of sections, got {type(values).__name__}", 1)
    lines: dict[str, int] = {}
    repeated = _note_lines(node, "", lines, frozenset())
    if repeated is not None:
        raise fault(f"{repeated[0]}: the key is there twice: keep one", repeated[1])
    return values, lines


def _refuse_secrets(values: Mapping[str, Any], path: Path | None, lines: Mapping[str, int]) -> None:
    for name in SECRETS:
        section, _, key = name.partition(".")
        held = values.get(section)
        if isinstance(held, dict) and held.get(key) not in (None, ""):
            variable = f"{ENVIRONMENT_PREFIX}{section.upper()}__{key.upper()}"
            message = f"a secret does not stand in the file: give it as {variable}, or name a file with {name}_file"
            raise _FileFaultError(Problem(str(path), lines.get(name), name, None, message))


def _refuse_foreign(layers: Sequence[Layer]) -> None:
    """What the ledger may not hold is refused, also where the command that writes settings was passed by."""
    for layer in layers:
        for name, value in flat(layer.values):
            fault = None if name in LISTS else unfit_for_ledger(name)
            if fault is not None:
                raise _FileFaultError(Problem(layer.origin, None, name, repr(value), fault))


def unfit_for_ledger(key: str) -> str | None:
    """Why the ledger may not hold this dotted key for a kiosk, or None."""
    return fault_of(key, Settings.model_fields, SECRETS)


def _note_lines(
    node: yaml.Node | None, prefix: str, lines: dict[str, int], above: frozenset[int]
) -> tuple[str, int] | None:
    """Note each key's line; the first key that is there twice, of which YAML would silently keep the last."""
    if node is None or id(node) in above:
        return None
    inside = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        pairs = [(f"{prefix}{key.value}", key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(f"{prefix}{index}", value, value) for index, value in enumerate(node.value)]
    else:
        return None
    for name, mark, value in pairs:
        line = mark.start_mark.line + 1
        if name in lines:
            return name, line
        lines[name] = line
        repeated = _note_lines(value, f"{name}.", lines, inside)
        if repeated is not None:
            return repeated
    return None


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Variable, dotted key and text of every setting in the environment."""
    found = []
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
        if name.split(".")[0] in LISTS:
            message = "a list has no variables: set it in the file that --config names"
            raise _FileFaultError(Problem(f"environment {variable}", None, name, None, message))
        found.append((f"environment {variable}", name, text))
    return found


def scalar(text: str) -> Any:
    """A value written in an environment variable or on the command line, read as YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def _problem(fault: ErrorDetails, origin: str, lines: Mapping[str, int], sources: Mapping[str, str]) -> Problem:
    key = ".".join(str(part) for part in fault["loc"])
    source = _source_of(fault["loc"], sources)
    line = _line_of(fault["loc"], lines) if source is None else None
    message, value = fault["msg"].removeprefix("Value error, "), _PASSWORD.sub("***@", repr(fault["input"]))
    if fault["type"] == "extra_forbidden":
        message = f"unknown key; known here: {', '.join(_known_keys(fault['loc'][:-1]))}"
    # A rule between several keys tells them itself.
    shown = None if isinstance(fault["input"], dict) and fault["type"] == "value_error" else value
    if key in SECRETS:
        shown = None
    return Problem(origin if source is None else source, line, key, shown, message)


def _source_of(location: Sequence[int | str], sources: Mapping[str, str]) -> str | None:
    for length in range(len(location), 0, -1):
        source = sources.get(".".join(str(part) for part in location[:length]))
        if source is not None:
            return source
    return None


def _line_of(location: Sequence[int | str], lines: Mapping[str, int]) -> int | None:
    for length in range(len(location), 0, -1):
        line = lines.get(".".join(str(part) for part in location[:length]))
        if line is not None:
            return line
    return None


def _known_keys(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", None)
        model = arguments[0] if arguments else annotation
    return list(model.model_fields)
