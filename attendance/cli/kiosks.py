"""``kiosks list|show|set|unset``: who runs, and what the ledger holds of each kiosk's configuration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attendance.cli.base import EXIT_OK, Context, add_command, add_group
from attendance.cli.configured import kiosk_layers, open_existing, setting_key
from attendance.cli.table import render
from attendance.config import EVERY_KIOSK, KIOSK_ID, Settings, check, scalar, unfit_for_ledger
from attendance.config.layers import flat, put
from attendance.errors import ConfigError, LedgerError, UsageError
from attendance.events import format_utc
from attendance.ledger.opening import Held
from attendance.ledger.port import Ledger, Setting
from attendance.ledger.registry import Register

SILENT_AFTER = 3.0
"""A kiosk that was not heard of for so many of our ``kiosk.health_s`` is shown as silent."""

_PREFIX = setting_key("")
_ATTEMPTS = 100


def register(commands: Any) -> None:
    """Add the group."""
    group = add_group(commands, "kiosks", summary="see the kiosks on this ledger and set their configuration",
                      example="python -m attendance kiosks set hall decide.margin 0.03")  # fmt: skip
    add_command(group, "list", summary="list the kiosks with their health", example="python -m attendance kiosks list",
                command=list_kiosks)  # fmt: skip
    texts = {
        "show": ("show what the ledger holds for a kiosk", "kiosks show hall", show),
        "set": ("set a key for a kiosk, or with * for all; they take it up at their next start",
                "kiosks set '*' search.follow_s 2", set_key),
        "unset": ("take a key back", "kiosks unset hall decide.margin", unset_key),
    }  # fmt: skip
    for name, (summary, example, command) in texts.items():
        parser = add_command(group, name, summary=summary, example=f"python -m attendance {example}", command=command)
        parser.add_argument("kiosk", metavar="KIOSK", help="its id, or * for every kiosk")
        if name != "show":
            parser.add_argument("key", metavar="KEY", help="dotted, such as decide.margin")
        if name == "set":
            parser.add_argument("value", metavar="VALUE", help="written as in the file")


def list_kiosks(_: argparse.Namespace, context: Context) -> int:
    """Every kiosk that was heard of, or that has settings or cameras."""
    with open_existing(context) as app:
        found = _overview(app.ledger, silent_after_s=SILENT_AFTER * context.settings.kiosk.health_s)
    columns = ("id", "state", "seen_at", "release", "template_revision", "punches", "not_recorded", "cameras")
    rows = [{**each, "cameras": ", ".join(f"{c['id']} {c['state']}" for c in each["cameras"])} for each in found]
    context.say(render(rows, columns=columns))
    context.write_json(found)
    return EXIT_OK


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Health, cameras and settings of one kiosk, or the settings of all."""
    kiosk = _checked_id(arguments.kiosk)
    with open_existing(context) as app:
        known = _overview(app.ledger, silent_after_s=SILENT_AFTER * context.settings.kiosk.health_s)
        registered = app.ledger.registered(Register.CAMERAS)
        held = {key: _values(app.ledger, key) for key in (EVERY_KIOSK, kiosk)}
    data = {
        "id": kiosk,
        "health": next((each for each in known if each["id"] == kiosk), None),
        "registered_cameras": [{"id": c.key, **c.value} for c in registered if c.value["kiosk"] == kiosk],
        "settings": {key: dict(flat(value)) for key, value in held.items() if value},
    }
    context.say_json(data)
    context.write_json(data)
    return EXIT_OK


def set_key(arguments: argparse.Namespace, context: Context) -> int:
    """Set a key, once it fits: with what else the ledger holds, by the rules of the file."""
    value = scalar(arguments.value)
    fault = unfit_for_ledger(arguments.key)
    if fault is not None:
        raise ConfigError(f"{arguments.key}: {fault}")
    return _change(arguments, context, lambda values: put(values, arguments.key, value), f"= {value}")


def unset_key(arguments: argparse.Namespace, context: Context) -> int:
    """Take a key back; UsageError where it is not set."""

    def take(values: dict[str, Any]) -> None:
        section, _, name = arguments.key.partition(".")
        if name not in values.get(section, {}):
            raise UsageError(f"{arguments.key} is not set for {arguments.kiosk}: see kiosks show {arguments.kiosk}")
        del values[section][name]
        if not values[section]:
            del values[section]

    return _change(arguments, context, take, "is no longer set")


def _change(arguments: argparse.Namespace, context: Context, change: Any, told: str) -> int:
    kiosk = _checked_id(arguments.kiosk)
    key = setting_key(kiosk)
    with context.open_app() as app:
        for _ in range(_ATTEMPTS):
            found = app.ledger.setting(key)
            values = _copied({} if found is None else found.value)
            change(values)
            changed = Setting(key, 1 if found is None else found.version + 1, values)
            _demand_valid(app.ledger, kiosk, changed)
            if app.ledger.put_setting(changed):
                context.say(f"{kiosk}: {arguments.key} {told}; taken up at the next start")
                context.write_json({"kiosk": kiosk, "settings": dict(flat(values)), "version": changed.version})
                return EXIT_OK
    raise LedgerError(f"the settings of {kiosk} are being changed by others all the time: try again")


def _demand_valid(ledger: Ledger, kiosk: str, changed: Setting) -> None:
    """ConfigError unless every kiosk that this concerns could start with it."""
    concerned = [kiosk] if kiosk != EVERY_KIOSK else ["", *_kiosks(ledger)]
    for name in concerned:
        keys = (setting_key(EVERY_KIOSK), setting_key(name))
        held = {key: found for key in keys if (found := ledger.setting(key)) is not None}
        if changed.key in keys:
            held[changed.key] = changed
        problems = check(None, environment={}, layers=kiosk_layers(Held(held, [], []), name))
        if not isinstance(problems, Settings):
            raise ConfigError(str(problems[0]))


def _kiosks(ledger: Ledger) -> list[str]:
    """Every kiosk that the ledger knows of."""
    known = {each.key for each in ledger.registered(Register.HEALTH)}
    known |= {each.value["kiosk"] for each in ledger.registered(Register.CAMERAS)}
    known |= {each.key.removeprefix(_PREFIX) for each in ledger.settings() if each.key.startswith(_PREFIX)}
    return sorted(known - {EVERY_KIOSK})


def _overview(ledger: Ledger, *, silent_after_s: float) -> list[dict[str, Any]]:
    health = {each.key: each.value for each in ledger.registered(Register.HEALTH)}
    return [_health(kiosk, health.get(kiosk), silent_after_s=silent_after_s) for kiosk in _kiosks(ledger)]


def _health(kiosk: str, value: Mapping[str, Any] | None, *, silent_after_s: float) -> dict[str, Any]:
    names = ("started_at", "seen_at", "ended_at", "release", "card_id", "template_revision", "punches", "not_recorded")
    if value is None:
        return {"id": kiosk, "state": "never seen", **dict.fromkeys(names), "cameras": []}
    silent = (datetime.now(UTC) - value["seen_at"]).total_seconds() > silent_after_s
    state = "ended" if value["ended_at"] is not None else "silent" if silent else "running"
    return {
        "id": kiosk,
        "state": state,
        **{name: _plain(value[name]) for name in names},
        "cameras": [{name: _plain(each) for name, each in camera.items()} for camera in value["cameras"]],
    }


def _plain(value: Any) -> Any:
    return format_utc(value) if isinstance(value, datetime) else value


def _values(ledger: Ledger, kiosk: str) -> dict[str, Any]:
    found = ledger.setting(setting_key(kiosk))
    return {} if found is None else found.value


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {section: dict(keys) for section, keys in values.items()}


def _checked_id(kiosk: str) -> str:
    if kiosk != EVERY_KIOSK and KIOSK_ID.fullmatch(kiosk) is None:
        raise UsageError(f"KIOSK must be a kiosk's id or *, got {kiosk!r}: see kiosks list")
    return kiosk
