"""Reaching a MongoDB server, and its errors in our words: one line, within seconds, never with a password."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidName,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from attendance.errors import ConfigError, LedgerError, LedgerUnavailableError

Document = dict[str, Any]
Collections = Database[Document]
Documents = Collection[Document]

DEFAULT_DATABASE = "attendance"

# Up to the last @, since a password may hold an unescaped one, or a slash.
_SECRET = re.compile(r"(?<=://).*@", re.S)
_OPTIONS = re.compile(r"\?.*", re.S)
_LONGEST_DETAIL = 200
_UNAUTHORIZED = 13
_AUTHENTICATION = (18, 8000)
_FULL_DISK = (14031, 39)


def masked(url: str) -> str:
    """A URL as it can be shown: user, password and options (which may hold secrets too) are replaced by ***."""
    return _OPTIONS.sub("?***", _SECRET.sub("***@", url))


def connect(url: str, *, timeout_s: float) -> MongoClient[Document]:
    """A client that acknowledges a write once a majority has it in its journal, and gives up after ``timeout_s``.

    What the URL says of time-outs and TLS holds; what it says of the write concern does not. Nothing is sent yet,
    except that ``mongodb+srv`` asks the name server. ConfigError for a URL that is none.
    """
    try:
        with warnings.catch_warnings():
            # An option that it does not understand is left out with a warning, and tls=yes would mean no TLS.
            warnings.simplefilter("error", UserWarning)
            return MongoClient(
                url,
                appname="attendance",
                tz_aware=True,
                retryWrites=True,
                retryReads=True,
                w="majority",
                journal=True,
                wtimeoutms=int(timeout_s * 1000),
                **_defaults(url, timeout_s),
            )
    except (InvalidURI, InvalidName, ConfigurationError, ValueError, UserWarning) as error:
        raise ConfigError(
            f"ledger.url must be a MongoDB address such as mongodb://host:27017/attendance, "
            f"got {masked(url)}: {_detail(error, url)}"
        ) from error


def _defaults(url: str, timeout_s: float) -> dict[str, Any]:
    # A keyword would beat the URL, so only what the URL leaves open is given.
    milliseconds = {
        "serverSelectionTimeoutMS": timeout_s * 500,
        "connectTimeoutMS": timeout_s * 300,
        "socketTimeoutMS": timeout_s * 1000,
    }
    return {name: int(value) for name, value in milliseconds.items() if f"{name.lower()}=" not in url.lower()}


@contextmanager
def translated(url: str) -> Iterator[None]:
    """pymongo's errors as `LedgerError`, in one line that names the server and the way out."""
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise _in_our_words(error, url) from error
    except (ValueError, OverflowError, TypeError) as error:
        raise LedgerError(
            f"the ledger {masked(url)} got or holds a value that it cannot keep: {_detail(error, url)}"
        ) from error


def _in_our_words(error: Exception, url: str) -> LedgerError:
    name, detail = f"the ledger {masked(url)}", _detail(error, url)
    code = _code(error)
    if code in _AUTHENTICATION:
        return LedgerUnavailableError(f"{name} refused the user or the password: look at ledger.url ({detail})")
    if code == _UNAUTHORIZED:
        return LedgerError(f"{name} lets this user not do that: grant the role of docs/mongodb.md ({detail})")
    if code in _FULL_DISK:
        return LedgerUnavailableError(f"{name} has no space left on its disk: free space ({detail})")
    if isinstance(error, WTimeoutError | ExecutionTimeout):
        return LedgerUnavailableError(f"{name} did not confirm in time; it may be stored, try again ({detail})")
    if isinstance(error, ConnectionFailure):
        hint = "its certificate and tls options" if _is_tls(detail) else "the address, the network and the server"
        return LedgerUnavailableError(f"{name} cannot be reached: look at {hint} ({detail})")
    if isinstance(error, InvalidOperation) and "close" in detail.lower():
        return LedgerError(f"{name} was closed: open it again")
    return LedgerError(f"{name} refused it: {detail}")


def _code(error: Exception) -> int | None:
    if isinstance(error, BulkWriteError):
        faults = error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}]
        code: int | None = faults[0].get("code")
        return code
    return error.code if isinstance(error, OperationFailure) else None


def _is_tls(detail: str) -> bool:
    return any(word in detail.lower() for word in ("ssl", "tls", "certificate"))


def _detail(error: Exception, url: str) -> str:
    """The error's own words without its long tail, and without anything that the URL keeps secret."""
    text = " ".join(str(error).split())
    for tail in (", full error:", ", Timeout:", " (configured timeouts:"):
        text = text.partition(tail)[0]
    secret = _SECRET.search(url)
    if secret is not None:
        for part in secret.group()[:-1].split(":", 1)[1:]:
            text = text.replace(part, "***") if part else text
    return _SECRET.sub("***@", text)[:_LONGEST_DETAIL]
