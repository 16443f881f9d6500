"""What the ledger holds of the configuration: for a kiosk all of it, for every other command the sites' time zones."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from attendance.app import App
from attendance.cli.base import Context, overrides_of
from attendance.config import EVERY_KIOSK, Layer, Settings, load
from attendance.errors import LedgerUnavailableError
from attendance.ledger.opening import Held, ledger_url, read_held
from attendance.logs import configure

if TYPE_CHECKING:
    from attendance.kept_mirror import Kept

_log = logging.getLogger(__name__)

KIOSK_TIMEOUT_S = 4.0
"""How long a kiosk waits for a ledger's server; a server that is away is given up after half of it."""


def setting_key(kiosk: str) -> str:
    """The key of the settings of a kiosk, or of every kiosk."""
    return f"kiosk/{kiosk}"


def kept_folder(settings: Settings) -> Path:
    """Where the last mirror is kept."""
    return settings.store.path / "mirror"


def kiosk_context(arguments: argparse.Namespace, context: Context) -> tuple[Context, tuple[Layer, ...]]:
    """The context with what the ledger holds for this kiosk laid under the configuration, and what that was.

    Where a ledger's server is away, what it held when the mirror was last kept. ConfigError names what does not fit.
    """
    settings = context.settings
    try:
        layers = kiosk_layers(_held(settings), settings.kiosk.name)
    except LedgerUnavailableError as error:
        kept = _last_kept(settings)
        if kept is None:
            raise
        _log.warning("configured as the ledger last said, because: %s", error)
        layers = tuple(Layer(origin, values) for origin, values in kept.layers)
    if not layers:
        return context, layers
    settings = load(context.config_path, overrides=overrides_of(arguments), layers=layers)
    configure(settings.log.level, settings.log.format)
    return replace(context, settings=settings), layers


def open_existing(context: Context) -> App:
    """The app on a ledger's server, or on a store that is there; UsageError where there is neither."""
    return context.open_app() if is_on_server(context.settings) else context.open_store()


def is_on_server(settings: Settings) -> bool:
    """Whether the ledger lies on a server, which may be away."""
    return bool(settings.ledger.url) or settings.ledger.url_file is not None


def _last_kept(settings: Settings) -> Kept | None:
    """What was kept of a ledger on a server, if anything."""
    # The mirror brings numba along, which no other command needs.
    from attendance.kept_mirror import load_kept

    return load_kept(kept_folder(settings)) if is_on_server(settings) else None


def _held(settings: Settings) -> Held:
    section = settings.ledger
    keys = [setting_key(EVERY_KIOSK), setting_key(settings.kiosk.name)]
    url = ledger_url(section.url, section.url_file)
    return read_held(url, settings.store.path / "ledger.sqlite", keys=keys, timeout_s=KIOSK_TIMEOUT_S)


def kiosk_layers(held: Held, kiosk: str) -> tuple[Layer, ...]:
    """The layers of a kiosk, the weakest first: sites, its cameras, the settings of all kiosks, and its own."""
    cameras = [
        {"id": each.key, **{name: each.value[name] for name in ("source", "site", "direction")}}
        for each in held.cameras
        if each.value["kiosk"] == kiosk
    ]
    sites = [{"id": each.key, "time_zone": each.value["time_zone"]} for each in held.sites]
    layers = []
    if sites:
        # The camera that a kiosk has by default stands at the site that is there by default.
        usual = Settings().sites[0]
        needs_usual = not cameras and usual.id not in {site["id"] for site in sites}
        layers.append(Layer("the ledger's sites", {"sites": [*sites, *([usual.model_dump()] if needs_usual else [])]}))
    if cameras:
        layers.append(Layer(f"the ledger's cameras of kiosk {kiosk}", {"cameras": cameras}))
    for key in (setting_key(EVERY_KIOSK), setting_key(kiosk)):
        if key in held.settings and held.settings[key].value:
            layers.append(Layer(f"the ledger's settings {key}", held.settings[key].value))
    return tuple(layers)


def plain(layers: Sequence[Layer]) -> list[tuple[str, dict[str, object]]]:
    """The layers as the kept mirror holds them."""
    return [(layer.origin, dict(layer.values)) for layer in layers]
