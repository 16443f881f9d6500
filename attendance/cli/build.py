"""``build_database.py``: a folder of people into ledger and gallery, then top-k on held-out photos."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from attendance.app import App
from attendance.cli.base import (
    EXIT_OK,
    EXIT_STRICT,
    Context,
    existing_folder,
    new_parser,
    run,
)
from attendance.enrol import (
    Enroller,
    EnrolResult,
    PersonPhotos,
    ProbeResult,
    Refusal,
    evaluate_probes,
    template_id,
)
from attendance.errors import UsageError
from attendance.faces import FaceRule
from attendance.images import PEOPLE_FILE, PeopleFolder, list_people_folder, printable
from attendance.people_csv import PersonRow, read_people_csv
from attendance.search.exact import ExactGallery


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = new_parser(
        "build_database.py",
        "Enrol people from PEOPLE_DIR/<identity id>/<photos>. Running it again changes nothing that is in already.",
        "python build_database.py people --holdout 1",
    )
    parser.add_argument(
        "people_dir",
        type=Path,
        metavar="PEOPLE_DIR",
        help="one folder of photos per person",
    )
    probes = parser.add_mutually_exclusive_group()
    probes.add_argument(
        "--holdout",
        type=int,
        metavar="N",
        help="leave out each person's last N photos as probes",
    )
    probes.add_argument(
        "--probes",
        type=Path,
        metavar="DIR",
        help="folder of probes, laid out as PEOPLE_DIR",
    )
    parser.add_argument(
        "--face",
        choices=[str(rule) for rule in FaceRule],
        default="largest",
        help="which face of a photo (largest)",
    )
    parser.add_argument("--prune", action="store_true", help="remove templates whose photo is gone")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --prune: say what would change, change nothing",
    )
    parser.add_argument(
        "--source-label",
        metavar="NAME",
        default="",
        help="name of this source of photos",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 3 when an input was refused")
    return run(parser, build, argv)


def build(arguments: argparse.Namespace, context: Context) -> int:
    """The command's body."""
    started = time.monotonic()
    root = existing_folder(arguments.people_dir, "PEOPLE_DIR")
    if arguments.dry_run and not arguments.prune:
        raise UsageError("--dry-run goes with --prune: give both, or neither")
    if arguments.holdout is not None and arguments.holdout < 1:
        raise UsageError(f"--holdout must be 1 or more, got {arguments.holdout}")
    folder = list_people_folder(root)
    rows = read_people_csv(root / PEOPLE_FILE) if (root / PEOPLE_FILE).exists() else {}
    people, probes = _plan(folder, arguments)
    with App(context.settings) as app:
        context.say(f"{app.embedder.describe()}; store {app.store}")
        result, probe_result, totals = _enrol(app, context, arguments, people, probes, rows, folder)
    report = _report(result, probe_result, totals, app.card.id, time.monotonic() - started)
    report["ignored"] = list(folder.ignored)
    _print(context, report, result, probe_result)
    context.write_json(report)
    return EXIT_STRICT if arguments.strict and result.refused else EXIT_OK


def _plan(
    folder: PeopleFolder, arguments: argparse.Namespace
) -> tuple[list[PersonPhotos], list[tuple[str, str, Path]]]:
    """What to enrol and what to probe with. The last N photos by name are held out, but never a person's only one."""
    people, probes = [], []
    holdout: int = arguments.holdout if arguments.holdout is not None else 0
    for identity_id, paths in folder.photos.items():
        names = {printable(folder.relative(path)): path for path in paths}
        kept = max(len(names) - holdout, 1)
        held_out = dict(list(names.items())[kept:])
        people.append(PersonPhotos(identity_id, dict(list(names.items())[:kept]), held_out))
        probes += [(identity_id, name, path) for name, path in held_out.items()]
    if arguments.probes is not None:
        other = list_people_folder(existing_folder(arguments.probes, "--probes"))
        for identity_id, paths in other.photos.items():
            probes += [(identity_id, printable(other.relative(path)), path) for path in paths]
    return people, probes


def _enrol(
    app: App,
    context: Context,
    arguments: argparse.Namespace,
    people: list[PersonPhotos],
    probes: list[tuple[str, str, Path]],
    rows: dict[str, PersonRow],
    folder: PeopleFolder,
) -> tuple[EnrolResult, ProbeResult, tuple[int, int]]:
    rule = FaceRule(arguments.face)
    label = arguments.source_label
    with app.writing() as gallery:
        policy = app.enrol_policy(source_label=label, prune=arguments.prune, dry_run=arguments.dry_run)
        enroller = Enroller(
            app.ledger,
            gallery,
            app.stills(rule=rule, strict=True),
            policy=policy,
            now=_now,
        )
        enroller.result.refused += [Refusal(p.file, p.reason, p.detail) for p in folder.problems]
        hidden = context.quiet or None
        total = sum(len(person.enrol) for person in people)
        with tqdm(total=total, desc="enrolling", unit="photo", disable=hidden, leave=False) as bar:
            result = enroller.run(people, rows, done=_advancing(bar))
        totals = gallery.counts()
        held_out = {template_id(identity_id, label, name) for identity_id, name, _ in probes}
        mirror = ExactGallery(app.card.id, app.card.dimension)
        mirror.upsert([entry for entry in gallery.entries() if entry.template_id not in held_out])
    found = evaluate_probes(probes, stills=app.stills(rule=rule, strict=False), gallery=mirror)
    return result, found, totals


def _advancing(bar: tqdm[NoReturn]) -> Callable[[int], None]:
    def advance(photos: int) -> None:
        bar.update(photos)

    return advance


def _now() -> datetime:
    return datetime.now(UTC)


def _report(
    result: EnrolResult,
    probes: ProbeResult,
    totals: tuple[int, int],
    model: str,
    seconds: float,
) -> dict[str, Any]:
    """The contract's result object."""
    people, templates = totals
    return {
        "people": people,
        "templates": templates,
        "added": result.added,
        "replaced": result.replaced,
        "removed": result.removed,
        "refused": [refusal.to_json() for refusal in result.refused],
        "suspected_duplicates": [pair.to_json() for pair in result.suspected_duplicates],
        "vanished": result.vanished,
        "top1": probes.top1,
        "top3": probes.top3,
        "top5": probes.top5,
        "probes": probes.probes,
        "failed_reads": probes.failed_reads,
        "failed_probes": [refusal.to_json() for refusal in probes.failed],
        "model": model,
        "seconds": round(seconds, 3),
    }


def _print(context: Context, report: dict[str, Any], result: EnrolResult, probes: ProbeResult) -> None:
    context.say(
        f"{report['people']} people, {report['templates']} templates in the gallery: "
        f"{result.added} added, {result.replaced} replaced, {result.removed} removed in {report['seconds']:.1f} s"
    )
    for refusal in result.refused:
        context.say(f"refused   {refusal.file}: {refusal.reason}: {refusal.detail}")
    for name in report["ignored"]:
        context.say(f"ignored   {name}: not a photo")
    for pair in result.suspected_duplicates:
        context.say(f"duplicate {pair.identity_id} looks like {pair.other} ({pair.similarity:.3f})")
    for path in result.vanished:
        context.say(f"vanished  {path}: its template {'is removed' if result.removed else 'stays; --prune removes it'}")
    if probes.probes:
        hits = ", ".join(f"top-{k} {report[f'top{k}']:.1%}" for k in (1, 3, 5))
        context.say(f"{probes.probes} probes: {hits}, {probes.failed_reads} failed reads")
    for refusal in probes.failed:
        context.say(f"unread    {refusal.file}: {refusal.reason}: {refusal.detail}")
