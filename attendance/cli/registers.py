"""``cameras`` and ``sites``: what the ledger registers for kiosks whose own file names none."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from attendance.cli.base import EXIT_OK, Context, add_command, add_group
from attendance.cli.configured import open_existing
from attendance.cli.table import render
from attendance.config import KIOSK_ID, CameraSection, SiteSection
from attendance.errors import UsageError
from attendance.ledger.registry import Register

_CAMERA = ("kiosk", "source", "site", "direction")


def register(commands: Any) -> None:
    """Add both groups."""
    cameras = add_group(
        commands,
        "cameras",
        summary="register cameras in the ledger, for kiosks whose own file names none",
        example="python -m attendance cameras set door --kiosk hall --source rtsp://10.0.0.7/stream1 --direction in",
    )
    setter = _add(cameras, "set", "register a camera, or change one", "cameras set door --direction in", set_camera)
    setter.add_argument("--kiosk", metavar="ID", help="the kiosk that runs it")
    setter.add_argument("--source", metavar="0|FILE|URL|DIR", help="what it is, without a password (0)")
    setter.add_argument("--site", metavar="ID", help="where it stands (main)")
    setter.add_argument("--direction", metavar="in|out|unspecified", help="which way it counts (unspecified)")
    _add(cameras, "remove", "take a camera out of the register", "cameras remove door", remove_camera)
    add_command(cameras, "list", summary="list the cameras", example="python -m attendance cameras list",
                command=list_cameras)  # fmt: skip
    sites = add_group(
        commands,
        "sites",
        summary="register sites in the ledger, for programs whose own file names none",
        example="python -m attendance sites set berlin --time-zone Europe/Berlin",
    )
    setter = _add(sites, "set", "register a site, or change it", "sites set berlin --time-zone Europe/Berlin", set_site)
    setter.add_argument("--time-zone", metavar="ZONE", required=True, help="IANA time zone that cuts its days")
    _add(sites, "remove", "take a site out of the register", "sites remove berlin", remove_site)
    add_command(sites, "list", summary="list the sites", example="python -m attendance sites list", command=list_sites)


def _add(group: Any, name: str, summary: str, example: str, command: Any) -> Any:
    parser = add_command(group, name, summary=summary, example=f"python -m attendance {example}", command=command)
    parser.add_argument("id", metavar="ID")
    return parser


def set_camera(arguments: argparse.Namespace, context: Context) -> int:
    """Register a camera; what is not said stays as it was."""
    said = {name: getattr(arguments, name) for name in _CAMERA if getattr(arguments, name) is not None}
    with context.open_app() as app:
        before = app.ledger.find_registered(Register.CAMERAS, arguments.id)
        value = {"site": "main", "direction": "unspecified", **({} if before is None else before.value), **said}
        if "kiosk" not in value or "source" not in value:
            raise UsageError(f"camera {arguments.id} is new: name the kiosk that runs it and its source")
        if KIOSK_ID.fullmatch(value["kiosk"]) is None:
            raise UsageError(f"--kiosk must be a kiosk's id, got {value['kiosk']!r}: see kiosks list")
        _demand_no_password(value["source"])
        camera = _checked(CameraSection, {"id": arguments.id, **{k: v for k, v in value.items() if k != "kiosk"}})
        value = {"kiosk": value["kiosk"], **camera.model_dump(mode="json", exclude={"id"})}
        if camera.site not in {site.key for site in app.ledger.registered(Register.SITES)}:
            context.say(f"note: site {camera.site} is not registered: see sites set")
        app.ledger.register(Register.CAMERAS, arguments.id, value)
    return _told(context, {"id": arguments.id, **value}, f"camera {arguments.id}: {value['source']}, {value['site']}")


def set_site(arguments: argparse.Namespace, context: Context) -> int:
    """Register a site."""
    site = _checked(SiteSection, {"id": arguments.id, "time_zone": arguments.time_zone})
    with context.open_app() as app:
        app.ledger.register(Register.SITES, site.id, {"time_zone": site.time_zone})
    return _told(context, site.model_dump(), f"site {site.id}: {site.time_zone}")


def list_cameras(_: argparse.Namespace, context: Context) -> int:
    """List the cameras by id."""
    return _list(context, Register.CAMERAS, _CAMERA)


def list_sites(_: argparse.Namespace, context: Context) -> int:
    """List the sites by id."""
    return _list(context, Register.SITES, ("time_zone",))


def remove_camera(arguments: argparse.Namespace, context: Context) -> int:
    """Take a camera out; what it recorded stays."""
    return _remove(arguments, context, Register.CAMERAS)


def remove_site(arguments: argparse.Namespace, context: Context) -> int:
    """Take a site out, unless a camera stands there."""
    return _remove(arguments, context, Register.SITES)


def _remove(arguments: argparse.Namespace, context: Context, what: Register) -> int:
    with open_existing(context) as app:
        if what is Register.SITES:
            there = [c.key for c in app.ledger.registered(Register.CAMERAS) if c.value["site"] == arguments.id]
            if there:
                raise UsageError(f"camera {there[0]} stands at site {arguments.id}: move or remove it first")
        if not app.ledger.deregister(what, arguments.id):
            raise UsageError(f"{what} has no {arguments.id}: see python -m attendance {what} list")
    return _told(context, {"id": arguments.id}, f"{arguments.id} is no longer registered")


def _list(context: Context, what: Register, columns: tuple[str, ...]) -> int:
    with open_existing(context) as app:
        found = [{"id": each.key, **each.value} for each in app.ledger.registered(what)]
    context.say(render(found, columns=("id", *columns)))
    context.write_json(found)
    return EXIT_OK


def _checked(model: Any, values: dict[str, Any]) -> Any:
    """The section, or UsageError with its first fault: the rules are those of the file."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name}: {message}, got {fault['input']!r}") from error


def _demand_no_password(source: str) -> None:
    if "://" in source and "@" in urlsplit(source).netloc:
        raise UsageError(
            "the register is read by every program on the ledger and holds no password: "
            "name this camera in the kiosk's own file"
        )


def _told(context: Context, data: dict[str, Any], text: str) -> int:
    context.say(text)
    context.write_json(data)
    return EXIT_OK
