"""What verification with the default model gains by what is ours to choose: crop, points, mirror, weights, jitter."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attendance import metrics
from attendance.align import align, dlib_150
from attendance.app import App
from attendance.config import load
from attendance.embed.port import Embedder
from attendance.embed.registry import find_card, load_embedder
from attendance.images import read_photo
from attendance.quality import judge
from attendance.types import Alignment, Face, Float32, Float64
from benchmarks.lfw import HALVES, Lfw
from benchmarks.photos import data_set, face_of, parser_of
from benchmarks.report import Table, share, write_result
from lab.evaluate.pairs import people_of, read_pairs

COMMAND = "python -m benchmarks verification"
WORK = Path(__file__).parents[1] / "build" / "verification"
PADDINGS = (0.12, 0.17, 0.2, 0.25)
JITTERS = 3
SCALE, TURN_DEG, SHIFT = 0.06, 5.0, 0.08
"""How far the points of a jittered crop are moved: scale, turn, and shift in eye distances."""
WEIGHTS = (-0.08, -0.04, -0.02, -0.01, 0.01, 0.02, 0.04, 0.08)
RESAMPLES = 400
BASE, PRODUCT = "crop 0.25, five points", "crop 0.17, five points, mirrored"
EYES = (0, 1)
CUTS = (*(f"crop {padding:g}, five points" for padding in PADDINGS), "crop 0.17, eyes alone")
SAVE_EVERY_S = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """``vectors`` (N, cuts and jitters, 2, D), each with its mirror image's, not of unit length; ``weights`` (N,).

    NaN where no face was found.
    """

    vectors: Float32
    weights: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Scores of each choice (N,), and what pairs they are of."""

    scores: Mapping[str, Float64]
    same: np.ndarray[Any, np.dtype[np.bool_]]
    folds: np.ndarray[Any, np.dtype[np.int64]]
    first: np.ndarray[Any, np.dtype[np.int64]]
    second: np.ndarray[Any, np.dtype[np.int64]]
    people: int


def main(argv: Sequence[str] | None = None) -> int:
    """Choose on ``pairs_tune.csv``, judge on ``pairs_report.csv``, and write the result."""
    parser = parser_of(COMMAND, "What verification gains by what is ours to choose.")
    parser.set_defaults(work=WORK)
    parser.add_argument("--read-seconds", type=float, metavar="S", help="read photos of --half for so long, and stop")
    arguments = parser.parse_args(argv)
    lfw = data_set(arguments, COMMAND)
    if lfw is None:
        return 0
    with App(load(None, environment={})) as app:
        if arguments.read_seconds is not None:
            left = _read(app, lfw, arguments.half, arguments.work, seconds=arguments.read_seconds)[2]
            print(f"{left} photos are left to read")
            return 0
        tune, report = (_scored(lfw, half, *_read(app, lfw, half, arguments.work, seconds=None)[:2]) for half in HALVES)
    data = measure(tune, report)
    tables = _tables(data)
    for row in (row for table in tables for row in table.rows):
        print(" | ".join(row))
    title = "Verification, raised by what is ours to choose"
    files = write_result("verification", title, tables=tables, data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0


def measure(tune: Pairs, report: Pairs) -> dict[str, Any]:
    """Both halves, every choice; the best on the half ``tune`` is the chosen one."""
    halves = {"tune": _judged(tune), "report": _judged(report)}
    chosen = max(halves["tune"], key=lambda name: (halves["tune"][name]["accuracy"], halves["tune"][name]["tar"]))
    return {"chosen": chosen, "base": BASE, "product": PRODUCT, "halves": halves}


def _read(app: App, lfw: Lfw, half: str, work: Path, *, seconds: float | None) -> tuple[list[str], Read, int]:
    """The photos' names, what was read of them, and how many are left; goes on where it was left off."""
    pairs = read_pairs(lfw.pairs(half))
    names = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
    kept = work / f"pairs-{half}-{app.card.sha256[:8]}.npz"
    done = _load(kept)
    end = None if seconds is None else time.monotonic() + seconds
    embedder = load_embedder(replace(find_card(app.card.id), input=replace(app.card.input, mirror=False)))
    saved = time.monotonic()
    for name in names:
        if name in done:
            continue
        if end is not None and time.monotonic() > end:
            break
        done[name] = _photo(app, embedder, lfw.images / name)
        if time.monotonic() - saved > SAVE_EVERY_S:
            _save(kept, done)
            saved = time.monotonic()
    _save(kept, done)
    read = [done[name] for name in names if name in done]
    return (
        names,
        Read(np.stack([v for v, _ in read]), np.array([w for _, w in read], np.float32)),
        len(names) - len(read),
    )


def _load(kept: Path) -> dict[str, tuple[Float32, float]]:
    if not kept.exists():
        return {}
    with np.load(kept) as found:
        columns = (found["names"].tolist(), found["vectors"], found["weights"].tolist())
    return {name: (vectors, weight) for name, vectors, weight in zip(*columns, strict=True)}


def _save(kept: Path, done: Mapping[str, tuple[Float32, float]]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    vectors = np.stack([vectors for vectors, _ in done.values()])
    np.savez(kept, names=np.array(list(done)), vectors=vectors, weights=np.array([w for _, w in done.values()]))


def _photo(app: App, embedder: Embedder, path: Path) -> tuple[Float32, float]:
    """Vectors (cuts and jitters, 2, D) of one photo, and the weight that the product gives its face in a track."""
    settings = app.settings.enrol
    image = read_photo(path, max_pixels=settings.max_pixels).image
    face = face_of(app, image)
    cuts = len(CUTS) + JITTERS
    if face is None:
        return np.full((cuts, 2, app.card.dimension), np.nan, np.float32), 0.0
    chips = np.concatenate([align(image, [moved], alignment) for moved, alignment in _cuts(app, face)])
    both = np.concatenate([chips, np.ascontiguousarray(chips[:, :, ::-1])])
    vectors = embedder.embed(both).reshape(2, cuts, -1).transpose(1, 0, 2)
    return vectors, judge(face, (image.shape[0], image.shape[1]), level="off").weight


def _cuts(app: App, face: Face) -> Iterator[tuple[Face, Alignment]]:
    """What is cut: each padding, the eyes alone, and the card's crop with the points moved."""
    for padding in PADDINGS:
        yield face, dlib_150(padding)
    alignment = dlib_150(0.17)
    yield replace(face, points=_by_eyes(face.points, alignment)), alignment
    rng = np.random.default_rng(np.frombuffer(face.points.tobytes(), np.uint32))
    for _ in range(JITTERS):
        yield replace(face, points=_moved(face.points, rng)), app.card.alignment


def _by_eyes(points: Float32, alignment: Alignment) -> Float32:
    """Five points as the template has them, laid where the eyes are: nose and mouth say nothing."""
    assert alignment.template is not None
    model = alignment.template[:, 0] + 1j * alignment.template[:, 1]
    seen = points[:, 0] + 1j * points[:, 1]
    left, right = EYES
    laid = seen[left] + (model - model[left]) * (seen[right] - seen[left]) / (model[right] - model[left])
    return np.stack([laid.real, laid.imag], axis=1).astype(np.float32)


def _moved(points: Float32, rng: np.random.Generator) -> Float32:
    eyes = float(np.hypot(*(points[1] - points[0])))
    scale, turn = 1.0 + rng.uniform(-SCALE, SCALE), np.radians(rng.uniform(-TURN_DEG, TURN_DEG))
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = points.mean(axis=0)
    moved = (points - middle) @ rotation.T + middle + rng.uniform(-SHIFT, SHIFT, 2) * eyes
    return np.asarray(moved, np.float32)


def _scored(lfw: Lfw, half: str, names: Sequence[str], read: Read) -> Pairs:
    pairs = read_pairs(lfw.pairs(half))
    place = {name: number for number, name in enumerate(names)}
    one, two = (np.array([place[getattr(pair, which)] for pair in pairs]) for which in ("image_a", "image_b"))
    unread = np.asarray(np.isnan(read.vectors).any(axis=(1, 2, 3)))
    lost = unread[one] | unread[two]
    scores = {}
    for name, vectors in _choices(read.vectors).items():
        cosines = (vectors[one] * vectors[two]).sum(axis=1)
        scores[name] = np.where(lost, metrics.FAILED, cosines)
    worse = np.minimum(read.weights[one], read.weights[two])
    for weight in WEIGHTS:
        # The worse photo of the two moves what is needed.
        told = np.where(lost, metrics.FAILED, scores[PRODUCT] + weight * worse)
        scores[f"{PRODUCT}, {weight:+g} times the lower weight of quality"] = told
    first, second, people = people_of(pairs)
    return Pairs(
        scores=scores,
        same=np.array([pair.same for pair in pairs]),
        folds=np.array([pair.fold for pair in pairs]),
        first=np.array(first),
        second=np.array(second),
        people=people,
    )


def _choices(vectors: Float32) -> dict[str, Float64]:
    """Unit vectors (N, D) of each choice."""
    wide = vectors.astype(np.float64)
    found = {name: wide[:, place, 0] for place, name in enumerate(CUTS)}
    found |= {f"{name}, mirrored": wide[:, place].sum(axis=1) for place, name in enumerate(CUTS)}
    jittered = [CUTS.index("crop 0.17, five points"), *range(len(CUTS), len(CUTS) + JITTERS)]
    found[f"{PRODUCT}, {JITTERS} moved crops averaged too"] = wide[:, jittered].sum(axis=(1, 2))
    found["crop 0.17, one moved crop in place of the mirror image"] = wide[:, jittered[:2], 0].sum(axis=1)
    crops = [CUTS.index(f"crop {padding:g}, five points") for padding in (0.12, 0.17, 0.2)]
    found["crops 0.12, 0.17 and 0.2 averaged, mirrored"] = wide[:, crops].sum(axis=(1, 2))
    return {name: each / np.linalg.norm(each, axis=1, keepdims=True) for name, each in found.items()}


def _judged(pairs: Pairs) -> dict[str, dict[str, Any]]:
    """Accuracy and TAR at FAR 1 % of each choice, and the paired differences; intervals by drawing people."""
    names = list(pairs.scores)

    def measured(weights: metrics.Floats | None) -> metrics.Floats:
        told = np.empty((len(names), 2))
        for place, name in enumerate(names):
            scores = pairs.scores[name]
            told[place, 0] = metrics.fold_accuracy(scores, pairs.same, pairs.folds, weights=weights).mean
            told[place, 1] = metrics.tar_at_far(metrics.roc(scores, pairs.same, weights=weights), 0.01)
        less = [told - told[names.index(other)] for other in (BASE, PRODUCT)]
        return np.concatenate([told.ravel(), *(each.ravel() for each in less)])

    values = measured(None).reshape(3, len(names), 2)
    intervals = metrics.bootstrap_intervals(
        lambda draws: measured(metrics.pair_weights(draws, pairs.first, pairs.second)),
        [pairs.people],
        resamples=RESAMPLES,
        seed=0,
    ).reshape(3, len(names), 2, 2)
    keys = ("", "_over_base", "_over_product")
    return {
        name: {
            f"{figure}{key}{end}": value
            for at, key in enumerate(keys)
            for column, figure in enumerate(("accuracy", "tar"))
            for end, value in (
                ("", float(values[at, place, column])),
                ("_interval", intervals[at, place, column].tolist()),
            )
        }
        for place, name in enumerate(names)
    }


def _tables(data: Mapping[str, Any]) -> list[Table]:
    def row(name: str, told: Mapping[str, Any]) -> list[str]:
        mark = " **(chosen)**" if name == data["chosen"] else " (the product's)" if name == data["product"] else ""
        return [
            name + mark,
            *(
                share(told[key], told[f"{key}_interval"])
                for key in ("accuracy", "accuracy_over_base", "accuracy_over_product", "tar", "tar_over_product")
            ),
        ]

    head = [
        "choice",
        "10-fold accuracy",
        f"over '{BASE}'",
        "over the product's",
        "TAR at FAR 1e-2",
        "over the product's",
    ]
    notes = {
        "tune": "What is chosen is chosen here. Differences are paired: in points, of the same pairs.",
        "report": f"Intervals: 95 %, drawing people {RESAMPLES} times. Marked as chosen is what was best on the half "
        f"tune. '{BASE}' is dlib's own crop, without the mirror image. A moved crop has its points scaled by up to "
        f"{100 * SCALE:g} %, turned by {TURN_DEG:g} degrees and shifted by {SHIFT:g} eye distances.",
    }
    return [
        Table(f"pairs_{half}.csv", head, [row(*item) for item in data["halves"][half].items()], notes[half])
        for half in ("report", "tune")
    ]


if __name__ == "__main__":
    sys.exit(main())
