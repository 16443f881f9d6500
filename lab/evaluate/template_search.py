"""``python -m lab evaluate template-search``: IJB-B's and IJB-C's 1:N protocol, templates looked up among templates.

The official lists: two galleries, ``<set>_1N_gallery_S1.csv`` and ``S2`` (IJB-B) or ``G1`` and ``G2`` (IJB-C), and the
probes ``<set>_1N_probe_mixed.csv``; a first line of names, then template, subject and more of each face (Maze et al.
2018). Each gallery holds half of the subjects. Every probe is looked up in each: it counts among the known where its
subject is in the gallery, else among the strangers. What is given is the mean over the galleries.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.errors import UsageError
from attendance.types import Float32
from lab.command import Context, add_command, existing_folder
from lab.data.source import Ints
from lab.evaluate.report import Searched, write_searches
from lab.evaluate.shared import add_model_flags, figure_line, intervals_like, open_model, rate_key, rates_for
from lab.evaluate.templates import fuse, read_media
from lab.read import read_vectors

GALLERIES = ("G1", "G2", "S1", "S2")
RANKS = (1, 5, 10)
LISTED = 20
ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Templates (T,), each once, and the subject of each (T,)."""

    templates: Ints
    subjects: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What P probes met in one gallery: ``best`` (P,), ``ranks`` (P,) of the own subject, and who is ``known`` (P,)."""

    best: metrics.Floats
    ranks: Ints
    known: np.ndarray

    def searched(self) -> Searched:
        """The same for a picture."""
        return Searched(self.best[self.known], self.ranks[self.known], self.best[~self.known], LISTED)


def add_template_search(commands: Any) -> None:
    """The command's flags."""
    parser = add_command(
        commands,
        "template-search",
        summary="Judge a model by the 1:N protocol of IJB-B or IJB-C: rank 1, 5, 10 and FNIR at FPIR.",
        details="DIR holds the set's lists: SET_face_tid_mid.txt, both SET_1N_gallery_*.csv, SET_1N_probe_mixed.csv.",
        example="python -m lab evaluate template-search --protocol meta --set ijbc --images loose_crop",
        command=template_search,
    )
    parser.add_argument("--protocol", type=Path, required=True, metavar="DIR", help="folder of the lists")
    parser.add_argument("--set", default="ijbc", dest="name", help="beginning of the lists' names (ijbc)")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    parser.add_argument("--resamples", type=int, default=100, metavar="N", help="draws for intervals (100)")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write figures and curves as one page")
    add_model_flags(parser)


def template_search(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    folder = existing_folder(arguments.protocol, "--protocol")
    photos = existing_folder(arguments.images, "--images")
    if arguments.resamples < 1:
        raise UsageError(f"--resamples: expected 1 or more, got {arguments.resamples}")
    images, templates, media = read_media(folder, arguments.name)
    galleries, probes = read_searches(folder, arguments.name)
    used = np.isin(templates, np.concatenate([probes.templates, *(each.templates for each in galleries.values())]))
    names = sorted({images[place] for place in np.flatnonzero(used)})
    with open_model(arguments, context) as model:
        read = read_vectors(
            model.reader,
            [photos / name for name in names],
            model.card.dimension,
            progress=lambda items: context.progress(items, total=len(names), label="reading"),
        )
        model_id = model.card.id
    place = {name: index for index, name in enumerate(names)}
    vectors = read.vectors[[place[images[index]] for index in np.flatnonzero(used)]]
    numbers, fused = fuse(vectors, templates[used], media[used])
    answers = {name: look_up(numbers, fused, gallery, probes) for name, gallery in galleries.items()}
    result = {**judge_searches(answers, probes, resamples=arguments.resamples), "failed_reads": len(read.failures)}
    _print(context, result, model_id)
    if arguments.report is not None:
        drawn = [({"gallery": name, **result["galleries"][name]}, each.searched()) for name, each in answers.items()]
        write_searches(arguments.report, f"{model_id}: {arguments.name}", drawn)
    context.write_json(result)


def read_searches(folder: Path, name: str) -> tuple[dict[str, Listed], Listed]:
    """The set's galleries by their names, and its probes.

    Raises:
        UsageError: a list is missing, or has another form; file and line are named.
    """
    files = {each: folder / f"{name}_1N_gallery_{each}.csv" for each in GALLERIES}
    found = {each: _listed(path) for each, path in files.items() if path.is_file()}
    if not found:
        raise UsageError(f"--protocol {folder}: expected {name}_1N_gallery_G1.csv (or S1), found none; check --set")
    return found, _listed(folder / f"{name}_1N_probe_mixed.csv")


def _listed(path: Path) -> Listed:
    subjects: dict[int, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if number == 1 or not row:
                    continue
                if len(row) < 2 or not (row[0].strip().isdigit() and row[1].strip().isdigit()):
                    raise UsageError(
                        f"{path}: line {number}: expected template,subject,..., got {','.join(row)[:60]!r}"
                    )
                template, subject = int(row[0]), int(row[1])
                if subjects.setdefault(template, subject) != subject:
                    raise UsageError(f"{path}: line {number}: template {template} shows another subject further up")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: expected a readable list of the protocol, got: {error}") from error
    if not subjects:
        raise UsageError(f"{path}: expected templates below the first line, got none")
    return Listed(np.array([*subjects], dtype=np.int64), np.array([*subjects.values()], dtype=np.int64))


def look_up(numbers: Ints, fused: Float32, gallery: Listed, probes: Listed) -> Answers:
    """Look every probe up in a gallery.

    Args:
        numbers: (T,) rising numbers of the templates that there are.
        fused: (T, D) of unit length, zero where no face was read: such a template is met by nobody and meets nobody.
        gallery: who is enrolled; a subject with several templates scores by the best of them.
        probes: who is looked up.

    Raises:
        UsageError: a template of the lists has no face.
    """
    enrolled, looked = (_places(numbers, each.templates) for each in (gallery, probes))
    subjects, owner = np.unique(gallery.subjects, return_inverse=True)
    known = np.isin(probes.subjects, subjects)
    own = np.searchsorted(subjects, np.where(known, probes.subjects, subjects[0]))
    best, ranks = np.full(len(looked), metrics.FAILED), np.zeros(len(looked), dtype=np.int64)
    readable = fused[enrolled].any(axis=1)
    for start in range(0, len(looked), ROWS):
        rows = slice(start, start + ROWS)
        faces = fused[looked[rows]]
        found = np.full((len(subjects), len(faces)), metrics.FAILED)
        cosines = (fused[enrolled[readable]] @ faces.T).astype(np.float64)
        np.maximum.at(found, owner[readable], np.maximum(cosines, np.nextafter(metrics.FAILED, 1.0)))
        scores = found.T
        scores[~faces.any(axis=1)] = metrics.FAILED
        mine = scores[np.arange(len(faces)), own[rows]]
        best[rows] = scores.max(axis=1)
        # Whoever scores the same stands before the own subject, so that a tie is never flattered.
        place = (scores >= mine[:, None]).sum(axis=1)
        ranks[rows] = np.where(known[rows] & (mine > metrics.FAILED), place, 0)
    return Answers(best, ranks, known)


def judge_searches(
    answers: dict[str, Answers], probes: Listed, *, resamples: int = 100, seed: int = 0
) -> dict[str, Any]:
    """Means over the galleries, with 95 % intervals by drawing the probes' subjects; the galleries stay."""
    for name, each in answers.items():
        if not each.known.any() or each.known.all():
            raise UsageError(f"gallery {name}: expected probes of people in it and of others, got one kind only")
    rates = rates_for(min(int(np.count_nonzero(~each.known)) for each in answers.values()))
    people, index = np.unique(probes.subjects, return_inverse=True)

    def measure(each: Answers, weights: metrics.Floats) -> list[float]:
        known, own, others = each.known, weights[each.known], weights[~each.known]
        if own.sum() == 0.0 or others.sum() == 0.0:
            return [np.nan] * (len(RANKS) + len(rates))
        tops = [metrics.top_k(each.ranks[known], k, weights=own) for k in RANKS]
        right = each.ranks[known] == 1
        sweep = [
            metrics.fnir_at_fpir(each.best[known], right, each.best[~known], rate, weights=own, stranger_weights=others)
            for rate in rates
        ]
        return [*tops, *sweep]

    def mean(weights: metrics.Floats) -> list[float]:
        return [float(value) for value in np.mean([measure(each, weights) for each in answers.values()], axis=0)]

    plain = np.ones(len(index))
    intervals = metrics.bootstrap_intervals(
        lambda draws: mean(np.asarray(draws, dtype=np.float64)[index]), [len(people)], resamples=resamples, seed=seed
    )
    galleries = {
        name: {
            **_figures(measure(each, plain), rates),
            "known": int(each.known.sum()),
            "strangers": int((~each.known).sum()),
        }
        for name, each in answers.items()
    }
    named = _figures(intervals_like(intervals), rates)
    return {**_figures(mean(plain), rates), "probes": len(index), "galleries": galleries, "intervals": named}


def _figures(values: Any, rates: tuple[float, ...]) -> dict[str, Any]:
    tops = {f"top{k}": value for k, value in zip(RANKS, values, strict=False)}
    at_fpir = {rate_key(rate): value for rate, value in zip(rates, values[len(RANKS) :], strict=True)}
    return {**tops, "fnir_at_fpir": at_fpir}


def _places(numbers: Ints, templates: Ints) -> Ints:
    missing = np.setdiff1d(templates, numbers)
    if len(missing):
        raise UsageError(
            f"template {missing[0]} of the lists has no face in SET_face_tid_mid.txt; take one set's lists"
        )
    return np.searchsorted(numbers, templates).astype(np.int64)


def _print(context: Context, result: dict[str, Any], model_id: str) -> None:
    sizes = ", ".join(
        f"{name}: {each['known']} known, {each['strangers']} not" for name, each in result["galleries"].items()
    )
    context.say(f"{model_id}: {result['probes']} probes ({sizes}), {result['failed_reads']} images not read")
    for k in RANKS:
        context.say(figure_line(f"top-{k}", result[f"top{k}"], result["intervals"][f"top{k}"]))
    for key, value in result["fnir_at_fpir"].items():
        context.say(figure_line(f"FNIR at FPIR {key}", value, result["intervals"]["fnir_at_fpir"][key]))
