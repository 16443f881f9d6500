"""``python -m lab evaluate verification``: are two photos of one person?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.errors import UsageError
from lab.command import Context, add_command, existing_folder
from lab.evaluate.pair_layouts import Pair
from lab.evaluate.pairs import people_of, read_pairs
from lab.evaluate.report import write_report
from lab.evaluate.shared import (
    add_model_flags,
    figure_line,
    intervals_like,
    open_model,
    rate_key,
    rates_for,
)
from lab.read import Vectors, failures_text, read_vectors

LOWEST = np.nextafter(metrics.FAILED, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """``scores`` (N,) cosines, `metrics.FAILED` where a face was not read; ``same`` (N,); ``folds`` (N,) labels.

    ``first`` and ``second`` (N,) are indices of the people shown, of whom there are ``people``.
    """

    scores: metrics.Floats
    same: np.ndarray
    folds: np.ndarray
    first: np.ndarray
    second: np.ndarray
    people: int


def add_verification(commands: Any) -> None:
    """The command's flags."""
    parser = add_command(
        commands,
        "verification",
        summary="Judge a model on pairs of photos: accuracy, AUC, EER, TAR at FAR.",
        details=(
            "CSV: image_a,image_b,same[,fold], images relative to --images; without fold, ten contiguous tenths.\n"
            "Also as published: LFW's pairs.txt, CALFW's and CPLFW's list, CFP's folder Protocol/Split/FP or FF.\n"
            "The face that holds the photo's centre is read, else the nearest to it. A photo that cannot be read\n"
            "scores -1: its same pairs are lost at every threshold, its different pairs are rejected."
        ),
        example="python -m lab evaluate verification --images lfw --pairs pairs.csv --json result.json",
        command=verification,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    parser.add_argument("--pairs", type=Path, required=True, metavar="LIST", help="list of pairs")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write figures and curves as one page")
    add_model_flags(parser)


def verification(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    folder = existing_folder(arguments.images, "--images")
    pairs = read_pairs(arguments.pairs)
    images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
    if not any((folder / image).exists() for image in images):
        raise UsageError(f"--images {folder}: holds none of the {len(images)} images that {arguments.pairs} names")
    with open_model(arguments, context) as model:
        read = read_vectors(
            model.reader,
            [folder / image for image in images],
            model.card.dimension,
            progress=lambda items: context.progress(items, total=len(images), label="reading"),
        )
        model_id = model.card.id
    scored = score_pairs(pairs, images, read)
    result = judge_pairs(scored)
    print_pairs(context, result, model_id)
    for line in failures_text(read.failures, "photos"):
        context.say(line)
    if arguments.report is not None:
        write_report(arguments.report, f"{model_id}: {arguments.pairs.name}", [(result, scored.scores, scored.same)])
    context.write_json(result)


def score_pairs(pairs: Sequence[Pair], images: Sequence[str], read: Vectors) -> ScoredPairs:
    """Score every pair.

    Args:
        pairs: N pairs.
        images: the images' names in the order of the vectors.
        read: what they gave.
    """
    place = {image: index for index, image in enumerate(images)}
    one = np.array([place[pair.image_a] for pair in pairs])
    two = np.array([place[pair.image_b] for pair in pairs])
    wide = read.vectors.astype(np.float64)
    cosines = np.maximum((wide[one] * wide[two]).sum(axis=1), LOWEST)
    first, second, people = people_of(pairs)
    return ScoredPairs(
        scores=np.where(read.read[one] & read.read[two], cosines, metrics.FAILED),
        same=np.array([pair.same for pair in pairs]),
        folds=np.array([pair.fold for pair in pairs]),
        first=np.array(first),
        second=np.array(second),
        people=people,
    )


def judge_pairs(scored: ScoredPairs, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The contract's result object, with 95 % intervals by drawing people."""

    rates = rates_for(int(np.count_nonzero(~scored.same)))

    def measure(weights: metrics.Floats | None) -> list[float]:
        curve = metrics.roc(scored.scores, scored.same, weights=weights)
        folds = metrics.fold_accuracy(scored.scores, scored.same, scored.folds, weights=weights)
        at_far = [metrics.tar_at_far(curve, rate) for rate in rates]
        return [folds.mean, folds.std, metrics.auc(curve), metrics.eer(curve), *at_far]

    figures = _figures(measure(None), rates)
    intervals = metrics.bootstrap_intervals(
        lambda draws: measure(metrics.pair_weights(draws, scored.first, scored.second)),
        [scored.people],
        resamples=resamples,
        seed=seed,
    )
    named = _figures(intervals_like(intervals), rates)
    del named["accuracy_std"]
    failed = int(np.count_nonzero(scored.scores <= metrics.FAILED))
    return {**figures, "pairs": len(scored.scores), "failed_pairs": failed, "intervals": named}


def _figures(values: Sequence[Any], rates: Sequence[float]) -> dict[str, Any]:
    accuracy, std, auc, eer, *accepted = values
    at_far = {rate_key(rate): value for rate, value in zip(rates, accepted, strict=True)}
    return {"accuracy": accuracy, "accuracy_std": std, "auc": auc, "eer": eer, "tar_at_far": at_far}


def print_pairs(context: Context, result: dict[str, Any], model_id: str) -> None:
    """The figures for a person."""
    intervals = result["intervals"]
    context.say(f"{model_id}: {result['pairs']} pairs, {result['failed_pairs']} with a photo that was not read")
    context.say(figure_line("accuracy", result["accuracy"], intervals["accuracy"]))
    context.say(f"  over the folds +- {result['accuracy_std']:.4f}")
    context.say(figure_line("AUC", result["auc"], intervals["auc"]))
    context.say(figure_line("EER", result["eer"], intervals["eer"]))
    for key, value in result["tar_at_far"].items():
        context.say(figure_line(f"TAR at FAR {key}", value, intervals["tar_at_far"][key]))
