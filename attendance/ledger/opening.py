"""Which ledger a configuration means: the SQLite file in the store, or a MongoDB server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from attendance.errors import ConfigError, LedgerError
from attendance.ledger.port import Ledger, Setting
from attendance.ledger.registry import Registered
from attendance.ledger.sqlite import SqliteLedger
from attendance.ledger.sqlite_registry import peek as peek_file

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


def open_ledger(
    url: str, path: Path, *, cooldown_s: float, time_zones: Mapping[str, ZoneInfo], timeout_s: float = 10.0
) -> Ledger:
    """The ledger on the server ``url``, or where that is empty in the SQLite file ``path``; made where it is new.

    ``cooldown_s``: seconds in which a person counts once per site and direction. ``time_zones``: site id to its zone.
    ``timeout_s``: how long one question to a server may take.
    Raises `LedgerUnavailableError`, `SchemaError` or `LedgerError`, and `ConfigError` for a URL that is none.
    """
    if not url:
        return SqliteLedger(path, cooldown_s=cooldown_s, time_zones=time_zones)
    # Most installations have no server, and its driver takes a while to import.
    from attendance.ledger.mongo import MongoLedger

    return MongoLedger(url, cooldown_s=cooldown_s, time_zones=time_zones, timeout_s=timeout_s)


@dataclass(frozen=True, slots=True)
class Held:
    """What a ledger holds of configurations: the settings asked for that are there, cameras and sites."""

    settings: dict[str, Setting]
    cameras: list[Registered]
    sites: list[Registered]


def read_held(url: str, path: Path, *, keys: Sequence[str], timeout_s: float) -> Held:
    """Read settings and registry without opening the ledger, which needs the time zones that may stand there.

    Changes nothing and makes no ledger: where there is none, or one of an older schema, nothing is held. Raises as
    `open_ledger`.
    """
    if url:
        from attendance.ledger.mongo.registry import peek

        return Held(*peek(url, keys=keys, timeout_s=timeout_s))
    # A file that may not even be looked for is told of by who opens it.
    if not os.path.exists(path):
        return Held({}, [], [])
    return Held(*peek_file(path, keys=keys, timeout_s=timeout_s))


def registered_zones(url: str, path: Path, *, timeout_s: float = 10.0) -> dict[str, ZoneInfo]:
    """Site id to time zone, of the sites that the ledger registers; LedgerError for a zone that is none."""
    zones = {}
    for site in read_held(url, path, keys=(), timeout_s=timeout_s).sites:
        name = site.value["time_zone"]
        try:
            zones[site.key] = ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise LedgerError(
                f"the ledger's site {site.key} must have an IANA time zone such as Europe/Berlin, got {name!r}: "
                "set it with python -m attendance sites set"
            ) from error
    return zones
