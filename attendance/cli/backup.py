"""``backup`` and ``restore``: everything that cannot be made again, in one encrypted file and back."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.cli.check import without_passwords
from attendance.errors import AttendanceError, UsageError
from attendance.ledger.opening import ledger_url, open_ledger
from attendance.ledger.port import Ledger

if TYPE_CHECKING:
    from attendance.backup.archive import Manifest
    from attendance.backup.keys import Keys

BATCH_TIMEOUT_S = 60.0
"""How long a server may take over a batch of records: thousands at once, where a kiosk has one."""


def register(commands: Any) -> None:
    """Add the commands."""
    parser = add_command(
        commands,
        "backup",
        summary="write people, templates, punches, settings and own models into one encrypted file, while kiosks run",
        example="python -m attendance backup /backups/monday.age",
        command=backup,
    )
    parser.add_argument("target", metavar="FILE", nargs="?", type=Path, help="a new file; never overwritten")
    parser.add_argument("--no-models", action="store_true", help="leave models out; they must be got again to restore")
    parser.add_argument(
        "--make-key", type=Path, metavar="KEYFILE", help="make a new key for backup.key_file instead, and stop"
    )
    parser = add_command(
        commands,
        "restore",
        summary="bring a backup back into a store without a ledger, or into an empty database, and make the gallery",
        example="python -m attendance restore /backups/attendance-2026-03-01.age --store restored",
        command=restore,
    )
    parser.add_argument("source", metavar="FILE", type=Path, help="what backup wrote")
    parser.add_argument("--check", action="store_true", help="read and compare the whole backup, and change nothing")


def backup(arguments: argparse.Namespace, context: Context) -> int:
    """Make a backup, or a key for it."""
    from attendance.backup.keys import make_key
    from attendance.backup.writing import Contents, write_backup

    if arguments.make_key is not None:
        if arguments.target is not None:
            raise UsageError("--make-key makes a key and no backup: leave FILE away")
        public = make_key(arguments.make_key)
        context.say(f"{arguments.make_key} is the key: keep a copy away from this machine, nothing is restored without")
        context.say(f"public part, which can back up and not restore: {public}")
        context.write_json({"key_file": str(arguments.make_key), "public": public})
        return EXIT_OK
    if arguments.target is None:
        raise UsageError("backup needs FILE, a new file to write: see python -m attendance backup --help")
    keys = _keys(context)
    started = time.monotonic()
    with context.open_app() as app:
        server = _server_url(context)
        if not server and not app.has_ledger:
            raise UsageError(f"there is no ledger in {app.store}: name the store with --store")
        contents = Contents(
            take_ledger=_taker(app, server),
            kind="mongodb" if server else "sqlite",
            model=context.settings.model.id,
            configuration=yaml.safe_dump(without_passwords(context.settings), allow_unicode=True, sort_keys=False),
            models_dir=None if arguments.no_models else app.models_dir,
        )
        made = write_backup(arguments.target, contents, keys=keys, store=app.store, now=datetime.now(UTC))
    seconds = time.monotonic() - started
    context.say(f"{arguments.target}: {_shown(made.manifest)}; {made.size / 1e6:.1f} MB in {seconds:.1f} s")
    if not made.verified:
        context.say("not read back, since the key file holds public keys alone: try `restore --check` where the key is")
    context.write_json(
        {
            "file": str(arguments.target),
            "bytes": made.size,
            "verified": made.verified,
            **_told(made.manifest),
            "seconds": round(seconds, 3),
        }
    )
    return EXIT_OK


def restore(arguments: argparse.Namespace, context: Context) -> int:
    """Bring a backup back, or only look at it."""
    keys = _keys(context)
    if not arguments.source.is_file():
        raise UsageError(f"the backup must be a file, there is none at {arguments.source}: name the file")
    started = time.monotonic()
    if arguments.check:
        from attendance.backup.reading import read_backup

        manifest = read_backup(arguments.source, keys)
        context.say(f"{arguments.source} is whole: {_shown(manifest)}")
        templates, fault = None, None
    else:
        with context.open_app() as app:
            manifest = _restored(arguments.source, keys, app, context)
            context.say(f"restored into {app.store}: {_shown(manifest)}")
            templates, fault = _rebuild_gallery(app)
        context.say(f"gallery of {templates} templates" if fault is None else f"the gallery is not made: {fault}")
    context.write_json(
        {
            "file": str(arguments.source),
            "restored": not arguments.check,
            **_told(manifest),
            "gallery_templates": templates,
            "gallery_fault": fault,
            "seconds": round(time.monotonic() - started, 3),
        }
    )
    if fault is None:
        return EXIT_OK
    raise AttendanceError(f"everything is restored but the gallery: {fault}; then run `gallery rebuild`")


def _restored(source: Path, keys: Keys, app: App, context: Context) -> Manifest:
    from attendance.backup.restoring import restore_file, restore_server

    server = _server_url(context)
    if not server:
        return restore_file(source, keys=keys, store=app.store)
    place = hashlib.sha256(server.encode()).hexdigest()
    opener = _opener(app)
    with _opener(app, server)(app.store) as ledger:
        return restore_server(source, keys=keys, store=app.store, open_file=opener, server=ledger, place=place)[0]


def _rebuild_gallery(app: App) -> tuple[int | None, str | None]:
    """The gallery's templates, or why it could not be made: the records are restored by then."""
    from attendance.gallery import rebuild

    try:
        return rebuild(app.ledger, app.gallery_store), None
    except AttendanceError as error:
        return None, " ".join(str(error).split())


def _taker(app: App, server: str) -> Callable[[Path], None]:
    from attendance.backup.snapshot import copy_file, copy_server

    def take_from_server(target: Path) -> None:
        with _opener(app, server)(app.store) as ledger:
            copy_server(ledger, target, _opener(app))

    return take_from_server if server else lambda target: copy_file(app.store / "ledger.sqlite", target)


def _server_url(context: Context) -> str:
    return ledger_url(context.settings.ledger.url, context.settings.ledger.url_file)


def _opener(app: App, server: str = "") -> Callable[[Path], Ledger]:
    """Opens a ledger by the present rules: the file it is given, or the server, with time for a batch."""

    def open_it(path: Path) -> Ledger:
        return open_ledger(
            server,
            path,
            cooldown_s=app.settings.attendance.cooldown_s,
            time_zones=app.time_zones,
            timeout_s=BATCH_TIMEOUT_S,
        )

    return open_it


def _keys(context: Context) -> Keys:
    from attendance.backup.keys import Keys, read_key_file, read_passphrase_file

    section = context.settings.backup
    passphrase = section.passphrase.get_secret_value()
    if section.passphrase_file is not None:
        passphrase = read_passphrase_file(section.passphrase_file)
    if section.key_file is None:
        return Keys(passphrase=passphrase)
    found = read_key_file(section.key_file)
    return Keys(recipients=found.recipients, identities=found.identities, passphrase=passphrase)


def _shown(manifest: Manifest) -> str:
    models = f", models {', '.join(manifest.models)}" if manifest.models else ""
    return (
        f"{manifest.people} people, {manifest.templates} templates, {manifest.punches} punches of {manifest.kind}"
        f"{models}, backed up at {manifest.created_at}"
    )


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "created_at": manifest.created_at,
        "kind": manifest.kind,
        "schema": manifest.schema,
        "people": manifest.people,
        "templates": manifest.templates,
        "punches": manifest.punches,
        "attendance": manifest.attendance,
        "model": manifest.model,
        "models": manifest.models,
    }
