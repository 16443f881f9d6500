"""The exact lookup against the memory it must read, to 1,000,000 people, one query and 32; Chroma's index beside it.

The floor is reading every byte of the float32 vectors once, with two threads, measured in turn with the lookup; the
same for the eight-bit codes, a quarter of it. Vectors are random, drawn about a common direction, or of real faces,
see `search_vectors`. Every answer is compared with float64 cosines of all, sorted. A million is measured with random
vectors alone. ``--add`` keeps the other rows of today's result, so that sizes can be measured one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.search.chroma import ChromaStore
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import Float32, GalleryEntry
from benchmarks.report import RESULTS, Table, write_result
from benchmarks.search_vectors import Faces, changed_vectors, made_vectors, mixed_faces, read_faces

COMMAND = "python -m benchmarks search"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS = (128, 512)
QUERIES = 32
NEAREST = 2
LOAD_AT_ONCE = 50_000
OVER_FLOOR_AT_MOST = 1.5

MANY_GAIN = 3.0
KINDS = ("random", "face-like", "faces")
RANDOM_ALONE_FROM = 1_000_000
APPROXIMATE_TO = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every size, write the result; 1 where an answer is wrong or 100,000 people take too long."""
    arguments = _parser().parse_args(argv)
    kept = _kept() if arguments.add else {"rows": [], "approximate": []}
    rows, approximate = list(kept["rows"]), list(kept["approximate"])
    faces = read_faces(arguments.embeddings) if "faces" in arguments.kinds else None
    for dimension, people, kind in product(arguments.dimensions, arguments.sizes, arguments.kinds):
        if kind != "random" and people >= RANDOM_ALONE_FROM:
            continue
        if kind == "faces" and (faces is None or faces.vectors.shape[1] != dimension):
            continue
        row, beside = measure(people, dimension, kind, arguments, faces)
        rows = _instead(rows, row)
        approximate = approximate if beside is None else _instead(approximate, beside)
        print(row, beside, flush=True)
    data = {"rounds": arguments.rounds, "rows": rows, "approximate": approximate, "promises": _promises(rows)}
    if not arguments.dry:
        title = "The exact lookup against the memory floor"
        write_result("search", title, tables=_tables(data), data=data, command=COMMAND, threads=2)
    print(data["promises"])
    return 0 if all(data["promises"].values()) else 1


def _promises(rows: Sequence[dict[str, Any]]) -> dict[str, bool]:
    judged = [row for row in rows if row["people"] == 100_000]
    return {
        "recall": all(row["recall"] == 1.0 for row in rows),
        "over_floor": bool(judged) and all(row["over_floor"] <= OVER_FLOOR_AT_MOST for row in judged),
        "many_gain": bool(judged) and all(row["many_gain"] >= MANY_GAIN for row in judged),
    }


def _kept() -> dict[str, Any]:
    """The last result's data."""
    found: dict[str, Any] = json.loads(max(RESULTS.glob("*-search.json")).read_text(encoding="utf-8"))["data"]
    return found


def _instead(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with one of the same size, dimension and kind replaced, in order."""

    def key(each: dict[str, Any]) -> tuple[int, str, int]:
        return each["dimension"], each["kind"], each["people"]

    return sorted([*(each for each in rows if key(each) != key(row)), row], key=key)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Exact lookup against the memory floor.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="people in the gallery")
    parser.add_argument("--dimensions", type=int, nargs="+", default=DIMENSIONS, metavar="D")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each side (15)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--embeddings", type=Path, metavar="NPZ", help="real faces read before (else lfw-dev is read)")
    parser.add_argument(
        "--approximate-to", type=int, default=APPROXIMATE_TO, metavar="N", help="people up to whom Chroma is built"
    )
    parser.add_argument("--add", action="store_true", help="keep the other rows of the last result")
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser


def measure(
    people: int, dimension: int, kind: str, arguments: argparse.Namespace, faces: Faces | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A row of the exact lookup, and one of Chroma's where that is asked for."""
    if kind == "faces":
        assert faces is not None
        vectors, queries = mixed_faces(faces, people, QUERIES)
    else:
        vectors = made_vectors(people, dimension, kind)
        queries = changed_vectors(vectors, QUERIES)
    gallery = ExactGallery("bench", dimension)
    begun = time.perf_counter()
    for part in _entries(vectors):
        gallery.upsert(part)
    loaded = time.perf_counter() - begun
    right = _right(vectors, queries)
    row = {"people": people, "dimension": dimension, "kind": kind, "load_s": loaded}
    row |= _timed(gallery, vectors, queries, arguments.rounds) | {"recall": _recall(gallery, queries, right)}
    if people > arguments.approximate_to or kind == "face-like":
        return row, None
    beside = {"people": people, "dimension": dimension, "kind": kind, "exact_ms": row["one_ms"]}
    return row, beside | _approximate(vectors, queries, right)


def _entries(vectors: Float32) -> Iterator[list[GalleryEntry]]:
    for start in range(0, len(vectors), LOAD_AT_ONCE):
        part = vectors[start : start + LOAD_AT_ONCE]
        yield [GalleryEntry(f"t-{start + n}", f"person-{start + n:07d}", row) for n, row in enumerate(part)]


def _timed(gallery: ExactGallery, vectors: Float32, queries: Float32, rounds: int) -> dict[str, Any]:
    """Medians in ms, ratios as medians of the rounds', and bytes."""
    codes = np.empty(vectors.shape, np.int8)
    with ThreadPoolExecutor(2) as pool:
        sides: tuple[Callable[[int], object], ...] = (
            lambda turn: gallery.nearest(queries[turn % QUERIES][None], k=NEAREST),
            lambda turn: read_once(vectors, pool),
            lambda turn: read_once(codes, pool),
            lambda turn: vectors @ queries[turn % QUERIES],
            lambda turn: gallery.nearest(queries, k=NEAREST),
        )
        times = [[_ms(side, turn) for side in sides] for turn in range(rounds + 1)][1:]
    one, floor, code_floor, numpy_one, many = (median(turn[i] for turn in times) for i in range(5))
    numbers = vectors.size
    return {
        "one_ms": one,
        "floor_ms": floor,
        "code_floor_ms": code_floor,
        "numpy_product_ms": numpy_one,
        "over_floor": median(turn[0] / turn[1] for turn in times),
        "queries_32_ms": many,
        "many_gain": median(QUERIES * turn[0] / turn[4] for turn in times),
        "lookup_bytes": numbers * 5 + len(vectors) * 8,
        "template_bytes": numbers * 4,
    }


def _approximate(vectors: Float32, queries: Float32, right: list[set[int]]) -> dict[str, Any]:
    """Chroma's index with the product's settings: seconds to build, ms of a lookup, recall, bytes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        store = ChromaStore(Path(folder) / "chroma", "bench", vectors.shape[1])
        begun = time.perf_counter()
        with store.replacement() as gallery:
            for part in _entries(vectors):
                gallery.upsert(part)
        built = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        with store.open() as gallery:
            gallery.nearest(queries[:1], k=NEAREST)
            took = [_ms(lambda turn: gallery.nearest(queries[turn][None], k=NEAREST), n) for n in range(QUERIES)]
            recall = _recall(gallery, queries, right)
    return {"chroma_ms": median(took), "chroma_recall": recall, "build_s": built, "disk_bytes": size}


def _right(vectors: Float32, queries: Float32) -> list[set[int]]:
    """Of each query the nearest people by float64 cosines of everybody; those that tie with the last are right too."""
    found = []
    for query in queries:
        cosines = np.concatenate([part.astype(np.float64) @ query for part in np.array_split(vectors, 20)])
        least = np.partition(cosines, -NEAREST)[-NEAREST]
        # What is enrolled is normalised once more, which moves its last bits.
        found.append(set(np.flatnonzero(cosines >= least - 1e-7).tolist()))
    return found


def _recall(gallery: Gallery, queries: Float32, right: list[set[int]]) -> float:
    """Share of the nearest people that are found, alone and together."""
    hits = 0
    together = gallery.nearest(queries, k=NEAREST)
    for query, found, best in zip(queries, together, right, strict=True):
        for answer in (found, gallery.nearest(query[None], k=NEAREST)[0]):
            hits += sum(int(candidate.identity_id.removeprefix("person-")) in best for candidate in answer)
    return hits / (2 * NEAREST * len(queries))


def read_once(array: NDArray[Any], pool: ThreadPoolExecutor) -> int:
    """Read every byte of a contiguous array, half of it by each of two threads."""
    words = array.reshape(-1).view(np.uint64)
    half = len(words) // 2
    other = pool.submit(_total, words[half:])
    return int(_total(words[:half]) ^ other.result())


@compiled
def _total(words: NDArray[np.uint64]) -> np.uint64:
    total = np.uint64(0)
    for i in range(words.shape[0]):
        total ^= words[i]
    return total


def _ms(side: Callable[[int], object], turn: int) -> float:
    start = time.perf_counter()
    side(turn)
    return (time.perf_counter() - start) * 1000


def _tables(data: dict[str, Any]) -> list[Table]:
    exact = {
        "people": "{people:,}",
        "numbers": "{dimension}",
        "vectors": "{kind}",
        "one lookup": "{one_ms:.2f}",
        "floor, float32": "{floor_ms:.2f}",
        "floor, codes": "{code_floor_ms:.2f}",
        "lookup / float32 floor": "{over_floor:.2f}",
        "numpy product": "{numpy_product_ms:.2f}",
        "32 lookups at once": "{queries_32_ms:.2f}",
        "32 one by one / at once": "{many_gain:.1f}",
        "recall": "{recall:.3f}",
        "bytes read": "{lookup_bytes:,}",
        "bytes of templates": "{template_bytes:,}",
    }
    chroma = {
        "people": "{people:,}",
        "numbers": "{dimension}",
        "vectors": "{kind}",
        "exact lookup": "{exact_ms:.2f}",
        "Chroma lookup": "{chroma_ms:.2f}",
        "Chroma recall": "{chroma_recall:.3f}",
        "built in s": "{build_s:.0f}",
        "bytes on disk": "{disk_bytes:,}",
    }
    note = f"ms, medians of {data['rounds']} rounds in turn; ratios are medians of the rounds'. Bytes beside ids."
    return [
        Table("Lookup", list(exact), [[form.format(**row) for form in exact.values()] for row in data["rows"]], note),
        Table(
            "The approximate index",
            list(chroma),
            [[form.format(**row) for form in chroma.values()] for row in data["approximate"]],
            "Sizes that are not here were not measured.",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
