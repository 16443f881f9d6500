"""``models swap|back|finish``: another model's templates for everybody, without anybody coming again."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_FAILURE, EXIT_OK, Context, existing_folder
from attendance.cli.configured import open_existing
from attendance.cli.table import printable, render
from attendance.errors import UsageError
from attendance.space import Space

if TYPE_CHECKING:
    from attendance.swap import Prepared, ScoreChange, Waiting
    from attendance.swap.preparing import Remake
    from attendance.swap.rereading import Find

COLUMNS = (
    "identity_id", "templates_before", "templates_after", "genuine_before", "genuine_after", "other_before",
    "nearest_before", "other_after", "nearest_after",
)  # fmt: skip
_ROWS_SHOWN = 40

Add = Callable[[str, str, str, Callable[[argparse.Namespace, Context], int]], Any]


def register(add: Add) -> None:
    """Add the commands to the group ``models``; ``add`` takes name, summary, example and the command."""
    swap = add("swap", "give everybody templates of another model, and switch to them",
               "swap edgeface-s --photos people", swap_model)  # fmt: skip
    swap.add_argument("id", metavar="ID")
    swap.add_argument("--photos", type=Path, metavar="DIR", help="the folder of photos that was enrolled from")
    swap.add_argument("--prepare", action="store_true", help="make the templates and show the scores; do not switch")
    back = add("back", "put the templates that were in force before into force again", "back", go_back)
    for parser in (swap, back):
        parser.add_argument(
            "--drop", action="store_true", help="switch although some have no templates; leave them out"
        )
    finish = add("finish", "delete every template that is not in force; there is no way back then", "finish --yes",
                 finish_swap)  # fmt: skip
    finish.add_argument("--yes", action="store_true", help="do not ask")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a swap came to."""

    present: Space
    target: Space
    prepared: Prepared
    waiting: list[Waiting]
    is_switched: bool


def swap_model(arguments: argparse.Namespace, context: Context) -> int:
    """Re-embed everybody beside the templates in force, show what changes, and switch."""
    from attendance.embed.catalogue import find_card
    from attendance.swap import Rereader

    started = time.monotonic()
    with open_existing(context) as app:
        present = noted(app)
        target = Space(arguments.id, present.key)
        if target == present:
            raise UsageError(f"the templates in force are of model {arguments.id} already")
        # Said of the model that was asked for, before it is taken for that of the templates.
        find_card(target.model, app.models_dir)
        other = app.turned(target)
        sources = [*photos_of(app, arguments.photos), *_crops_of(context, app, other)]
        context.say(f"from model {present.model} to {other.embedder.describe()}")
        remake = Rereader(sources, other.reader, lambda: app.reader)
        prepared = prepare_with(context, app, remake, target)
        outcome = decide(context, app, other, prepared, drop=arguments.drop, wanted=not arguments.prepare)
        changes = _changes(app, outcome)
        thresholds = _threshold(app), _threshold(other)
    _say_changes(context, changes)
    return conclude(context, outcome, started, {
        "threshold_before": thresholds[0],
        "threshold_after": thresholds[1],
        "scores": [change.to_json() for change in changes],
    })  # fmt: skip


def photos_of(app: App, folder: Path | None) -> list[Find]:
    """The folder of photos as a source; none where none is given."""
    from attendance.swap import Photos

    if folder is None:
        return []
    enrol = app.settings.enrol
    root = existing_folder(folder, "--photos")
    return [Photos(root, max_pixels=enrol.max_pixels, max_side_px=enrol.max_side_px)]


def _crops_of(context: Context, app: App, other: App) -> list[Find]:
    """The kept crops as a source, where there are some and this machine holds a key that opens them."""
    from attendance.swap import KeptCrops

    if not app.crops.kept():
        return []
    section = app.settings.crops
    if section.key_file is None and not section.key.get_secret_value():
        context.say("crops are kept, but no key for them is given (crops.key_file): they are left out")
        return []
    return [KeptCrops(app.crops, other.card.alignment)]


def go_back(arguments: argparse.Namespace, context: Context) -> int:
    """Switch to what was in force before, made again for nobody."""
    started = time.monotonic()
    with open_existing(context) as app:
        present = noted(app)
        before = app.ledger.template_revision().before
        if not before:
            raise UsageError(f"nothing was in force before {present.text}: there is nothing to go back to")
        from attendance.swap import Prepared

        other = app.turned(Space.of(before))
        outcome = decide(context, app, other, Prepared(), drop=arguments.drop, wanted=True)
    return conclude(context, outcome, started, {})


def finish_swap(arguments: argparse.Namespace, context: Context) -> int:
    """Delete what is not in force."""
    from attendance.swap import finish

    with open_existing(context) as app:
        present = noted(app)
        if not arguments.yes and not _agreed(f"Delete every template but those of {present.text}? Type yes: "):
            raise UsageError("nothing was deleted: answer yes, or give --yes")
        deleted = finish(app.ledger)
        app.sweep_crops(always=True)
    context.say(f"{deleted} templates deleted; those of {present.text} are in force")
    context.write_json({"in_force": present.text, "deleted": deleted})
    return EXIT_OK


def _agreed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def noted(app: App) -> Space:
    """Which templates are in force, noted in the ledger from now on; UsageError where nobody is enrolled."""
    if not app.ledger.person_versions():
        raise UsageError("nobody is enrolled: name the model as model.id, and enrol people")
    if app.noted is None:
        present = app.space
        if not app.ledger.put_in_force(present.text, expected=""):
            raise UsageError("somebody else changed which templates are in force meanwhile: run it again")
        app.noted = present
    return app.noted


def prepare_with(context: Context, app: App, remake: Remake, target: Space) -> Prepared:
    """Make everybody's templates of ``target``, and say how far it is."""
    from attendance.swap import prepare

    with _bar(context, total=len(app.ledger.person_versions())) as done:
        return prepare(app.ledger, remake, target=target.text, done=done)


@contextmanager
def _bar(context: Context, *, total: int) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm

    with tqdm(total=total, unit="person", disable=context.quiet or None, leave=False) as bar:

        def done(people: int) -> None:
            bar.update(people)

        yield done


def decide(context: Context, app: App, other: App, prepared: Prepared, *, drop: bool, wanted: bool) -> Outcome:
    """Switch where that is wanted and nobody is left waiting, or may be left out."""
    from attendance.swap import lacking, switch

    present, target = app.space, other.space
    waiting = lacking(app.ledger.people(), target=target.text)
    active = [each for each in waiting if not each.deactivated]
    is_switched = wanted and (drop or not active)
    if is_switched:
        waiting = switch(app.ledger, other.gallery_store, expected=present.text, drop=drop)
    for each in waiting:
        state = "deactivated" if each.deactivated else "left out" if is_switched else "waits"
        context.say(f"{printable(each.identity_id)}: no templates of {target.text} ({state})")
    for failed in prepared.unmade:
        context.say(f"  {printable(failed.path)}: {failed.reason}: {failed.detail}")
    return Outcome(present, target, prepared, waiting, is_switched)


def conclude(
    context: Context, outcome: Outcome, started: float, further: dict[str, Any], *, keeps_old: bool = True
) -> int:
    """Say and write what came of it; exit code 1 where people are waited for."""
    waiting = [each for each in outcome.waiting if not each.deactivated]
    if outcome.is_switched:
        way_back = f"; `models back` goes back to {outcome.present.text}, `models finish` deletes what is not in force"
        context.say(f"in force now: {outcome.target.text}{way_back if keeps_old else ''}")
    elif waiting:
        context.say(f"not switched: {len(waiting)} people wait for their photos; give them, or leave them out (--drop)")
    else:
        context.say(f"prepared; {outcome.present.text} stays in force until you run it without --prepare")
    context.write_json({
        "from": outcome.present.text,
        "to": outcome.target.text,
        "switched": outcome.is_switched,
        "made": outcome.prepared.made,
        "kept": outcome.prepared.kept,
        "unmade": [each.to_json() for each in outcome.prepared.unmade],
        "waiting": [] if outcome.is_switched else [each.to_json() for each in outcome.waiting],
        "dropped": [each.to_json() for each in outcome.waiting] if outcome.is_switched else [],
        **further,
        "seconds": round(time.monotonic() - started, 3),
    })  # fmt: skip
    return EXIT_FAILURE if waiting and not outcome.is_switched else EXIT_OK


def _changes(app: App, outcome: Outcome) -> list[ScoreChange]:
    from attendance.swap import changes_of, scores_of

    people = app.ledger.people()
    return changes_of(scores_of(people, space=outcome.present.text), scores_of(people, space=outcome.target.text))


def _threshold(app: App) -> float | None:
    """What a match of an average gallery of this size needs by this model's card."""
    people = [person for person in app.ledger.people() if person.deactivated_at is None]
    templates = sum(t.card_id == app.space.text for person in people for t in (*person.templates, *person.shelved))
    return round(app.rulebook.threshold(len(people), templates), 6) if people else None


def _say_changes(context: Context, changes: list[ScoreChange]) -> None:
    """The table, those first whose distance to the nearest other person shrank most."""

    def gap(change: ScoreChange) -> float:
        after = change.after
        return 2.0 if after.genuine is None or after.other is None else after.genuine - after.other

    rows = [change.to_json() for change in sorted(changes, key=lambda change: (gap(change), change.identity_id))]
    context.say(render(rows[:_ROWS_SHOWN], columns=COLUMNS))
    if len(rows) > _ROWS_SHOWN:
        context.say(f"and {len(rows) - _ROWS_SHOWN} more, all of them in the JSON")
