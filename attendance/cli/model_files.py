"""Model files given by hand: a bundle, or weights with the id or card that they belong to; and accepted licences."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context
from attendance.errors import AttendanceError, ModelError, UsageError
from attendance.zoo.archive import Archive, open_archive
from attendance.zoo.bundle import BundledModel, Manifest, read_manifest
from attendance.zoo.catalogue import Role, ZooModel, find_model
from attendance.zoo.download import digest_of
from attendance.zoo.folder import Installed
from attendance.zoo.installing import Wanted, import_file, import_member, wanted_by_card, wanted_of


def use_of(model: ZooModel | None, model_id: str) -> str:
    if model is None or model.role is Role.EMBEDDER:
        return f"model.id: {model_id}"
    return "nothing yet" if model.runs_as is None else f"{model.runs_as}, detect.model: {model_id}"


def hint(context: Context, model_id: str, use: str, found: Installed | None) -> None:
    context.say(f"to use it: {use}")
    if found is not None and found.card is not None and len(found.card.thresholds) < 2:
        context.say(
            "its similarities were never measured, so it decides on nobody yet: measure it (docs/models.md) with "
            f"`python -m lab.measure_card --model {model_id} --images DIR --write`, or set decide.threshold, and "
            "enrol.outliers to off to enrol with it"
        )


def accept(app: App, context: Context, model_id: str, licence: str, *, given: bool) -> None:
    """Show the licence and have it accepted, once per store and text."""
    if app.models.accepted(model_id) == licence:
        return
    context.say(f"{model_id}: {licence}")
    if not given:
        if not sys.stdin.isatty():
            raise UsageError(
                f"the licence of {model_id} was not accepted yet ({licence}): read it, and give --accept-licence"
            )
        print("Do you accept it? Type yes: ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() != "yes":
            raise UsageError("nothing was fetched: the licence was not accepted")
    app.models.accept(model_id, licence, by=app.attested_by(), at=now())


def now() -> datetime:
    return datetime.now(UTC)


def import_models(arguments: argparse.Namespace, context: Context) -> int:
    """A bundle, or a weight file of one model."""
    path = arguments.file
    if not path.is_file():
        raise UsageError(f"{path}: expected a bundle or a weight file, there is no such file")
    typed = _typed_digest(arguments.sha256)
    if typed is not None and (found := digest_of(path)) != typed:
        raise ModelError(f"{path}: --sha256 says {typed}, the file has {found}: nothing was imported")
    with context.open_app() as app, open_archive(path) as archive:
        manifest = None if archive is None else read_manifest(archive)
        if archive is not None and manifest is not None:
            return _import_bundle(arguments, context, app, archive, manifest)
        return _import_weights(arguments, context, app)


def _typed_digest(text: str | None) -> str | None:
    if text is None:
        return None
    digest = text.strip().lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise UsageError(f"--sha256: expected 64 hexadecimal digits, got {text!r}")
    return digest


def _import_weights(arguments: argparse.Namespace, context: Context, app: App) -> int:
    typed = _typed_digest(arguments.sha256)
    if arguments.card is not None:
        if arguments.ids:
            raise UsageError("--card names the model itself: leave the id away")
        wanted, licence = _by_card(app, arguments.card, typed)
    else:
        if len(arguments.ids) != 1:
            raise UsageError(f"{arguments.file} is no bundle: say which model it is by one ID, or with --card")
        model = find_model(arguments.ids[0], app.catalogue)
        wanted, licence = wanted_of(model, typed), model.licence
    accept(app, context, wanted.id, licence, given=arguments.accept_licence)
    import_file(app.models, arguments.file, wanted, at=now())
    _say_taken(context, app, wanted.id)
    context.write_json({"imported": [wanted.id], "refused": []})
    return EXIT_OK


def _by_card(app: App, path: Path, typed: str | None) -> tuple[Wanted, str]:
    from attendance.embed.card_file import read_card

    card = read_card(path)
    if card.id in app.catalogue:
        raise UsageError(
            f"{card.id} is a model of the catalogue, whose card is made of it: give another id to your own"
        )
    if typed is not None and typed != card.sha256:
        raise UsageError(f"--sha256 says {typed}, {path} says {card.sha256}")
    return wanted_by_card(card), card.license


def _import_bundle(
    arguments: argparse.Namespace, context: Context, app: App, archive: Archive, manifest: Manifest
) -> int:
    if arguments.card is not None:
        raise UsageError(f"{arguments.file} is a bundle: leave --card away")
    entries = {entry.id: entry for entry in manifest.models}
    for model_id in arguments.ids:
        if model_id not in entries:
            raise UsageError(f"no model {model_id!r} in {arguments.file}; there: {', '.join(sorted(entries))}")
    taken: list[str] = []
    refused: list[dict[str, str]] = []
    for entry in manifest.models:
        if arguments.ids and entry.id not in arguments.ids:
            continue
        try:
            _import_entry(arguments, context, app, archive, entry)
            taken.append(entry.id)
        except AttendanceError as error:
            refused.append({"id": entry.id, "reason": str(error)})
            context.say(f"refused: {error}")
    context.write_json({"imported": taken, "refused": refused})
    return EXIT_FAILURE if refused else EXIT_OK


def _import_entry(
    arguments: argparse.Namespace, context: Context, app: App, archive: Archive, entry: BundledModel
) -> None:
    wanted, licence = _wanted_of_entry(app, entry, vouched=arguments.sha256 is not None)
    accept(app, context, entry.id, licence, given=arguments.accept_licence)
    with archive.open(entry.member) as stream:
        import_member(app.models, stream, entry, wanted, at=now())
    _say_taken(context, app, entry.id)


def _wanted_of_entry(app: App, entry: BundledModel, *, vouched: bool) -> tuple[Wanted, str]:
    """What an entry must be: by the catalogue, or by the bundle itself once its digest was typed."""
    known = app.catalogue.get(entry.id)
    if known is not None and (known.sha256 is not None or known.package is not None):
        return wanted_of(known), known.licence
    if not vouched:
        raise ModelError(
            f"{entry.id}: no catalogue knows its SHA-256: give that of the whole bundle with --sha256, as `models "
            "bundle` printed it"
        )
    if known is not None:
        return wanted_of(known, entry.sha256), known.licence
    return wanted_by_card(_card_of(entry)), entry.licence


def _card_of(entry: BundledModel) -> Any:
    from attendance.embed.card_file import parse_card

    card = parse_card(entry.card, f"the card of {entry.id}")
    if (card.id, card.sha256) != (entry.id, entry.sha256):
        raise ModelError(f"{entry.id}: the bundle's card is of {card.id} with SHA-256 {card.sha256}: bundle it again")
    return card


def _say_taken(context: Context, app: App, model_id: str) -> None:
    context.say(f"{model_id} is in the store")
    hint(context, model_id, use_of(app.catalogue.get(model_id), model_id), app.models.find(model_id))
