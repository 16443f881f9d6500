"""Which ledger a configuration means: the SQLite file in the store, or a MongoDB server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from attendance.errors import ConfigError
from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger

SCHEMES = ("mongodb://", "mongodb+srv://")


def ledger_url(url: str, url_file: Path | None) -> str:
    """The server's URL, from ``ledger.url`` or the file ``ledger.url_file``; empty for the ledger in the store."""
    if url_file is None:
        return url
    try:
        found = url_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"ledger.url_file must be a readable text file, got {url_file}: {error}") from error
    if not is_server(found):
        raise ConfigError(f"{url_file}: expected one address that begins with {' or '.join(SCHEMES)}: mend the file")
    return found


def is_server(url: str) -> bool:
    """Whether this is a server's address rather than a file."""
    return url.startswith(SCHEMES)


def open_ledger(url: str, path: Path, *, cooldown_s: float, time_zones: Mapping[str, ZoneInfo]) -> Ledger:
    """The ledger on the server ``url``, or where that is empty in the SQLite file ``path``; made where it is new.

    ``cooldown_s``: seconds in which a person counts once per site and direction. ``time_zones``: site id to its zone.
    Raises `LedgerUnavailableError`, `SchemaError` or `LedgerError`, and `ConfigError` for a URL that is none.
    """
    if not url:
        return SqliteLedger(path, cooldown_s=cooldown_s, time_zones=time_zones)
    # Most installations have no server, and its driver takes a while to import.
    from attendance.ledger.mongo import MongoLedger

    return MongoLedger(url, cooldown_s=cooldown_s, time_zones=time_zones)
