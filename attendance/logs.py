"""How log lines look, and what never stands in one: passwords, tokens and keys are masked whatever logged them.

One handler on the root logger writes to stderr; a server such as uvicorn is given no log configuration of its own, so
that its loggers end here too. Names and vectors of people are not masked: they are never logged.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_MASKS = (
    # What stands before the last @ of an address, since a password may hold an @ itself.
    (re.compile(r"(?<=://)\S*@"), "***@"),
    (re.compile(r"(?i)\b(bearer +)[\w.~+/=-]{6,}"), r"\1***"),
    (re.compile(r"(?i)\b(authorization[\"']?[=:] *[\"']?\w+ +)[^\s\"']+"), r"\1***"),
    (
        re.compile(r"(?i)\b(\w*(?:password|passwd|passphrase|token|secret|api_key)(?:=|[\"']\s*[=:])\s*)[^\s,;&)}]+"),
        r"\1***",
    ),
    (re.compile(r"AGE-SECRET-KEY-1[0-9A-Za-z]+"), "AGE-SECRET-KEY-***"),
)
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_ACCESS = "uvicorn.access"
_ACCESS_PATH = 2


def masked(text: str) -> str:
    """The text without the secrets that show by their form: in addresses, headers, after ``password=``, age keys."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


class TextFormatter(logging.Formatter):
    """``WARNING attendance.mirror: message``; a line break inside a message is shown as ``\\n`` and starts no line."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC, milliseconds), ``level``, ``logger``, ``message``, what the caller gave as
    ``extra`` under ``fields``, and ``exception`` with the stack where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        fields = {key: _plain(value) for key, value in vars(record).items() if key not in _KNOWN}
        if fields:
            line["fields"] = fields
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool) or value is None else masked(str(value))


class _PathsOnly(logging.Filter):
    """A request is logged by its path: what follows the ``?`` may name a person or hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _ACCESS and isinstance(record.args, tuple) and len(record.args) > _ACCESS_PATH:
            args = list(record.args)
            args[_ACCESS_PATH] = str(args[_ACCESS_PATH]).partition("?")[0]
            record.args = tuple(args)
        return True


def configure(level: str, form: LogFormat = "text") -> None:
    """Log to stderr from ``level`` (debug, info, warning, error) up; what was configured before ends."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(_PathsOnly())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
