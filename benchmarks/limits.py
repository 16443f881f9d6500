"""How far detector, embedder and lookup are from what the machine can do at most: work a call against measured rates.

The machine's matrix rate is that of a large float32 product by the quicker of two libraries, its memory rate that of
reading memory once. Both are measured in turn with the calls, so a busy moment slows both sides. Multiply-adds are
those of the networks as published, counted from their layers, the pictures and the crops that were looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, takewhile
from statistics import median

import numpy as np
import torch

from attendance.app import App
from attendance.config import load
from attendance.detect.mtcnn import MtcnnDetector
from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29
from attendance.search.exact import ExactGallery
from attendance.types import GalleryEntry, RGBImage
from benchmarks import detection_speed
from benchmarks.counting import Cascade, multiply_adds
from benchmarks.pieces import Measured, Options, Part, run
from benchmarks.rates import Matrix, large_array, libraries, memory_rate, seconds_of
from benchmarks.report import Table
from benchmarks.search_vectors import changed_vectors, made_vectors
from benchmarks.tracking_videos import STREET

THREADS = 2
FACES = (1, 8, 32)
PEOPLE, DIMENSIONS, QUERIES = 100_000, (128, 512), 32
LOAD_AT_ONCE = 50_000
EMBEDDER_32_AT_MOST, LOOKUP_AT_MOST = 1.4, 1.5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    return run(PART, argv)


def machine(options: Options) -> Measured:
    """The rates alone, for each library and number of threads."""
    rows = []
    for library in libraries():
        for threads in (1, THREADS):
            matrix = Matrix(library, threads)
            rates = [matrix.rate() for _ in range(2 * options.rounds + 1)][1:]
            rows.append({"what": "matrix", "by": library, "threads": threads, "rate": median(rates)})
    array = large_array()
    with ThreadPoolExecutor(THREADS) as pool:
        for threads in (1, THREADS):
            rates = [memory_rate(array, pool, threads=threads) for _ in range(2 * options.rounds + 1)][1:]
            rows.append({"what": "memory", "by": "reading", "threads": threads, "rate": median(rates)})
    return {"rows": rows}


def detector(size: str) -> Callable[[Options], Measured]:
    """The cascade on frames of the street clip of this size."""

    def measure(options: Options) -> Measured:
        matrix = best_matrix()
        pictures = detection_speed.frames(STREET, detection_speed.SIZES[size])
        rows = []
        for min_face_px in detection_speed.FACES_PX:
            found = MtcnnDetector(min_face_px=min_face_px, threads=THREADS)
            cascade = Cascade(found, min_face_px=min_face_px)
            work = sum(cascade.of(picture) for picture in pictures) / len(pictures)
            timed = _against_matrix(matrix, partial(_on_each, found, pictures), work * len(pictures), options.rounds)
            what = f"detector, {size}, faces from {min_face_px} px"
            rows.append({"what": what, "multiply_adds": work, **_each(timed, len(pictures))})
        return {"rows": rows, "matrix": f"{matrix.library}, {matrix.threads} threads"}

    return measure


def embedder(options: Options) -> Measured:
    """The default embedder as the product calls it: a face and its mirror image."""
    rows = []
    settings = load(None, environment={})
    torch.set_num_threads(THREADS)
    with App(settings) as app:
        images = 2 if app.card.input.mirror else 1
        work = images * multiply_adds(DlibResNet29(), (1, 3, INPUT_PX, INPUT_PX))
        matrix = best_matrix()
        for faces in FACES:
            chips = np.random.default_rng(faces).integers(0, 256, (faces, INPUT_PX, INPUT_PX, 3)).astype(np.uint8)
            timed = _against_matrix(matrix, partial(app.embedder.embed, chips), work * faces, 2 * options.rounds)
            what = f"embedder, {faces} face{'s' * (faces > 1)}"
            rows.append({"what": what, "multiply_adds": work * faces, "faces": faces, **timed})
    return {"rows": rows, "matrix": f"{matrix.library}, {matrix.threads} threads"}


def lookup(dimension: int) -> Callable[[Options], Measured]:
    """One query among 100,000 people, against reading the float32 vectors once, and the eight-bit codes once."""

    def measure(options: Options) -> Measured:
        rows = []
        for kind in ("random", "face-like"):
            vectors = made_vectors(PEOPLE, dimension, kind)
            gallery = _gallery(vectors)
            queries = changed_vectors(vectors, QUERIES)
            codes = np.empty(vectors.shape, np.int8)
            rounds = []
            with ThreadPoolExecutor(THREADS) as pool:
                for turn in range(4 * options.rounds + 1):
                    whole = vectors.nbytes / memory_rate(_bytes(vectors), pool, threads=THREADS)
                    coded = codes.nbytes / memory_rate(_bytes(codes), pool, threads=THREADS)
                    query = queries[turn % len(queries)][None]
                    rounds.append((seconds_of(partial(gallery.nearest, query, k=2)), whole, coded))
            del rounds[0]
            rows.append(
                {
                    "what": f"lookup, {PEOPLE:,} x {dimension}, {kind}",
                    "bytes": vectors.nbytes,
                    "code_bytes": codes.nbytes,
                    "ms": 1e3 * median(each[0] for each in rounds),
                    "floor_ms": 1e3 * median(each[1] for each in rounds),
                    "code_floor_ms": 1e3 * median(each[2] for each in rounds),
                    "over_floor": median(each[0] / each[1] for each in rounds),
                    "over_code_floor": median(each[0] / each[2] for each in rounds),
                }
            )
        return {"rows": rows}

    return measure


def best_matrix() -> Matrix:
    """The library with the highest rate on all threads."""
    candidates = [Matrix(library, THREADS) for library in libraries()]
    for each in candidates:
        each.rate()
    return max(candidates, key=lambda each: median(each.rate() for _ in range(3)))


def _against_matrix(matrix: Matrix, call: Callable[[], object], work: float, rounds: int) -> Measured:
    """Median ms of the call, of its work at the matrix rate, and the median of the rounds' ratios."""
    times = [(seconds_of(call), work / matrix.rate()) for _ in range(rounds + 1)][1:]
    return {
        "ms": 1e3 * median(took for took, _ in times),
        "floor_ms": 1e3 * median(least for _, least in times),
        "over_floor": median(took / least for took, least in times),
    }


def _on_each(detector: MtcnnDetector, pictures: Sequence[RGBImage]) -> None:
    for picture in pictures:
        detector.detect([picture])


def _each(timed: Measured, pictures: int) -> Measured:
    return {**timed, "ms": timed["ms"] / pictures, "floor_ms": timed["floor_ms"] / pictures}


def _gallery(vectors: np.ndarray) -> ExactGallery:
    gallery = ExactGallery("bench", vectors.shape[1])
    for start in takewhile(lambda at: at < len(vectors), count(0, LOAD_AT_ONCE)):
        part = vectors[start : start + LOAD_AT_ONCE]
        gallery.upsert([GalleryEntry(f"t-{start + n}", f"person-{start + n:07d}", row) for n, row in enumerate(part)])
    return gallery


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    rows = {name: piece["rows"] for name, piece in found.items()}
    many = next(row for row in rows["embedder"] if row["faces"] == max(FACES))
    lookups = [row for dimension in DIMENSIONS for row in rows[f"lookup-{dimension}"]]
    data = {
        "machine": rows["machine"],
        "matrix": [row for name in MATRIX_PIECES for row in rows[name]],
        "lookup": lookups,
        "product_by": sorted({found[name]["matrix"] for name in MATRIX_PIECES}),
        "promises": {
            "embedder_32_faces": many["over_floor"] <= EMBEDDER_32_AT_MOST,
            "lookup": all(row["over_floor"] <= LOOKUP_AT_MOST for row in lookups),
        },
    }
    return data, tables(data)


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    unit = {"matrix": "billion multiply-adds a second", "memory": "billion bytes a second"}
    machine_rows = [
        (f"{row['what']}, {row['by']}", str(row["threads"]), f"{row['rate'] / 1e9:.1f}", unit[row["what"]])
        for row in data["machine"]
    ]
    matrix_rows = [
        (
            r["what"],
            f"{r['multiply_adds'] / 1e6:,.0f}",
            f"{r['ms']:.2f}",
            f"{r['floor_ms']:.2f}",
            f"{r['over_floor']:.1f}",
        )
        for r in data["matrix"]
    ]
    lookup_rows = [
        (
            r["what"],
            f"{r['bytes'] / 1e6:.1f}",
            f"{r['ms']:.2f}",
            f"{r['floor_ms']:.2f}",
            f"{r['over_floor']:.2f}",
            f"{r['code_floor_ms']:.2f}",
            f"{r['over_code_floor']:.2f}",
        )
        for r in data["lookup"]
    ]
    return (
        Table("The machine", ("what", "threads", "rate", "unit"), machine_rows),
        Table(
            "Against the matrix rate",
            ("call", "million multiply-adds", "ms", "floor, ms", "times the floor"),
            matrix_rows,
            f"Floor: the multiply-adds at the rate of a large float32 product ({'; '.join(data['product_by'])}), "
            "measured in turn. The embedder looks at each face and its mirror image; its kernels may do less than the "
            "plain convolutions that are counted (Winograd), so it can go below. The detector's time holds pyramid, "
            "crops and suppression too, which are no multiply-adds.",
        ),
        Table(
            "Against the memory rate",
            ("call", "MB", "ms", "floor, ms", "times the floor", "floor of codes, ms", "times that"),
            lookup_rows,
            "Floor: reading the float32 vectors once with two threads, measured in turn; of codes: reading a byte a "
            "number, as the shortlist does. Arrays of this size partly stay in the processor's cache, for both sides.",
        ),
    )


MATRIX_PIECES = (*(f"detector-{size}" for size in detection_speed.SIZES), "embedder")

PART = Part(
    name="limits",
    title="How far from the machine's limits",
    pieces={
        "machine": machine,
        **{f"detector-{size}": detector(size) for size in detection_speed.SIZES},
        "embedder": embedder,
        **{f"lookup-{dimension}": lookup(dimension) for dimension in DIMENSIONS},
    },
    conclude=_conclude,
    threads=THREADS,
    needs=lambda options: None if STREET.is_file() else f"no video {STREET.name} in {STREET.parent}",
)


if __name__ == "__main__":
    sys.exit(main())
