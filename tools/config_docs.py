"""Writes configs/attendance.yaml and docs/configuration.md from the configuration's own types.

``python -m tools.config_docs`` writes both; a test holds the committed files equal to what this makes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from attendance.config import Settings
from attendance.config.loading import LISTS

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "configs" / "attendance.yaml"
PAGE = ROOT / "docs" / "configuration.md"

_SAMPLE_HEAD = """\
# Every key with its default: a file needs only what differs. Written by `python -m tools.config_docs`.
# Give it with --config; a flag beats the environment (ATTENDANCE_<SECTION>__<KEY>), which beats this file.
# Units: _s seconds, _px pixels. null is "not set".
"""

_PAGE_HEAD = """\
# Configuration

*Written by `python -m tools.config_docs` from `attendance/config/`; a test holds it to the code.*

Every command takes `--config FILE`: YAML with any subset of these keys
([configs/attendance.yaml](../configs/attendance.yaml) shows them all). A flag beats the environment, the environment
beats the file, the file beats what the ledger holds for a kiosk ([operations.md](operations.md)), and that beats the
default. In the environment a key is `ATTENDANCE_<SECTION>__<KEY>`, such as
`ATTENDANCE_ATTENDANCE__COOLDOWN_S=60`, and its value is read as YAML; `cameras` and `sites` are lists and stand in the
file alone. `--store` sets `store.path`.

Numbers are numbers: `"60"` in quotes, `yes`, `.nan` and `.inf` are refused, as are unknown keys and keys that are there
twice. `python -m attendance check-config --config FILE` prints what is in force, or every fault with file, line, key,
value and what was expected; every other command stops at the first one with exit code 2.

A camera's address in `cameras` and `ledger.url` may carry a user and password: keep such a file readable for the
service alone (mode 0600), or name a file with `ledger.url_file`. Messages and the output of `check-config` show them as
`***`.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: name within its section, type and bounds in words, default as YAML, the sentence."""

    name: str
    kind: str
    default: str
    sentence: str


def sections() -> Iterator[tuple[str, type[BaseModel], bool]]:
    """Name and model of each section; the third says that it is a list."""
    for name, field in Settings.model_fields.items():
        model = get_args(field.annotation)[0] if name in LISTS else field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        yield name, model, name in LISTS


def keys(model: type[BaseModel]) -> list[Key]:
    """The keys of a section, in their order."""
    return [
        Key(name, _kind(field), _yaml(field.default), field.description or "")
        for name, field in model.model_fields.items()
    ]


def sample() -> str:
    """The text of configs/attendance.yaml."""
    lines = [_SAMPLE_HEAD.rstrip()]
    for name, model, is_list in sections():
        lines += ["", f"# {_sentence(model)}", f"{name}:"]
        for index, key in enumerate(keys(model)):
            start = "  " if not is_list else "  - " if index == 0 else "    "
            lines += [f"{'    ' if is_list else '  '}# {key.sentence} [{key.kind}]"] if index or not is_list else []
            lines.append(f"{start}{key.name}: {key.default}{f'  # {key.sentence}' if is_list and not index else ''}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The text of docs/configuration.md."""
    lines = [_PAGE_HEAD]
    for name, model, is_list in sections():
        lines += [f"## {name}", "", _sentence(model) + (" A list of entries with these keys:" if is_list else ""), ""]
        lines += ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
        lines += [f"| `{name}.{key.name}` | {key.kind} | `{key.default}` | {key.sentence} |" for key in keys(model)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _kind(field: FieldInfo) -> str:
    """Type and bounds in words, such as ``number, above 0, at most 60``."""
    inner = [part for part in get_args(field.annotation) if part is not type(None)]
    optional = type(None) in get_args(field.annotation)
    annotation = inner[0] if optional else field.annotation
    words = [_type_words(annotation)]
    for rule in field.metadata:
        for name, text in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most")):
            bound = getattr(rule, name, None)
            if bound is not None:
                words.append(f"{text} {bound:g}" if bound < 1000 else f"{text} {bound}")
    return ", ".join([*words, "or null"] if optional else words)


def _type_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    base = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    return {float: "number", int: "whole number", str: "text", Path: "path", SecretStr: "secret"}[base]


def _yaml(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, SecretStr):
        return '""'
    if isinstance(value, str) and value and not value[0].isdigit():
        return value
    return json.dumps(value)


def main() -> int:
    """Write both files."""
    SAMPLE.write_text(sample(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
