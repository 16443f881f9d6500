"""``python -m lab evaluate identification``: who is it among many, and is it anybody at all?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.decide import Rule, decide
from attendance.embed.card import ModelCard
from attendance.errors import UsageError
from attendance.images import PHOTO_EXTENSIONS, list_people_folder, normalise_identity
from attendance.search.exact import ExactGallery
from attendance.types import Candidate, GalleryEntry, Outcome
from lab.command import Context, add_command, existing_folder
from lab.evaluate.report import Searched, write_searches
from lab.evaluate.shared import (
    FIGURE_RATES,
    Model,
    add_degrading_flags,
    add_model_flags,
    degradation_of,
    figure_line,
    intervals_like,
    open_model,
    rate_key,
)
from lab.read import Failure, Vectors, failures_text, read_vectors

LISTED = 5


@dataclass(frozen=True, slots=True)
class Listed:
    """The photos of a folder of people, N of them, and those that are broken before they are opened.

    ``people`` (N,) are their people's ids, ``paths`` (N,) where they lie; ``broken_people`` and ``broken`` (B,).
    """

    people: tuple[str, ...]
    paths: tuple[Path, ...]
    broken_people: tuple[str, ...]
    broken: tuple[Failure, ...]

    def everybody(self) -> set[str]:
        """All people named."""
        return {*self.people, *self.broken_people}


NOBODY = Listed((), (), (), ())


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What N photos of known people or strangers met in the gallery.

    ``people`` (N,) are the photos' own people; ``candidates`` the nearest people of the gallery, best first, empty for
    a failed read; ``failures`` the photos that failed.
    """

    people: tuple[str, ...]
    candidates: tuple[tuple[Candidate, ...], ...]
    failures: tuple[Failure, ...]

    def best(self) -> metrics.Floats:
        """(N,) similarity of the nearest person, `metrics.FAILED` without one."""
        return np.array([c[0].similarity if c else metrics.FAILED for c in self.candidates], dtype=np.float64)

    def ranks(self) -> np.ndarray:
        """(N,) the place of the photo's own person, 0 where it is not listed."""
        return np.array([metrics.rank_of(c, p) for c, p in zip(self.candidates, self.people, strict=True)], dtype=int)

    def accepted_as(self, rule: Rule) -> list[str | None]:
        """Whom the system takes each photo for at its own point; None: refused or asked."""
        decisions = [decide(c, rule) for c in self.candidates]
        known = [d.best if d.outcome is Outcome.KNOWN else None for d in decisions]
        return [best.identity_id if best is not None else None for best in known]


def add_identification(commands: Any) -> None:
    """The command's flags."""
    parser = add_command(
        commands,
        "identification",
        summary="Judge a model on a gallery: top-k, FNIR at FPIR, and the system's own operating point.",
        details=(
            "Each folder holds DIR/<person>/photos. The face that holds the photo's centre is read, else the nearest\n"
            "to it. A probe that cannot be read is a miss, a stranger who cannot be read is rejected.\n"
            "With --degrade-probes their faces are made worse than the gallery's: cross-quality."
        ),
        example="python -m lab evaluate identification --gallery staff --probes staff-later --strangers visitors",
        command=identification,
    )
    parser.add_argument("--gallery", type=Path, required=True, metavar="DIR", help="photos that are enrolled")
    parser.add_argument("--probes", type=Path, required=True, metavar="DIR", help="other photos of the same people")
    parser.add_argument("--strangers", type=Path, metavar="DIR", help="photos of people who are not in the gallery")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write figures and curves as one page")
    add_degrading_flags(parser)
    add_model_flags(parser)


def identification(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    enrolled = list_photos(arguments.gallery, "--gallery")
    probes = list_photos(arguments.probes, "--probes")
    strangers = NOBODY if arguments.strangers is None else list_photos(arguments.strangers, "--strangers")
    _require_disjoint(enrolled, probes, strangers)
    how = degradation_of(arguments)
    with open_model(arguments, context) as model:
        gallery, refused = enrol(model, enrolled, context)
        with model.degraded(how):
            known = look_up(model, gallery, probes, context=context, label="probes")
            others = look_up(model, gallery, strangers, context=context, label="strangers")
        rule = model.app.rule(gallery)()
        card = model.card
    result = judge_lookups(known, others, rule)
    _print(context, result, card, gallery.counts())
    for failures, what in (
        (refused, "photos of the gallery"),
        (known.failures, "probes"),
        (others.failures, "strangers"),
    ):
        for line in failures_text(failures, what):
            context.say(line)
    if arguments.report is not None:
        drawn = Searched(known.best(), known.ranks(), others.best(), LISTED)
        write_searches(arguments.report, f"{card.id}: {arguments.probes.name}", [(result, drawn)])
    context.write_json(result)


def judge_lookups(
    known: Looked, strangers: Looked, rule: Rule, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The contract's result object, with 95 % intervals by drawing known people and strangers; the gallery stays."""
    known_index, stranger_index = _indices(known.people), _indices(strangers.people)
    known_people = int(known_index.max()) + 1
    ranks, best, stranger_best = known.ranks(), known.best(), strangers.best()
    taken_for = known.accepted_as(rule)
    found = np.array([who == person for who, person in zip(taken_for, known.people, strict=True)])
    accepted = np.array([who is not None for who in strangers.accepted_as(rule)], dtype=bool)

    def measure(weights: np.ndarray, stranger_weights: np.ndarray) -> list[float]:
        tops = [metrics.top_k(ranks, k, weights=weights) for k in (1, 3, LISTED)]
        own = metrics.open_set_rates(found, accepted, weights=weights, stranger_weights=stranger_weights)
        if len(accepted) == 0:
            return [*tops, *(np.nan for _ in FIGURE_RATES), own[0], np.nan]
        sweep = [
            metrics.fnir_at_fpir(
                best, ranks == 1, stranger_best, rate, weights=weights, stranger_weights=stranger_weights
            )
            for rate in FIGURE_RATES
        ]
        return [*tops, *sweep, own[0], np.nan if own[1] is None else own[1]]

    def drawn(draws: metrics.Ints) -> list[float]:
        return measure(draws[:known_people][known_index], draws[known_people:][stranger_index])

    groups = [known_people, *([int(stranger_index.max()) + 1] if len(accepted) else [])]
    intervals = metrics.bootstrap_intervals(drawn, groups, resamples=resamples, seed=seed)
    figures = _figures(measure(np.ones(len(ranks)), np.ones(len(accepted))))
    return {
        "top1": figures["top1"],
        "top3": figures["top3"],
        "top5": figures["top5"],
        "probes": len(ranks),
        "strangers": len(accepted),
        "failed_reads": len(known.failures) + len(strangers.failures),
        "fnir_at_fpir": figures["fnir_at_fpir"],
        "fnir": figures["fnir"],
        "fpir": figures["fpir"],
        "threshold": rule.threshold,
        "intervals": _figures(intervals_like(intervals)),
    }


def _figures(values: Sequence[Any]) -> dict[str, Any]:
    top1, top3, top5, *rates, fnir, fpir = values
    at_fpir = {rate_key(rate): value for rate, value in zip(FIGURE_RATES, rates, strict=True)}
    return {"top1": top1, "top3": top3, "top5": top5, "fnir_at_fpir": at_fpir, "fnir": fnir, "fpir": fpir}


def _indices(people: Sequence[str]) -> np.ndarray:
    places = {person: index for index, person in enumerate(sorted(set(people)))}
    return np.array([places[person] for person in people], dtype=np.int64)


def list_photos(folder: Path, flag: str) -> Listed:
    """The photos of ``folder/<person>/``; UsageError, naming the flag, where there is none."""
    found = list_people_folder(existing_folder(folder, flag))
    photos = [(person, path) for person, paths in found.photos.items() for path in paths]
    # A link that leads nowhere has a photo's name and is no photo: it stays in the count, as a failed read.
    broken = [p for p in found.problems if "/" in p.file and Path(p.file).suffix[1:].lower() in PHOTO_EXTENSIONS]
    if not photos and not broken:
        raise UsageError(f"{flag} {folder}: expected DIR/<person>/photos, got no photo; name the folder of the people")
    return Listed(
        people=tuple(person for person, _ in photos),
        paths=tuple(path for _, path in photos),
        broken_people=tuple(normalise_identity(p.file.split("/")[0]) for p in broken),
        broken=tuple(Failure(folder / p.file, str(p.reason), p.detail) for p in broken),
    )


def _require_disjoint(enrolled: Listed, probes: Listed, strangers: Listed) -> None:
    unknown = sorted(probes.everybody() - enrolled.everybody())
    if unknown:
        raise UsageError(f"--probes: {unknown[0]} has no photos in --gallery; move those of strangers to --strangers")
    both = sorted(strangers.everybody() & enrolled.everybody())
    if both:
        raise UsageError(f"--strangers: {both[0]} is in --gallery too; a stranger must not be enrolled")


def _read(model: Model, listed: Listed, *, context: Context, label: str) -> Vectors:
    return read_vectors(
        model.reader,
        listed.paths,
        model.card.dimension,
        progress=lambda items: context.progress(items, total=len(listed.paths), label=label),
    )


def enrol(model: Model, listed: Listed, context: Context) -> tuple[ExactGallery, tuple[Failure, ...]]:
    """A gallery of the photos that can be read, and those that cannot."""
    read = _read(model, listed, context=context, label="gallery")
    gallery = ExactGallery(model.card.id, model.card.dimension)
    gallery.upsert(
        [GalleryEntry(f"{index:09d}", listed.people[index], read.vectors[index]) for index in np.flatnonzero(read.read)]
    )
    if gallery.counts()[0] == 0:
        raise UsageError("--gallery: no photo could be read, so there is nobody to look for; check the photos")
    return gallery, (*listed.broken, *read.failures)


def look_up(model: Model, gallery: ExactGallery, listed: Listed, *, context: Context, label: str) -> Looked:
    """Read photos and look each one up."""
    read = _read(model, listed, context=context, label=label)
    answers = iter(gallery.nearest(read.vectors[read.read], k=LISTED))
    candidates = [tuple(next(answers)) if is_read else () for is_read in read.read]
    return Looked(
        people=(*listed.people, *listed.broken_people),
        candidates=(*candidates, *(() for _ in listed.broken)),
        failures=(*listed.broken, *read.failures),
    )


def _print(context: Context, result: dict[str, Any], card: ModelCard, counts: tuple[int, int]) -> None:
    intervals = result["intervals"]
    context.say(
        f"{card.id}: {counts[0]} people with {counts[1]} templates, {result['probes']} probes, {result['strangers']} "
        f"strangers' photos, {result['failed_reads']} of these not read"
    )
    for key in ("top1", "top3", "top5"):
        context.say(figure_line(key.replace("top", "top-"), result[key], intervals[key]))
    if result["strangers"]:
        for key, value in result["fnir_at_fpir"].items():
            context.say(figure_line(f"FNIR at FPIR {key}", value, intervals["fnir_at_fpir"][key]))
    context.say(f"at the system's own threshold {result['threshold']:.4f}:")
    for key in ("fnir", "fpir") if result["strangers"] else ("fnir",):
        context.say(figure_line(f"  {key.upper()}", result[key], intervals[key]))
