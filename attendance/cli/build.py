"""``build_database.py``: a folder of people into ledger and gallery, then top-k on held-out photos."""

from __future__ import annotations

import argparse
import functools
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attendance.app import App
from attendance.cli.base import (
    EXIT_OK,
    EXIT_STRICT,
    Context,
    existing_folder,
    new_parser,
    run,
)
from attendance.cli.bulk import BulkReading, progress
from attendance.config import Settings, StoreSection
from attendance.enrol import (
    SINGLE_SOURCE,
    Enroller,
    EnrolResult,
    PersonPhotos,
    Probe,
    ProbeResult,
    Refusal,
    evaluate_probes,
    template_id,
)
from attendance.errors import UsageError
from attendance.faces import FaceRule
from attendance.gallery import entries_of
from attendance.images import PEOPLE_FILE, PeopleFolder, list_people_folder, printable
from attendance.people_csv import PersonRow, read_people_csv
from attendance.pipeline import FaceReader
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.stills import StillReader
from attendance.types import RefusalReason


def main(argv: Sequence[str] | None = None, *, make_app: Callable[[Settings], App] = App) -> int:
    """Run the command with the objects that ``make_app`` builds from the configuration; the exit code."""
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
    return run(parser, functools.partial(build, make_app=make_app), argv)


def build(arguments: argparse.Namespace, context: Context, *, make_app: Callable[[Settings], App] = App) -> int:
    """The command's body."""
    started = time.monotonic()
    plan = _plan(arguments)
    with _app(context.settings, make_app, dry_run=arguments.dry_run) as app:
        context.say(f"model {app.card.id}; store {printable(str(context.settings.store.path))}")
        _say_unknown_sites(context, plan.rows)
        load = _announced_networks(app, context)
        with BulkReading(app, context, make_app) as bulk:
            stills = bulk.stills(FaceRule(arguments.face), strict=True, load=load)
            result, totals, mirror = _enrol(app, context, arguments, plan, stills)
            stills = bulk.stills(FaceRule(arguments.face), strict=False, load=load)
            found = evaluate_probes(plan.probes, unreadable=plan.unread_probes, stills=stills, gallery=mirror)
        report = _report(result, found, totals, app.card.id, time.monotonic() - started)
    report["ignored"] = list(plan.folder.ignored)
    report["prune"], report["dry_run"] = arguments.prune, arguments.dry_run
    _print(context, report, result, found)
    context.write_json(report)
    return EXIT_STRICT if arguments.strict and result.refused else EXIT_OK


@dataclass(frozen=True, slots=True)
class _Plan:
    """What lies in the folders, before anything is opened. ``unreadable``: there, but it cannot be looked at."""

    folder: PeopleFolder
    rows: Mapping[str, PersonRow]
    people: list[PersonPhotos]
    probes: list[Probe]
    unread_probes: list[Refusal]
    refused: list[Refusal]
    unreadable: frozenset[str]


def _plan(arguments: argparse.Namespace) -> _Plan:
    """Look at everything that was named; whatever is wrong use ends here, before anything is written."""
    root = existing_folder(arguments.people_dir, "PEOPLE_DIR")
    _check_flags(arguments)
    folder = list_people_folder(root)
    refused = [Refusal(problem.file, problem.reason, problem.detail) for problem in folder.problems]
    if not (folder.photos or folder.problems):
        detail = "expected a folder of photos per person in PEOPLE_DIR, found none"
        refused.append(Refusal(".", RefusalReason.EMPTY_FOLDER, detail))
        if arguments.prune and not folder.ignored:
            raise UsageError(
                f"--prune with PEOPLE_DIR {root}: it is empty, which would remove everybody; is it mounted?"
            )
    csv = root / PEOPLE_FILE
    rows = read_people_csv(csv) if csv.exists() or csv.is_symlink() else {}
    people, probes = _split(folder, 0 if arguments.holdout is None else arguments.holdout)
    unread_probes: list[Refusal] = []
    if arguments.probes is not None:
        other = list_people_folder(existing_folder(arguments.probes, "--probes"))
        probes = [
            Probe(identity_id, name, path)
            for identity_id, paths in other.photos.items()
            for name, path in _named(identity_id, paths).items()
        ]
        unread_probes = [Refusal(p.file, p.reason, p.detail) for p in other.problems if _is_there(p.reason)]
    there = frozenset(unicodedata.normalize("NFC", p.file) for p in folder.problems if _is_there(p.reason))
    return _Plan(folder, rows, people, probes, unread_probes, refused, there)


def _check_flags(arguments: argparse.Namespace) -> None:
    if arguments.dry_run and not arguments.prune:
        raise UsageError("--dry-run goes with --prune: give both, or neither")
    if arguments.holdout is not None and arguments.holdout < 1:
        raise UsageError(f"--holdout must be 1 or more, got {arguments.holdout}")
    if arguments.source_label == SINGLE_SOURCE:
        raise UsageError(
            f"--source-label {SINGLE_SOURCE}: that is the label of `python -m attendance enrol`: choose another"
        )
    if not arguments.source_label.isprintable():
        raise UsageError(f"--source-label must be printable text, got {printable(repr(arguments.source_label))}")


def _is_there(reason: RefusalReason) -> bool:
    """Whether something listed as a problem is a photo or folder that cannot be looked at, and not a lack of any."""
    return reason is not RefusalReason.EMPTY_FOLDER


def _split(folder: PeopleFolder, holdout: int) -> tuple[list[PersonPhotos], list[Probe]]:
    """What to enrol and what to probe with. The last N photos by name are held out, but never a person's only one."""
    people, probes = [], []
    for identity_id, paths in folder.photos.items():
        photos = list(_named(identity_id, paths).items())
        kept = max(len(photos) - holdout, 1)
        people.append(PersonPhotos(identity_id, dict(photos[:kept]), dict(photos[kept:])))
        probes += [Probe(identity_id, name, path) for name, path in photos[kept:]]
    return people, probes


def _named(identity_id: str, paths: Sequence[Path]) -> dict[str, Path]:
    """Photos by the relative path that templates record: in Unicode NFC, so that a copy by another system is the same.

    Where two names of a folder differ in their spelling alone, the second keeps its own.
    """
    named: dict[str, Path] = {}
    for path in paths:
        name = f"{identity_id}/{unicodedata.normalize('NFC', path.name)}"
        named[f"{identity_id}/{path.name}" if name in named else name] = path
    return named


@contextmanager
def _app(settings: Settings, make_app: Callable[[Settings], App], *, dry_run: bool) -> Iterator[App]:
    """The objects to work with; for a dry run on a scratch store, which shows what the real one holds."""
    if not dry_run:
        with make_app(settings) as app:
            yield app
        return
    with TemporaryDirectory(prefix="attendance-") as name:
        scratch = Path(name)
        for path in [settings.store.path / "ledger.sqlite", *settings.store.path.glob("models/*/*")]:
            if path.exists():
                link = scratch / path.relative_to(settings.store.path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.resolve())
        with make_app(settings.model_copy(update={"store": StoreSection(path=scratch)})) as app:
            yield app


@contextmanager
def _gallery(app: App, *, dry_run: bool) -> Iterator[Gallery]:
    """The gallery under its lock; for a dry run what it should hold, in memory."""
    if not dry_run:
        with app.writing() as stored:
            yield stored
        return
    gallery = ExactGallery(app.space.text, app.card.dimension)
    gallery.upsert([entry for person in app.ledger.people() for entry in entries_of(person, app.space.text)])
    yield gallery


def _announced_networks(app: App, context: Context) -> Callable[[], FaceReader]:
    """Loads the networks when the first photo needs them, and then says which device they run on."""

    @functools.cache
    def load() -> FaceReader:
        reader = app.reader
        context.say(app.embedder.describe())
        return reader

    return load


def _say_unknown_sites(context: Context, rows: Mapping[str, PersonRow]) -> None:
    known = {site.id for site in context.settings.sites}
    for row in rows.values():
        if row.site and row.site not in known:
            context.say(f"note      {PEOPLE_FILE} line {row.line}: site {row.site} is not among the configured sites")


def _enrol(
    app: App, context: Context, arguments: argparse.Namespace, plan: _Plan, stills: StillReader
) -> tuple[EnrolResult, tuple[int, int], ExactGallery]:
    """Enrol under the lock: what was done, (people, templates) in the gallery, and a mirror of it without probes."""
    label: str = arguments.source_label
    mirror = ExactGallery(app.space.text, app.card.dimension)
    with _gallery(app, dry_run=arguments.dry_run) as gallery:
        policy = app.enrol_policy(source_label=label, prune=arguments.prune, dry_run=arguments.dry_run)
        # By everybody who may be in afterwards: a run that goes on from an interrupted one decides as that did.
        everybody = app.ledger.person_versions().keys() | {person.identity_id for person in plan.people}
        policy = replace(policy, duplicate_threshold=app.rulebook.duplicate_threshold(len(everybody)))
        keep = None if arguments.dry_run else app.keep_crop
        enroller = Enroller(app.ledger, gallery, stills, policy=policy, now=_now, keep=keep)
        enroller.result.refused += plan.refused
        total = sum(len(person.enrol) for person in plan.people)
        with progress(total, quiet=context.quiet) as done:
            result = enroller.run(plan.people, plan.rows, unreadable=plan.unreadable, done=done)
        totals = gallery.counts()
        if plan.probes:
            held_out = {template_id(p.identity_id, label, name) for p in plan.people for name in p.held_out}
            mirror.upsert([entry for entry in gallery.entries() if entry.template_id not in held_out])
    return result, totals, mirror


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
        "redundant": result.redundant,
        "suspects": [refusal.to_json() for refusal in result.suspects],
        "vanished": result.vanished,
        "top1": probes.top1,
        "top3": probes.top3,
        "top5": probes.top5,
        "probes": probes.probes,
        "failed_reads": len(probes.failed),
        "failed_reads_by_reason": dict(sorted(Counter(str(refusal.reason) for refusal in probes.failed).items())),
        "failed_probes": [refusal.to_json() for refusal in probes.failed],
        "model": model,
        "seconds": round(seconds, 3),
        "batch": result.batch,
    }


def _print(context: Context, report: dict[str, Any], result: EnrolResult, probes: ProbeResult) -> None:
    context.say(
        f"{report['people']} people, {report['templates']} templates in the gallery: {result.added} added, "
        f"{result.replaced} replaced, {result.removed} removed in {report['seconds']:.1f} s"
        f"{'; a dry run: nothing was changed' if report['dry_run'] else ''}"
    )
    for refusal in result.refused:
        context.say(f"refused   {refusal.file}: {refusal.reason}: {refusal.detail}")
    for name in result.redundant:
        context.say(f"redundant {name}: the person has enough templates that cover as much")
    for refusal in result.suspects:
        context.say(f"suspect   {refusal.file}: {refusal.reason}: {refusal.detail}")
    for name in report["ignored"]:
        context.say(f"ignored   {name}: not a photo")
    for pair in result.suspected_duplicates:
        context.say(f"duplicate {pair.identity_id} looks like {pair.other} ({pair.similarity:.3f})")
    for path in result.vanished:
        context.say(f"vanished  {path}: its template {'goes' if report['prune'] else 'stays; --prune removes it'}")
    if probes.probes:
        hits = ", ".join(f"top-{k} {report[f'top{k}']:.1%}" for k in (1, 3, 5))
        context.say(f"{probes.probes} probes: {hits}, {len(probes.failed)} failed reads")
    for refusal in probes.failed:
        context.say(f"unread    {refusal.file}: {refusal.reason}: {refusal.detail}")
