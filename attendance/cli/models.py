"""``models list|show|pull|verify|remove|bundle|import``: which models there are, and how they come into the store."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli import swapping
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command, add_group
from attendance.cli.model_files import accept, hint, import_models, now, use_of
from attendance.cli.table import render
from attendance.errors import ModelError, UsageError
from attendance.space import Space
from attendance.zoo.catalogue import Role, ZooModel, find_model
from attendance.zoo.folder import Installed, ModelsFolder, looked_at

COLUMNS = ("id", "role", "size", "commercial", "in_store", "reported")


def register(commands: Any) -> None:
    """Add the group."""
    group = add_group(commands, "models", summary="fetch, check and carry models of the zoo",
                      example="python -m attendance models pull yunet-2023mar")  # fmt: skip

    def add(name: str, summary: str, example: str, command: Callable[[argparse.Namespace, Context], int]) -> Any:
        return add_command(
            group, name, summary=summary, example=f"python -m attendance models {example}", command=command
        )

    listing = add("list", "list the models of the catalogue and of the store", "list --role detector", list_models)
    listing.add_argument("--role", choices=[role.value for role in Role], help="of one role only")
    add("show", "everything known of a model", "show sface-2021dec", show).add_argument("id", metavar="ID")
    pull = add("pull", "fetch a model of the catalogue; run again, it goes on", "pull yunet-2023mar", pull_model)
    pull.add_argument("id", metavar="ID")
    pull.add_argument("--mirror", action="append", metavar="URL", help="ask URL/<id>/<file> first; may be repeated")
    verify = add("verify", "compare stored weights with their SHA-256", "verify", verify_models)
    verify.add_argument("ids", metavar="ID", nargs="*", help="these only (all)")
    remove = add("remove", "delete a model from the store", "remove scrfd-500m-kps", remove_model)
    remove.add_argument("id", metavar="ID")
    remove.add_argument("--yes", action="store_true", help="also one that cannot be fetched again")
    bundle = add("bundle", "write stored models into one tar or zip", "bundle models.tar sface-2021dec", bundle_models)
    bundle.add_argument("file", metavar="FILE", type=Path)
    bundle.add_argument("ids", metavar="ID", nargs="*", help="these only (all)")
    taken = add("import", "take models from a bundle, or one from its file", "import models.tar", import_models)
    taken.add_argument("file", metavar="FILE", type=Path)
    taken.add_argument("ids", metavar="ID", nargs="*", help="of a bundle these only; of a weight file, which it is")
    taken.add_argument("--sha256", metavar="DIGEST", help="the SHA-256 of FILE, from a source that you trust")
    taken.add_argument("--card", type=Path, metavar="CARD", help="the card of a model of your own, for a weight file")
    for parser in (pull, taken):
        parser.add_argument("--accept-licence", action="store_true", help="accept the licence that is shown")
    add("warm", "compile and load all that the first frame needs", "warm", warm)
    swapping.register(add)


def warm(arguments: argparse.Namespace, context: Context) -> int:
    """Do a first frame's work ahead: what is compiled is kept for every later start."""
    with context.open_app() as app:
        seconds, card_id = app.warm_up(), app.card.id
    context.say(f"{card_id} is ready; it took {seconds:.1f} s")
    context.write_json({"model": card_id, "seconds": round(seconds, 3)})
    return EXIT_OK


def list_models(arguments: argparse.Namespace, context: Context) -> int:
    """The catalogue, then what else lies in the store."""
    with context.open_app() as app:
        rows = [_row(model, app.models.find(model.id)) for model in app.catalogue.values()]
        rows += [_own_row(found) for found in app.models.installed() if found.id not in app.catalogue]
    rows = [row for row in rows if arguments.role in (None, row["role"])]
    shown = [{**row, "in_store": "yes" if row["in_store"] else row["package"] or ""} for row in rows]
    context.say(render(shown, columns=COLUMNS))
    context.say("\nreported: by the authors, in per cent; nothing of it was measured here")
    context.write_json(rows)
    return EXIT_OK


def _row(model: ZooModel, found: Installed | None) -> dict[str, Any]:
    return {
        "id": model.id,
        "role": model.role.value,
        "size": model.size_text(),
        "licence": model.licence,
        "commercial": model.commercial.value,
        "in_store": found is not None,
        "package": model.package,
        "reported": model.reported_text(),
    }


def _own_row(found: Installed) -> dict[str, Any]:
    return {
        "id": found.id,
        "role": found.origin.role if found.origin is not None else Role.EMBEDDER.value,
        "size": "unknown" if found.weights is None else f"{found.weights.stat().st_size / 1e6:.1f} MB",
        "licence": "" if found.card is None else found.card.license,
        "commercial": None,
        "in_store": True,
        "package": None,
        "reported": "",
    }


def show(arguments: argparse.Namespace, context: Context) -> int:
    """The catalogue's row, what is in the store, and how to use it."""
    with context.open_app() as app:
        found = app.models.find(arguments.id)
        if found is None or arguments.id in app.catalogue:
            data = find_model(arguments.id, app.catalogue).model_dump(mode="json", exclude={"card"})
            data["reported_note"] = "by the authors; not measured here" if data["reported"] else None
        else:
            data = _own_row(found)
        data["in_store"] = None if found is None else _stored(app.models, found)
        data["used_by"] = use_of(app.catalogue.get(arguments.id), arguments.id)
    context.say_json(data)
    context.write_json(data)
    return EXIT_OK


def _stored(models: ModelsFolder, found: Installed) -> dict[str, Any]:
    origin = found.origin
    return {
        "folder": str(models.of(found.id)),
        "sha256": found.sha256,
        "came_from": None if origin is None else origin.came_from,
        "placed_at": None if origin is None else origin.placed_at.isoformat(timespec="seconds"),
        "licence_accepted": models.accepted(found.id),
        "thresholds_measured": found.card is not None and len(found.card.thresholds) > 1,
    }


def pull_model(arguments: argparse.Namespace, context: Context) -> int:
    """Fetch one model, its licence accepted before the first byte."""
    from attendance.zoo.installing import pull, wanted_of

    with context.open_app() as app:
        model = find_model(arguments.id, app.catalogue)
        wanted_of(model)
        accept(app, context, model.id, model.licence, given=arguments.accept_licence)
        mirrors = [*(arguments.mirror or ()), *app.settings.model.mirrors]
        with _bar(context, model.id) as progress:
            fetched = pull(app.models, model, mirrors=mirrors, at=now(), patience=app.patience, progress=progress)
        found = app.models.find(model.id)
    context.say(f"{model.id} is in the store" if fetched else f"{model.id} was in the store already, whole")
    hint(context, model.id, use_of(model, model.id), found)
    context.write_json({"id": model.id, "fetched": fetched, "sha256": found.sha256 if found is not None else None})
    return EXIT_OK


@contextmanager
def _bar(context: Context, label: str) -> Iterator[Callable[[int, int | None], None]]:
    from tqdm import tqdm

    with tqdm(desc=label, unit="B", unit_scale=True, disable=context.quiet or None, leave=False) as bar:

        def advance(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def verify_models(arguments: argparse.Namespace, context: Context) -> int:
    """Read every stored file and compare; exit code 1 when one differs."""
    with context.open_app() as app:
        rows = [_verified(found, app.catalogue) for found in _chosen(app, arguments.ids)]
    for row in rows:
        context.say(f"{row['state']:8} {row['id']:24} {row['detail']}")
    if not rows:
        context.say("no model in the store")
    context.write_json(rows)
    return EXIT_OK if all(row["state"] == "ok" for row in rows) else EXIT_FAILURE


def _verified(found: Installed, catalogue: Mapping[str, ZooModel]) -> dict[str, Any]:
    known = catalogue.get(found.id)
    state, detail = looked_at(found, None if known is None else known.sha256)
    return {"id": found.id, "state": state, "detail": detail}


def _chosen(app: App, ids: list[str]) -> list[Installed]:
    """The named models of the store, or all."""
    installed = {found.id: found for found in app.models.installed()}
    for model_id in ids:
        if model_id not in installed:
            there = ", ".join(sorted(installed)) if installed else "none"
            raise UsageError(f"no model {model_id!r} in {app.models.path}; there: {there}")
    return [installed[model_id] for model_id in ids] if ids else list(installed.values())


def remove_model(arguments: argparse.Namespace, context: Context) -> int:
    """Delete a model that nothing uses."""
    with context.open_app() as app:
        found = _chosen(app, [arguments.id])[0]
        _require_unused(app, found.id)
        known = app.catalogue.get(found.id)
        if (known is None or known.sha256 is None) and not arguments.yes:
            raise UsageError(f"{found.id} cannot be fetched again by models pull: give --yes to delete it")
        app.models.remove(found.id)
    context.say(f"{found.id} was removed")
    context.write_json({"id": found.id, "removed": True})
    return EXIT_OK


def _require_unused(app: App, model_id: str) -> None:
    """UsageError, which says by what, where the configuration or somebody's templates need the model."""
    from attendance.detect.registry import FILES

    detect = app.settings.detect
    file = detect.model if detect.model else FILES.get(detect.name)
    if model_id in (app.settings.model.id, file):
        raise UsageError(f"the configuration uses {model_id}: name another as model.id or detect.model first")
    if app.noted is None:
        return
    if app.noted.model == model_id:
        raise UsageError(f"the templates in force are of {model_id}: switch to another model first (models swap)")
    shelved = {template.card_id for person in app.ledger.people() for template in person.shelved}
    if any(Space.of(space).model == model_id for space in shelved):
        raise UsageError(
            f"templates of {model_id} are kept beside those in force: models back needs it to switch to them, models "
            "finish deletes them"
        )


def bundle_models(arguments: argparse.Namespace, context: Context) -> int:
    """Write a bundle and say its digest."""
    from attendance.zoo.bundle import write_bundle

    if arguments.file.exists():
        raise UsageError(f"{arguments.file} is there already: name a new file")
    with context.open_app() as app:
        packed = [_packed(found, app.catalogue) for found in _chosen(app, arguments.ids)]
    if not packed:
        raise UsageError("there is no model in the store to bundle: models pull, or models import")
    digest = write_bundle(arguments.file, packed)
    ids = [each.entry.id for each in packed]
    context.say(f"{arguments.file}: {', '.join(ids)}\nSHA-256 {digest}")
    context.write_json({"file": str(arguments.file), "models": ids, "sha256": digest})
    return EXIT_OK


def _packed(found: Installed, catalogue: Mapping[str, ZooModel]) -> Any:
    from attendance.embed.card_file import card_text
    from attendance.zoo.bundle import BundledModel, Packed

    if found.weights is None or found.sha256 is None:
        raise ModelError(f"model {found.id}: its weights are not in the store: fetch it again before bundling")
    known = catalogue.get(found.id)
    licence = known.licence if known is not None else found.card.license if found.card is not None else "unknown"
    entry = BundledModel(
        id=found.id,
        role=str(_own_row(found)["role"]) if known is None else known.role.value,
        file=found.weights.name if known is None else known.file,
        sha256=found.sha256,
        bytes=found.weights.stat().st_size,
        licence=licence,
        card="" if found.card is None else card_text(found.card),
    )
    return Packed(entry, found.weights)
