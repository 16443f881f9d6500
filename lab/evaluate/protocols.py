"""``python -m lab evaluate published|templates|distractors``: the protocols of published sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.embed.port import Embedder
from attendance.errors import UsageError
from attendance.types import Float32
from lab.command import Context, add_command, existing_folder
from lab.data.pairs_bin import PairsFile, read_pairs_bin
from lab.evaluate.degrade import Degradation
from lab.evaluate.distractors import judge_distractors, read_noise
from lab.evaluate.identification import Listed, list_photos
from lab.evaluate.report import write_counts, write_report
from lab.evaluate.shared import Model, add_model_flags, open_model
from lab.evaluate.streamed import ScoreCounts
from lab.evaluate.templates import count_pairs, people_of_templates, read_protocol
from lab.evaluate.verification import LOWEST, ScoredPairs, judge_pairs, print_pairs
from lab.read import Vectors, read_vectors

BATCH = 64
FOLDS = 10
REPORT = "write figures and curves as one page"


def add_protocols(commands: Any) -> None:
    """The commands' flags."""
    published = add_command(
        commands,
        "published",
        summary="Judge a model on published verification sets (.bin): LFW, AgeDB-30, CFP-FP, CALFW, CPLFW.",
        details="The crops are taken as they are. The file names nobody, so the intervals draw pairs.",
        example="python -m lab evaluate published lfw.bin agedb_30.bin --report sets.html",
        command=published_command,
    )
    published.add_argument("sets", type=Path, nargs="+", metavar="BIN", help="verification sets")
    published.add_argument(
        "--degrade-second", type=int, metavar="PX", help="shrink the second of each pair to so many pixels a side"
    )
    published.add_argument("--report", type=Path, metavar="HTML", help=REPORT)
    published.add_argument("--model", metavar="ID", help="model to judge (model.id of the configuration)")
    templates = add_command(
        commands,
        "templates",
        summary="Judge a model by the template protocol of IJB-B or IJB-C.",
        details="DIR holds the set's official lists SET_face_tid_mid.txt and SET_template_pair_label.txt.",
        example="python -m lab evaluate templates --protocol meta --set ijbc --images loose_crop",
        command=templates_command,
    )
    templates.add_argument("--protocol", type=Path, required=True, metavar="DIR", help="folder of the lists")
    templates.add_argument("--set", default="ijbc", dest="name", help="beginning of the lists' names (ijbc)")
    templates.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of the images")
    templates.add_argument("--resamples", type=int, default=100, metavar="N", help="draws for intervals (100)")
    templates.add_argument("--report", type=Path, metavar="HTML", help=REPORT)
    add_model_flags(templates)
    distractors = add_command(
        commands,
        "distractors",
        summary="Judge a model as MegaFace does: rank 1 and TAR at FAR against distractors.",
        details="Both folders hold DIR/<person>/photos. Photos in a noise list (DIR's relative paths) are left out.",
        example="python -m lab evaluate distractors --probes facescrub --distractors megaface --noise noise.txt",
        command=distractors_command,
    )
    distractors.add_argument("--probes", type=Path, required=True, metavar="DIR", help="people with several photos")
    distractors.add_argument("--distractors", type=Path, required=True, metavar="DIR", help="photos of others")
    distractors.add_argument("--noise", type=Path, action="append", default=[], metavar="FILE", help="may be repeated")
    distractors.add_argument("--report", type=Path, metavar="HTML", help=REPORT)
    add_model_flags(distractors)


def published_command(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    how = None if arguments.degrade_second is None else Degradation(arguments.degrade_second)
    sets = [read_pairs_bin(path) for path in arguments.sets]
    for pairs in sets:
        if len(pairs.same) < FOLDS or pairs.same.all() or not pairs.same.any():
            raise UsageError(f"{pairs.name}: expected {FOLDS} pairs or more, same and different ones")
    results, drawn = {}, []
    arguments.aligned, arguments.quality = True, "off"
    with open_model(arguments, context) as model:
        for pairs in sets:
            scored = score_published(model.app.embedder, pairs, second=how)
            result = judge_pairs(scored)
            results[pairs.name] = result
            drawn.append(({"set": pairs.name, **result}, scored.scores, scored.same))
            print_pairs(context, result, f"{model.card.id}, {pairs.name}")
        model_id = model.card.id
    if arguments.report is not None:
        write_report(arguments.report, model_id, drawn)
    context.write_json(results)


def score_published(embedder: Embedder, pairs: PairsFile, *, second: Degradation | None = None) -> ScoredPairs:
    """Score a set, ten contiguous tenths as folds; ``second`` degrades the second of each pair."""
    size = embedder.card.input.size_px
    vectors = []
    for start in range(0, len(pairs.images), BATCH):
        chips = [pairs.crop(index, size) for index in range(start, min(start + BATCH, len(pairs.images)))]
        if second is not None:
            chips = [second.of(chip) if place % 2 else chip for place, chip in enumerate(chips)]
        vectors.append(embedder.embed(np.stack(chips)))
    wide = np.concatenate(vectors).astype(np.float64)
    count = len(pairs.same)
    return ScoredPairs(
        scores=np.maximum((wide[0::2] * wide[1::2]).sum(axis=1), LOWEST),
        same=pairs.same,
        folds=np.arange(count) * FOLDS // count,
        first=np.arange(count),
        second=np.arange(count),
        people=count,
    )


def templates_command(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    protocol = read_protocol(existing_folder(arguments.protocol, "--protocol"), arguments.name)
    folder = existing_folder(arguments.images, "--images")
    images = sorted(set(protocol.images))
    with open_model(arguments, context) as model:
        read = _read(model, [folder / image for image in images], context)
        model_id = model.card.id
    place = {image: index for index, image in enumerate(images)}
    vectors = read.vectors[[place[image] for image in protocol.images]]
    people = int(people_of_templates(protocol, np.unique(protocol.templates)).max()) + 1
    draws = (
        metrics.resample_people([people], resamples=arguments.resamples, seed=0) if arguments.resamples > 0 else None
    )
    counts = ScoreCounts(draws)
    count_pairs(protocol, vectors, counts)
    result = {**counts.result(), "templates": len(np.unique(protocol.templates)), "failed_reads": len(read.failures)}
    context.say(f"{result['pairs']} pairs of {result['templates']} templates, {len(read.failures)} images not read")
    _say(context, result)
    if arguments.report is not None:
        write_counts(arguments.report, f"{model_id}: {arguments.name}", result, counts)
    context.write_json(result)


def distractors_command(arguments: argparse.Namespace, context: Context) -> None:
    """The command's body."""
    noise = read_noise(arguments.noise)
    with open_model(arguments, context) as model:
        probes, people = _clean(model, arguments.probes, "--probes", noise=noise, context=context)
        others, _ = _clean(model, arguments.distractors, "--distractors", noise=noise, context=context)
        model_id = model.card.id
    # Who cannot be read is taken for nobody: an unread distractor is no chance for a mistake.
    counts = ScoreCounts()
    result = judge_distractors(probes, people, others[others.any(axis=1)], counts=counts)
    context.say(f"{result['probes']} pairs of photos against {result['distractors']} distractors")
    context.say(f"rank 1 {result['rank1']:.4f}")
    _say(context, result)
    if arguments.report is not None:
        write_counts(arguments.report, f"{model_id}: {arguments.distractors.name}", result, counts)
    context.write_json(result)


def _clean(model: Model, folder: Path, flag: str, *, noise: set[str], context: Context) -> tuple[Float32, np.ndarray]:
    """Vectors of the photos that no noise list names, zeros for those not read, and their people."""
    listed: Listed = list_photos(folder, flag)
    kept = [i for i, path in enumerate(listed.paths) if path.relative_to(folder).as_posix() not in noise]
    if not kept:
        raise UsageError(f"{flag} {folder}: the noise lists name every photo; name other lists")
    read = _read(model, [listed.paths[i] for i in kept], context)
    return read.vectors, np.unique([listed.people[i] for i in kept], return_inverse=True)[1]


def _read(model: Model, paths: Sequence[Path], context: Context) -> Vectors:
    return read_vectors(
        model.reader,
        paths,
        model.card.dimension,
        progress=lambda items: context.progress(items, total=len(paths), label="reading"),
    )


def _say(context: Context, result: dict[str, Any]) -> None:
    for key, value in result["tar_at_far"].items():
        context.say(f"TAR at FAR {key} {value:.4f}")
