"""Covered faces: which signal tells them, tuned on some coverings and judged on others, with its trade-off."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.align import quality_chips
from attendance.app import App
from attendance.config import load
from attendance.detect.mtcnn import MtcnnDetector
from attendance.search.port import mean_direction
from attendance.types import Float32, Float64, RGBImage
from benchmarks.coverings import JUDGED_BY, TUNED_BY
from benchmarks.inner_signals import stage_scores, vector_length
from benchmarks.lfw import Lfw
from benchmarks.occlusion_plot import write_plot
from benchmarks.photos import cell, data_set, face_of, open_rgb, parser_of
from benchmarks.promise_draws import Tally, read_half
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks occlusion"
PROMISE_WORK = Path(__file__).parents[1] / "build" / "promise"
PEOPLE, BARE = 150, 3
REFUSED = (0.01, 0.02, 0.05, 0.1, 0.2)
CURVE = tuple(float(rate) for rate in np.linspace(0.0, 0.3, 61))
BARE_KIND = "bare"
RIDGE = 0.05
SIGNALS = {
    "own photos": "likeness to the person's other photos",
    "detector": "the detector's score (ONet)",
    "rnet": "the score of its second stage (RNet)",
    "pnet": "the score of its first stage (PNet)",
    "length": "the vector's length",
    "everybody": "mean likeness to everybody",
    "chip": "linear, on gradients of the small chip",
    "vector": "linear, on the model's vector",
}
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Seen:
    """Faces that were looked at: (n,) person, kind of covering, whether one was found, and what was measured of it."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.person: Ints = columns["person"]
        self.kind: list[str] = columns["kind"].tolist()
        self.found: Bools = columns["found"]
        self.score: Float64 = columns["score"]
        self.rnet: Float64 = columns["rnet"]
        self.pnet: Float64 = columns["pnet"]
        self.length: Float64 = columns["length"]
        self.own: Float64 = columns["own"]
        self.gradients: Float32 = columns["gradients"]
        self.vectors: Float32 = columns["vectors"]

    def of(self, kind: str) -> Bools:
        """Where the faces of a kind stand."""
        return np.array([each == kind for each in self.kind], np.bool_)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result and the plot."""
    parser = parser_of(COMMAND, "Which signal tells covered faces.")
    parser.add_argument("--look-only", action="store_true", help="look at the faces of the half, keep it, and stop")
    arguments = parser.parse_args(argv)
    lfw = data_set(arguments, COMMAND)
    if lfw is None:
        return 0
    with App(load(None, environment={})) as app:
        if arguments.look_only:
            print(f"{len(looked_at(app, lfw, arguments.half, arguments.work).kind)} faces were looked at")
            return 0
        tune = looked_at(app, lfw, "tune", arguments.work)
        report = looked_at(app, lfw, "report", arguments.work)
        mean = mean_direction(read_half(app, lfw, "tune", PROMISE_WORK).vectors)
        limits = app.rulebook.outlier_limits()
    judged = tune if arguments.half == "tune" else report
    scores = signals(tune, judged, mean)
    data = _rates(judged, scores)
    data["limit_of_enrolment"] = None if limits is None else limits.mean
    tables = _tables(data)
    for row in (row for table in tables for row in table.rows):
        print(" | ".join(row))
    if arguments.half != "report":
        print("no result is written: that takes the half kept for reporting")
        return 0
    files = write_result("occlusion", "Covered faces", tables=tables, data=data, command=COMMAND)
    plot = write_plot(data["curves"], SIGNALS)
    print(f"written: {files[0].name}, {files[1].name}, {plot.name}")
    return 0


def looked_at(app: App, lfw: Lfw, half: str, work: Path) -> Seen:
    """Bare and covered faces of people with four photos and more; kept in ``work`` for the same model."""
    kept = work / f"covered-stages-{half}-{app.card.sha256[:8]}.npz"
    if not kept.exists():
        columns = _look(app, lfw, half)
        work.mkdir(parents=True, exist_ok=True)
        np.savez(kept, allow_pickle=False, **columns)
    with np.load(kept) as found:
        return Seen({name: found[name] for name in found.files})


def _look(app: App, lfw: Lfw, half: str) -> dict[str, NDArray[Any]]:
    photos = read_half(app, lfw, half, PROMISE_WORK)
    coverings = TUNED_BY if half == "tune" else JUDGED_BY
    several = [rows for rows in photos.rows if len(rows) > BARE]
    rng = np.random.default_rng(7)
    chosen = [several[place] for place in sorted(rng.permutation(len(several))[:PEOPLE].tolist())]
    rows: list[dict[str, Any]] = []
    for place, mine in enumerate(chosen):
        for photo in mine[:BARE].tolist():
            image = open_rgb(lfw.images / photos.names[photo])
            others = mean_direction(photos.vectors[[row for row in mine[:6].tolist() if row != photo]])
            kinds, images = [BARE_KIND], [image]
            face = face_of(app, image) if photo == mine[0] else None
            if face is not None:
                for kind, cover in coverings.items():
                    kinds.append(kind)
                    images.append(cover(image, face.points, rng))
            rows += [_measured(app, place, kind, each, others) for kind, each in zip(kinds, images, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _measured(app: App, person: int, kind: str, image: RGBImage, others: Float32) -> dict[str, Any]:
    face = face_of(app, image)
    vector = np.zeros(app.card.dimension, np.float32)
    gradients = np.zeros(_GRADIENTS, np.float32)
    pnet = rnet = length = 0.0
    if face is not None:
        assert isinstance(app.detector, MtcnnDetector)
        pnet, rnet = stage_scores(app.detector, image, face)
        length = vector_length(app, image, face)
        vector = app.reader.embed([image], [[face]])[0][0]
        gradients = _gradients(quality_chips(image, [face])[0])
    return {
        "person": person,
        "kind": kind,
        "found": face is not None,
        "score": 0.0 if face is None else face.score,
        "pnet": pnet,
        "rnet": rnet,
        "length": length,
        "own": float(vector @ others),
        "gradients": gradients,
        "vectors": vector,
    }


_CELL_PX, _BINS = 8, 9
_GRADIENTS = 7 * 7 * 4 * _BINS


def _gradients(chip: RGBImage) -> Float32:
    """Histograms of oriented gradients of a chip of 64 pixels, in blocks of four cells: float32 (1764,).

    After Dalal and Triggs (2005), without their interpolation between cells and bins.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = np.gradient(grey, axis=1), np.gradient(grey, axis=0)
    strength = np.hypot(across, down)
    bins = (np.mod(np.arctan2(down, across), np.pi) / np.pi * _BINS).astype(np.int64) % _BINS
    cells = grey.shape[0] // _CELL_PX
    rows, columns = np.indices(grey.shape) // _CELL_PX
    places = (rows * cells + columns) * _BINS + bins
    told = np.bincount(places.ravel(), weights=strength.ravel(), minlength=cells * cells * _BINS)
    grid = told.reshape(cells, cells, _BINS)
    blocks = np.concatenate([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], axis=2)
    lengths = np.linalg.norm(blocks, axis=2, keepdims=True)
    return np.asarray(blocks / np.maximum(lengths, 1e-3), np.float32).ravel()


def signals(tune: Seen, judged: Seen, mean: Float32) -> dict[str, Float64]:
    """Each signal for every face: higher is barer. What is fitted is fitted to the faces of ``tune``."""
    return {
        "own photos": judged.own,
        "detector": judged.score,
        "rnet": judged.rnet,
        "pnet": judged.pnet,
        "length": _side(tune.length, tune) * judged.length,
        "everybody": (judged.vectors @ mean).astype(np.float64),
        "chip": _linear(tune.gradients, tune, judged.gradients),
        "vector": _linear(tune.vectors, tune, judged.vectors),
    }


def _side(measured: Float64, tune: Seen) -> float:
    """1 where bare faces have more of it, else -1."""
    bare = tune.of(BARE_KIND)
    more = np.median(measured[tune.found & bare]) >= np.median(measured[tune.found & ~bare])
    return 1.0 if more else -1.0


def _linear(features: Float32, tune: Seen, judged: Float32) -> Float64:
    """Ridge regression to 1 for bare and -1 for covered, each kind weighing as much as the bare ones together."""
    known = tune.found
    bare = tune.of(BARE_KIND)[known]
    wide = features[known].astype(np.float64)
    middle = wide.mean(axis=0)
    spread = wide - middle
    weights = np.where(bare, 0.5 / bare.sum(), 0.5 / (~bare).sum())
    gram = spread.T @ (spread * weights[:, None])
    penalty = RIDGE * np.trace(gram) / len(gram)
    target = np.where(bare, 1.0, -1.0)
    fitted = np.linalg.solve(gram + penalty * np.eye(len(gram)), spread.T @ (weights * target))
    return np.asarray((judged - middle) @ fitted, np.float64)


def _rates(seen: Seen, scores: Mapping[str, Float64]) -> dict[str, Any]:
    """Covered faces named, at limits that refuse some share of the bare ones; a face that is not found is named."""
    kinds = [kind for kind in dict.fromkeys(seen.kind) if kind != BARE_KIND]
    bare = seen.of(BARE_KIND) & seen.found
    rates: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for signal, score in scores.items():
        limits = {rate: float(np.quantile(score[bare], rate)) for rate in (*REFUSED, *CURVE)}
        rates[signal] = {
            f"{rate:g}": {kind: _tally(seen, kind, score, limits[rate]).to_json() for kind in kinds} for rate in REFUSED
        }
        covered = ~seen.of(BARE_KIND)
        named = [float((~seen.found | (score < limits[rate]))[covered].mean()) for rate in CURVE]
        curves[signal] = [[rate, share] for rate, share in zip(CURVE, named, strict=True)]
    lost = {kind: _tally(seen, kind, np.ones(len(seen.found)), 0.0).to_json() for kind in kinds}
    return {"people": int(seen.person.max()) + 1, "bare": int(bare.sum()), "not_found": lost, "named": rates,
            "curves": curves}  # fmt: skip


def _tally(seen: Seen, kind: str, score: Float64, limit: float) -> Tally:
    tally, here = Tally.empty(int(seen.person.max()) + 1), seen.of(kind)
    tally.add(seen.person[here], (~seen.found | (score < limit))[here])
    return tally


def _tables(data: Mapping[str, Any]) -> list[Table]:
    kinds = list(data["not_found"])
    tables = [
        Table(
            f"Named where {100 * rate:g} % of bare faces are refused",
            ["signal", *kinds],
            [
                [SIGNALS[signal], *(cell(of[f"{rate:g}"][kind]) for kind in kinds)]
                for signal, of in data["named"].items()
            ],
            "",
        )
        for rate in (0.02, 0.05, 0.1)
    ]
    told = (
        f"{data['people']} people with four photos and more: {data['bare']} bare faces, and one of each covering, "
        "drawn by code on the photo. What is fitted was fitted on other people and other coverings (surgical mask, "
        "round glasses, fingers before the mouth). A covered face that the detector does not find counts as named. "
        "Limits are set on the bare faces that they are judged on. Intervals: 95 %, drawing people. An enrolment "
        "refuses a photo that is less like the person's others than "
        f"{data['limit_of_enrolment']:.3f}."
    )
    return [
        Table("Not found at all", kinds, [[cell(data["not_found"][kind]) for kind in kinds]], told),
        *tables,
    ]


if __name__ == "__main__":
    sys.exit(main())
