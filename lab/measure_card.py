"""``python -m lab.measure_card``: measure a model's similarities on labelled photos and write them into its card.

What is measured, and how, is docs/models.md. Run it on people who take no part in any reported number.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.embed.card import ModelCard, SimilarityStatistics
from attendance.embed.card_file import card_text
from attendance.embed.registry import card_paths
from attendance.errors import AttendanceError, UsageError
from attendance.search.port import mean_direction
from attendance.threshold import lead_weight, stranger_score
from attendance.types import Float32, Float64, StrangerTail
from lab.command import Context, Parser, add_common_flags, existing_folder, run
from lab.read import QUALITY_OFF, open_app, open_reader, read_vectors
from lab.strangers import Pass, fit_tail, report_lines

EXAMPLE = "example:\n  python -m lab.measure_card --images lfw-dev --half tune --model dlib-resnet29 --write"

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)

MAX_PHOTOS = 5
"""Photos of a person that count, the first by name: nobody with hundreds of them decides the distribution."""

MIN_EXCEEDING = 30
"""Impostor pairs that must lie above a measured threshold; with fewer the tail is extrapolated."""

TAIL_FROM = 1e-3
"""False-accept rate from which on the tail is fitted."""

MARGIN_STEP = 0.005
MARGIN_COST = 0.005
"""Share of enrolled probes that the margin may turn from known to ambiguous."""

MARGIN_FPIR = 1e-2
"""The operating point that the margin is chosen at: a loose one, because at a strict one it hardly costs anything."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measured:
    """What goes into a card."""

    impostors: SimilarityStatistics
    genuine: SimilarityStatistics
    thresholds: dict[float, float]
    person_thresholds: dict[float, float]
    extrapolated_below: float | None
    person_extrapolated_below: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Lookups:
    """Best person and lead of probes against a roster: arrays (N,). ``right`` is false for all strangers."""

    best: Float64
    lead: Float64
    right: NDArray[np.bool_]

    def accepted(self, threshold: float, margin: float) -> NDArray[np.bool_]:
        """Who would be recorded as somebody."""
        return (self.best >= threshold) & (self.lead >= margin)


def measure(vectors: Float32, people: Ints, *, data: str) -> Measured:
    """Measure both distributions and the thresholds.

    Args:
        vectors: float32 (N, D) of unit length.
        people: (N,) who each shows.
        data: what it was measured on, for the card.
    """
    first, second = np.triu_indices(len(vectors), 1)
    similarities = (vectors @ vectors.T)[first, second].astype(np.float64)
    same = people[first] == people[second]
    impostors = np.sort(similarities[~same])
    thresholds, extrapolated_below = tail_thresholds(impostors)
    person_thresholds, person_extrapolated_below = tail_thresholds(person_impostors(vectors, people))
    return Measured(
        impostors=statistics_of(impostors, data),
        genuine=statistics_of(similarities[same], data),
        thresholds=thresholds,
        person_thresholds=person_thresholds,
        extrapolated_below=extrapolated_below,
        person_extrapolated_below=person_extrapolated_below,
    )


def person_impostors(vectors: Float32, people: Ints) -> Float64:
    """Cosines, rising, of every photo to the mean direction of everybody else who has two photos or more.

    Raises:
        UsageError: nobody has two.
    """
    several = [person for person in np.unique(people) if np.sum(people == person) > 1]
    if not several:
        raise UsageError("expected people with two photos or more, got one photo of each: give more photos")
    means = np.stack([mean_direction(vectors[people == person]) for person in several])
    similarities = (vectors @ means.T).astype(np.float64)
    return np.sort(similarities[people[:, None] != np.array(several)[None, :]])


def tail_thresholds(impostors: Float64, rates: Sequence[float] = RATES) -> tuple[dict[float, float], float | None]:
    """The cosine that a share ``rate`` of the impostor pairs reaches, for each rate.

    A rate that fewer than `MIN_EXCEEDING` pairs reach is extrapolated: the line of the cosine over log10(rate), fitted
    by least squares from `TAIL_FROM` to the smallest rate that is measured, goes on from the last measured point.

    Args:
        impostors: cosines in rising order.
        rates: falling.

    Returns:
        The thresholds, and the rate below which they are extrapolated, None where none is.

    Raises:
        UsageError: too few pairs for a tail.
    """
    smallest = MIN_EXCEEDING / len(impostors)
    if smallest > TAIL_FROM / 10.0:
        raise UsageError(
            f"expected at least {int(10 * MIN_EXCEEDING / TAIL_FROM)} impostor pairs, got {len(impostors)}: "
            "measure the card on more people"
        )

    def reached(rate: float) -> float:
        return float(impostors[len(impostors) - max(round(rate * len(impostors)), 1)])

    points = np.logspace(np.log10(TAIL_FROM), np.log10(smallest), 20)
    slope = min(float(np.polyfit(np.log10(points), [reached(rate) for rate in points], 1)[0]), 0.0)
    thresholds = {
        rate: round(reached(rate), 5)
        if rate >= smallest
        else round(reached(smallest) + slope * float(np.log10(rate / smallest)), 5)
        for rate in rates
    }
    beyond = any(rate < smallest for rate in rates)
    return thresholds, float(f"{smallest:.1e}") if beyond else None


def scored(lookups: Lookups, weight: float, cap: float) -> Lookups:
    """The same lookups with the lead's part added to the best similarity, as the rule judges them."""
    return dataclasses.replace(lookups, best=lookups.best + weight * np.minimum(lookups.lead, cap))


def choose_margin(known: Lookups, threshold: float) -> float:
    """The largest lead that costs at most `MARGIN_COST` of the probes of enrolled people."""
    without = float(np.mean(known.accepted(threshold, 0.0) & known.right))
    margin = 0.0
    while margin + MARGIN_STEP <= 0.5:
        wider = round(margin + MARGIN_STEP, 6)
        if without - float(np.mean(known.accepted(threshold, wider) & known.right)) > MARGIN_COST:
            break
        margin = wider
    return margin


def split_roster(people: Ints) -> tuple[Ints, Ints, Ints]:
    """Indices of templates, probes and strangers' photos.

    Whoever has four photos or more is enrolled with the first half of them, at most five, and probed with the next,
    at most five; all others are strangers.
    """
    templates: list[int] = []
    probes: list[int] = []
    strangers: list[int] = []
    for person in np.unique(people):
        photos = np.flatnonzero(people == person)
        if len(photos) < 4:
            strangers.extend(photos)
            continue
        enrolled = min(MAX_PHOTOS, len(photos) // 2)
        templates.extend(photos[:enrolled])
        probes.extend(photos[enrolled : enrolled + MAX_PHOTOS])
    return tuple(np.array(part, dtype=np.int64) for part in (templates, probes, strangers))  # type: ignore[return-value]


def look_up(vectors: Float32, people: Ints, *, templates: Ints, probes: Ints) -> Lookups:
    """Look each probe up among the templates; a person is as close as the mean direction of their templates."""
    roster, owner = np.unique(people[templates], return_inverse=True)
    means = np.stack([mean_direction(vectors[templates][owner == place]) for place in range(len(roster))])
    by_person = (means @ vectors[probes].T).astype(np.float64)
    order = np.argsort(by_person, axis=0)
    columns = np.arange(len(probes))
    best, runner_up = by_person[order[-1], columns], by_person[order[-2], columns]
    return Lookups(best=best, lead=best - runner_up, right=roster[order[-1]] == people[probes])


def statistics_of(similarities: Float64, data: str) -> SimilarityStatistics:
    """What a card says of cosines (N,)."""
    return SimilarityStatistics(
        pairs=len(similarities),
        data=data,
        mean=round(float(np.mean(similarities)), 5),
        std=round(float(np.std(similarities)), 5),
        quantiles={share: round(float(np.quantile(similarities, share)), 5) for share in QUANTILES},
    )


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise UsageError(f"{path}: expected the columns {', '.join(columns)}, got {reader.fieldnames}")
            return list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable CSV file, got: {error}") from error


def list_photos(folder: Path, half: str) -> list[Path]:
    """The photos of the people of one half, those listed in errata.csv left out, sorted by person and name."""
    people = [row["person"] for row in _rows(folder / "split.csv", ("person", "half")) if row["half"] == half]
    faulty = {row["image"] for row in _rows(folder / "errata.csv", ("image",))}
    paths = itertools.chain.from_iterable(sorted((folder / "images" / name).glob("*.jpg")) for name in sorted(people))
    return [path for path in paths if f"{path.parent.name}/{path.name}" not in faulty]


def load_passes(path: Path, people: Sequence[str]) -> list[Pass]:
    """The passes of these people (in the order of their numbers) in a file that ``python -m benchmarks promise`` made.

    Raises:
        UsageError: no such file, or not such a file.
    """
    try:
        with np.load(path) as found:
            parts = np.split(found["vectors"], np.cumsum(found["count"])[:-1])
            names = [str(photo).partition("/")[0] for photo in found["photo"]]
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"--passes {path}: expected passes as the benchmark keeps them, got: {error}") from error
    number = {name: place for place, name in enumerate(people)}
    return [
        Pass(number[name], looks) for name, looks in zip(names, parts, strict=True) if name in number and len(looks)
    ]


def measured_card(
    card: ModelCard, vectors: Float32, people: Ints, *, data: str, passes: Sequence[Pass] = ()
) -> tuple[ModelCard, dict[str, Any]]:
    """The card with its measured parts, and what the margin does at the operating point that it is chosen at."""
    rank = np.array([np.sum(people[:index] == person) for index, person in enumerate(people)])
    few = rank < MAX_PHOTOS
    measured = measure(vectors[few], people[few], data=f"{data}, at most {MAX_PHOTOS} photos a person")
    tail, margin, report = measure_galleries(vectors, people, data=data, passes=passes)
    changed = dataclasses.replace(
        card,
        margin=margin,
        impostors=measured.impostors,
        genuine=measured.genuine,
        thresholds=measured.thresholds,
        person_thresholds=measured.person_thresholds,
        extrapolated_below=measured.extrapolated_below,
        person_extrapolated_below=measured.person_extrapolated_below,
        strangers=tail,
    )
    return changed, report


def measure_galleries(
    vectors: Float32, people: Ints, *, data: str, passes: Sequence[Pass] = ()
) -> tuple[StrangerTail, float, dict[str, Any]]:
    """How near strangers come to galleries, the margin, and what the margin does.

    Raises:
        UsageError: too few people, or fewer than two with four photos or more.
    """
    templates, probes, strangers = split_roster(people)
    enrolled = len(np.unique(people[templates]))
    if enrolled < 2:
        raise UsageError(f"expected two people or more with four photos or more, got {enrolled}: give more photos")
    known = look_up(vectors, people, templates=templates, probes=probes)
    unknown = look_up(vectors, people, templates=templates, probes=strangers)
    tail = fit_tail(vectors, people, data=data, passes=passes)
    single_share = float(np.mean([1.0 / count for count in np.unique(people[templates], return_counts=True)[1]]))
    threshold = stranger_score(tail, MARGIN_FPIR, people=enrolled, single_share=single_share)
    weight = lead_weight(tail, enrolled)
    known, unknown = (scored(lookups, weight, tail.lead_cap) for lookups in (known, unknown))
    margin = choose_margin(known, threshold)
    report: dict[str, Any] = {"enrolled": enrolled, "probes": len(probes), "strangers": len(strangers)}
    for name, lead in (("without_margin", 0.0), ("with_margin", margin)):
        accepted = known.accepted(threshold, lead)
        report[name] = {
            "known_right": float(np.mean(accepted & known.right)),
            "known_wrong": int(np.sum(accepted & ~known.right)),
            "strangers_accepted": int(np.sum(unknown.accepted(threshold, lead))),
        }
    return tail, margin, report | {"threshold": threshold, "margin": margin}


def command(arguments: argparse.Namespace, context: Context) -> None:
    """Read, embed, measure, and write the card with ``--write``."""
    folder = existing_folder(arguments.images, "--images")
    app = open_app(context.settings, model_flag=arguments.model)
    paths = list_photos(folder, arguments.half)
    if not paths:
        raise UsageError(f"--images {folder}: expected photos of people in half {arguments.half!r}, found none")
    card = app.embedder.card
    read = read_vectors(
        open_reader(app, aligned=False, quality_level=QUALITY_OFF),
        paths,
        card.dimension,
        progress=lambda readings: context.progress(readings, total=len(paths), label="photos"),
    )
    people = np.unique([path.parent.name for path in paths], return_inverse=True)[1].astype(np.int64)
    data = f"{folder.name}, half {arguments.half}"
    vectors, shown = read.vectors[read.read], people[read.read]
    names = sorted({path.parent.name for path in paths})
    passes = [] if arguments.passes is None else load_passes(arguments.passes, names)
    changed, report = measured_card(card, vectors, shown, data=data, passes=passes)
    if changed.strangers is not None:
        for line in report_lines(changed.strangers, vectors, shown):
            context.say(line)
    report |= {"photos": len(paths), "not_read": len(read.failures), "model": card.id}
    context.say(card_text(changed))
    context.say("\n".join(f"{name}: {value}" for name, value in report.items()))
    if arguments.write:
        _write(card_paths(app.models_dir)[card.id], changed)
    context.write_json(_plain(changed, report))


def _write(path: Path, card: ModelCard) -> None:
    try:
        path.write_text(card_text(card), encoding="utf-8")
    except OSError as error:
        raise AttendanceError(f"{path}: expected to write the card there, got: {error.strerror}") from error


def _plain(card: ModelCard, report: Mapping[str, Any]) -> dict[str, Any]:
    thresholds = {f"{rate:.0e}".replace("e-0", "e-"): value for rate, value in card.thresholds.items()}
    return {**report, "thresholds": thresholds, "extrapolated_below": card.extrapolated_below}


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(
        prog="python -m lab.measure_card",
        description="Measure a model's similarities on labelled photos and write them into its card.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="images/<person>/*.jpg, split.csv, errata.csv",
    )
    parser.add_argument("--half", default="tune", help="half of split.csv that is measured (tune)")
    parser.add_argument("--model", metavar="ID", help="model to measure (the configuration's)")
    parser.add_argument(
        "--passes",
        type=Path,
        metavar="FILE",
        help="what passes of the same people were decided on (.npz: photo, count, vectors); without it passes are "
        "judged as photos are",
    )
    parser.add_argument("--write", action="store_true", help="write the numbers into the model's card")
    add_common_flags(parser)
    parser.set_defaults(command=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
