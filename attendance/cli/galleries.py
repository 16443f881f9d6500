"""``gallery verify|rebuild``; the other commands of the group are in `attendance.cli.audits`."""

from __future__ import annotations

import argparse
from typing import Any

from attendance.app import App
from attendance.cli import audits
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, add_command, add_group
from attendance.errors import GalleryDamagedError
from attendance.gallery import Differences, verify


def register(commands: Any) -> None:
    """Add the group's commands."""
    summary = "check the gallery of templates, or make it anew"
    sub = add_group(commands, "gallery", summary=summary, example="python -m attendance gallery verify")
    add_command(
        sub,
        "verify",
        summary="compare the gallery with the ledger; exit code 1 when they differ",
        example="python -m attendance gallery verify",
        command=verify_gallery,
    )
    add_command(
        sub,
        "rebuild",
        summary="make the gallery anew from the ledger",
        example="python -m attendance gallery rebuild",
        command=rebuild_gallery,
    )
    audits.register(sub)


def verify_gallery(arguments: argparse.Namespace, context: Context) -> int:
    """Compare template by template."""
    with context.open_store() as app:
        try:
            differences, people, templates = look_at_gallery(app)
        except GalleryDamagedError as error:
            context.say(f"the gallery cannot be opened: {error}")
            context.write_json({"clean": False, "damaged": True, "detail": str(error)})
            return EXIT_FAILURE
    context.say(
        f"{people} people, {templates} templates: "
        + ("the gallery agrees with the ledger" if differences.clean else f"{differences}; run gallery rebuild")
    )
    context.write_json(_to_json(differences, people, templates))
    return EXIT_OK if differences.clean else EXIT_FAILURE


def look_at_gallery(app: App) -> tuple[Differences, int, int]:
    """How the gallery differs from the ledger, and its people and templates. GalleryDamagedError where it must be made.

    Where neither has ever held anybody there is no gallery yet, and nothing differs.
    """
    if not app.has_gallery and not app.ledger.person_versions():
        return Differences(), 0, 0
    with app.open_gallery(app.gallery_store) as gallery:
        return verify(app.ledger, gallery), *gallery.counts()


def rebuild_gallery(arguments: argparse.Namespace, context: Context) -> int:
    """Make it anew; the old one stays until the new one is complete."""
    with context.open_store() as app:
        templates = app.rebuild_gallery()
    context.say(f"rebuilt with {templates} templates")
    context.write_json({"templates": templates})
    return EXIT_OK


def _to_json(differences: Differences, people: int, templates: int) -> dict[str, Any]:
    return {
        "clean": differences.clean,
        "damaged": False,
        "people": people,
        "templates": templates,
        "missing": list(differences.missing),
        "extra": list(differences.extra),
        "different": list(differences.different),
        "foreign": list(differences.foreign),
        "fault": differences.fault,
    }
