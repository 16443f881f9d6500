"""``gallery audit|selftest|batches|undo``: what is wrong with the enrolled data, and taking it back."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command
from attendance.cli.table import printable
from attendance.errors import UsageError
from attendance.ledger.port import PunchQuery

if TYPE_CHECKING:
    from attendance.audit import Everybody

IDLE_DAYS = 30


def register(sub: Any) -> None:
    """Add the commands to the group."""
    audit = add_command(
        sub,
        "audit",
        summary="people enrolled twice, look-alikes, photos that do not belong, and people who never come",
        example="python -m attendance gallery audit --idle-days 30",
        command=audit_gallery,
    )
    audit.add_argument(
        "--idle-days",
        type=int,
        default=IDLE_DAYS,
        metavar="N",
        help=f"days without a punch after which somebody is listed as not seen ({IDLE_DAYS})",
    )
    add_command(
        sub,
        "selftest",
        summary="look every enrolled photo up by its person's others: for whom does it work, who needs which photo",
        example="python -m attendance gallery selftest",
        command=selftest_gallery,
    )
    add_command(
        sub,
        "batches",
        summary="the runs that templates came in",
        example="python -m attendance gallery batches",
        command=list_batches,
    )
    undo = add_command(
        sub,
        "undo",
        summary="take back a run: its templates, and the people who came with it and never punched",
        example="python -m attendance gallery undo 3f0e6f0a --yes",
        command=undo_batch,
    )
    undo.add_argument("batch", metavar="BATCH", help="its id, or a beginning that is no other's")
    undo.add_argument("--yes", action="store_true", help="do it; without it the batch is only shown")


def audit_gallery(arguments: argparse.Namespace, context: Context) -> int:
    """Compare everybody with everybody else."""
    from attendance.audit import double_pairs, misfits
    from attendance.operating import operating_point, roster_of
    from attendance.types import GalleryEntry

    if arguments.idle_days < 1:
        raise UsageError(f"--idle-days must be 1 or more, got {arguments.idle_days}")
    with context.open_store() as app:
        gallery = _everybody(app)
        limits = app.rulebook.outlier_limits()
        doubles = double_pairs(
            gallery, threshold=app.rulebook.duplicate_threshold(len(gallery.people)), standing=app.rulebook.standing()
        )
        wrong = [] if limits is None else misfits(gallery, limits)
        owners = [gallery.people[place].identity_id for place in gallery.owner.tolist()]
        entries = [GalleryEntry(t.template_id, who, t.vector) for t, who in zip(gallery.templates, owners, strict=True)]
        alike = operating_point(roster_of(entries), app.rulebook.measured(), app.rulebook.chosen()).pairs
        unseen, punches = _unseen(app, gallery, timedelta(days=arguments.idle_days))
    report = {
        "people": len(gallery.people),
        "templates": len(gallery.templates),
        "duplicates": [{**p.to_json(), "punches": [punches[p.one], punches[p.other]]} for p in doubles],
        "look_alikes": [{"one": p.one, "other": p.other, "similarity": round(p.similarity, 6)} for p in alike],
        "misfits": [misfit.to_json() for misfit in wrong],
        "not_seen": unseen,
        "idle_days": arguments.idle_days,
    }
    for pair in doubles:
        context.say(
            f"duplicate {pair.one} and {pair.other} look like one person ({pair.similarity:.3f}); "
            f"{punches[pair.one]} and {punches[pair.other]} punches"
        )
    for two in alike:
        context.say(f"alike     {two.one} and {two.other} ({two.similarity:.3f}): asked when the lead is small")
    for misfit in wrong:
        like = "" if misfit.looks_like is None else f"; it looks like {misfit.looks_like}"
        told = f"{misfit.similarity:.3f}, needed {misfit.least:.3f}{like}"
        context.say(f"misfit    {misfit.identity_id}: {printable(misfit.path)}: unlike the other photos ({told})")
    for who in unseen:
        context.say(f"not seen  {who}: enrolled, and no punch for {arguments.idle_days} days")
    context.say(
        f"{len(gallery.people)} people: {len(doubles)} suspected duplicates, {len(alike)} pairs of look-alikes, "
        f"{len(wrong)} photos that do not belong, {len(unseen)} people not seen"
    )
    context.write_json(report)
    return EXIT_OK


def selftest_gallery(arguments: argparse.Namespace, context: Context) -> int:
    """Leave one out, for every person."""
    from attendance.audit import self_test
    from attendance.decide import decide
    from attendance.operating import operating_point, roster_of
    from attendance.types import GalleryEntry

    with context.open_store() as app:
        gallery = _everybody(app)
        owners = [gallery.people[place].identity_id for place in gallery.owner.tolist()]
        entries = [GalleryEntry(t.template_id, who, t.vector) for t, who in zip(gallery.templates, owners, strict=True)]
        rule = operating_point(roster_of(entries), app.rulebook.measured(), app.rulebook.chosen()).rule
        tests = self_test(gallery, lambda candidates: decide(candidates, rule))
    for test in tests:
        found = sum(photo.outcome == "known" for photo in test.photos)
        state = "untested" if test.works is None else "works" if test.works else "fails"
        needs = f"; needs {printable(test.needs)}" if test.needs else ""
        context.say(f"{state:<9} {test.identity_id}: {found} of {len(test.photos)} photos find them{needs}")
    counts = {state: sum(test.works is state for test in tests) for state in (True, False, None)}
    context.say(
        f"{len(tests)} people: works for {counts[True]}, fails for {counts[False]}, {counts[None]} with one photo only"
    )
    context.write_json(
        {
            "people": len(tests),
            "works": counts[True],
            "fails": counts[False],
            "untested": counts[None],
            "results": [test.to_json() for test in tests],
        }
    )
    return EXIT_OK


def list_batches(arguments: argparse.Namespace, context: Context) -> int:
    """Every batch that has templates."""
    from attendance.enrol import batches_of

    with context.open_store() as app:
        batches = batches_of(app.ledger.people())
    for batch in batches:
        labels = ", ".join(label if label else "(no label)" for label in batch.source_labels)
        when = batch.began_at.isoformat(timespec="seconds")
        told = f"{batch.templates} templates of {batch.people} people"
        context.say(f"{batch.batch}  {when}  {told}  {printable(labels)}")
    context.write_json({"batches": [batch.to_json() for batch in batches]})
    return EXIT_OK


def undo_batch(arguments: argparse.Namespace, context: Context) -> int:
    """Take one back."""
    from attendance.enrol import batches_of, undo

    with context.open_store() as app:
        known = [batch for batch in batches_of(app.ledger.people()) if batch.batch.startswith(arguments.batch)]
        if len(known) != 1:
            raise UsageError(
                f"gallery undo {arguments.batch}: expected the id of one batch, {len(known)} begin so: "
                "`gallery batches` lists them"
            )
        batch = known[0]
        if not arguments.yes:
            raise UsageError(
                f"nothing was undone: batch {batch.batch} has {batch.templates} templates of {batch.people} people; "
                "give --yes to take it back"
            )
        with app.writing() as gallery:
            undone = undo(app.ledger, gallery, batch.batch)
    context.say(
        f"batch {batch.batch} taken back: {undone.templates} templates of {len(undone.people) + len(undone.erased)} "
        f"people, {len(undone.erased)} of whom it had made and who are erased"
    )
    context.write_json(
        {
            "batch": batch.batch,
            "templates": undone.templates,
            "people": list(undone.people),
            "erased": list(undone.erased),
        }
    )
    return EXIT_OK


def _everybody(app: App) -> Everybody:
    from attendance.audit import everybody

    return everybody(app.ledger.people(), app.space.text)


def _unseen(app: App, gallery: Everybody, idle: timedelta) -> tuple[list[str], dict[str, int]]:
    """Who was enrolled before that time and has no punch since, and everybody's punches in it."""
    since = datetime.now(UTC) - idle
    of = {person.subject_ref: person.identity_id for person in gallery.people}
    punches = {person.identity_id: 0 for person in gallery.people}
    for punch in app.ledger.punches(PunchQuery(since=since)):
        if punch.subject_ref in of:
            punches[of[punch.subject_ref]] += 1
    unseen = [p.identity_id for p in gallery.people if p.created_at < since and punches[p.identity_id] == 0]
    return unseen, punches
