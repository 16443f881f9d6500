"""``crops show|new-key|fill|rotate|remove``: faces of enrolled photos, kept encrypted for another model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command, add_group
from attendance.cli.configured import open_existing
from attendance.cli.swapping import photos_of
from attendance.cli.table import printable
from attendance.errors import UsageError
from attendance.types import Person, Template


def register(commands: Any) -> None:
    """Add the group."""
    group = add_group(commands, "crops", summary="faces of enrolled photos, kept encrypted for another model",
                      example="python -m attendance crops show")  # fmt: skip
    add_command(group, "show", summary="how many are kept, by which keys, and whose are missing",
                example="python -m attendance crops show", command=show)  # fmt: skip
    new_key = add_command(group, "new-key", summary="make a key, in a new file or behind those of a file",
                          example="python -m attendance crops new-key crops.key", command=new_key_of)  # fmt: skip
    new_key.add_argument("file", metavar="FILE", type=Path)
    fill = add_command(group, "fill", summary="keep the crops that are missing, from the photos given again",
                       example="python -m attendance crops fill people", command=fill_missing)  # fmt: skip
    fill.add_argument("photos", metavar="DIR", type=Path)
    add_command(group, "rotate", summary="encrypt every crop with the newest key",
                example="python -m attendance crops rotate", command=rotate)  # fmt: skip
    remove = add_command(group, "remove", summary="delete every crop",
                         example="python -m attendance crops remove --yes", command=remove_all)  # fmt: skip
    remove.add_argument("--yes", action="store_true", help="do not ask")


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Counts and fingerprints; what is left of people who are gone is removed."""
    with open_existing(context) as app:
        removed = app.sweep_crops(always=True)
        kept = app.crops.kept()
        missing = _lacking(app)
        keeps = app.settings.crops.keep != "off"
    by_key = {key: sum(each.key == key for each in kept) for key in sorted({each.key for each in kept})}
    size = sum(each.path.stat().st_size for each in kept)
    context.say(f"enrolment keeps {'the face of every photo' if keeps else 'no crops (crops.keep)'}")
    context.say(f"{len(kept)} crops, {size / 1e6:.1f} MB; {removed} of people who are gone were removed")
    for key, count in by_key.items():
        context.say(f"{count} by key {key}")
    for identity_id, count in missing.items():
        context.say(f"{printable(identity_id)}: {count} templates without a crop")
    context.write_json({
        "keeps": keeps, "crops": len(kept), "bytes": size, "removed": removed, "by_key": by_key, "missing": missing,
    })  # fmt: skip
    return EXIT_OK


def new_key_of(arguments: argparse.Namespace, context: Context) -> int:
    """Make a key; those that are there stay."""
    from attendance.crops import add_crop_key

    keys = add_crop_key(arguments.file, store=context.settings.store.path)
    context.say(f"key {keys.fingerprint} is in {arguments.file}, mode 0600, one of {len(keys.identities)}: keep a copy "
                "apart from the store; without it no crop opens")  # fmt: skip
    context.say(f"public part, which can keep crops and not read them: {keys.recipient}")
    context.write_json({
        "file": str(arguments.file), "fingerprint": keys.fingerprint, "public": str(keys.recipient),
        "keys": len(keys.identities),
    })  # fmt: skip
    return EXIT_OK


def fill_missing(arguments: argparse.Namespace, context: Context) -> int:
    """Keep what is missing; exit code 1 where something still is."""
    from attendance.crops import cut, encoded
    from attendance.swap import Rereader

    kept, unmade = 0, []
    with open_existing(context) as app:
        keep = app.keep_crop
        if keep is None:
            raise UsageError("no crops are kept: set crops.keep to encrypted, and a key, if that is meant")
        reread = Rereader(photos_of(app, arguments.photos), app.reader, lambda: app.reader)
        for person, template in _missing(app):
            found = reread.picture(template)
            if isinstance(found, tuple):
                unmade.append({"identity_id": person.identity_id, "file": template.path, "reason": found[0],
                               "detail": found[1]})  # fmt: skip
            elif found.face is not None:
                keep(template, encoded(cut(found.image, found.face)))
                kept += 1
        app.sweep_crops(always=True)
    context.say(f"{kept} crops kept; {len(unmade)} are missing")
    for row in unmade:
        context.say(f"  {printable(row['file'])}: {row['reason']}: {row['detail']}")
    context.write_json({"kept": kept, "unmade": unmade})
    return EXIT_FAILURE if unmade else EXIT_OK


def rotate(arguments: argparse.Namespace, context: Context) -> int:
    """Give every crop the newest key; exit code 1 where one could not be opened."""
    with open_existing(context) as app:
        app.sweep_crops(always=True)
        fingerprint = app.crops.keys.fingerprint
        results = list(app.crops.rotate())
    failed = [text for text in results if text is not None]
    context.say(
        f"{len(results) - len(failed)} crops encrypted with key {fingerprint}; {len(failed)} could not be opened"
    )
    for text in failed:
        context.say(f"  {text}")
    context.write_json({"key": fingerprint, "rotated": len(results) - len(failed), "failed": failed})
    return EXIT_FAILURE if failed else EXIT_OK


def remove_all(arguments: argparse.Namespace, context: Context) -> int:
    """Delete every crop; templates stay."""
    with open_existing(context) as app:
        if not arguments.yes and not _agreed(len(app.crops.kept())):
            raise UsageError("nothing was deleted: answer yes, or give --yes")
        deleted = app.crops.remove_all()
    context.say(f"{deleted} crops deleted; everybody stays enrolled")
    context.write_json({"deleted": deleted})
    return EXIT_OK


def _agreed(count: int) -> bool:
    print(f"Delete {count} crops for good? Type yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def _missing(app: App) -> Iterable[tuple[Person, Template]]:
    kept = {(each.template_id, each.sha256) for each in app.crops.kept()}
    return [
        (person, template)
        for person in app.ledger.people()
        for template in person.templates
        if (template.template_id, template.sha256[:16]) not in kept
    ]


def _lacking(app: App) -> dict[str, int]:
    """Identity id to how many templates have no crop, in order."""
    found: dict[str, int] = {}
    for person, _ in _missing(app):
        found[person.identity_id] = found.get(person.identity_id, 0) + 1
    return dict(sorted(found.items()))
