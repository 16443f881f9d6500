"""The exact lookup against the memory it must read: 1,000 to 1,000,000 people, 128 and 512 numbers, one query and 32.

The floor is reading every byte of the float32 vectors once, with two threads, measured in turn with the lookup; the
same for the eight-bit codes, a quarter of it. Vectors are random, or drawn about a common direction as faces are, where
everybody resembles everybody. Every answer is compared with float64 cosines of all, sorted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, takewhile
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.search.exact import ExactGallery
from attendance.types import Float32, GalleryEntry
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks search"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS = (128, 512)
QUERIES = 32
NEAREST = 2
LOAD_AT_ONCE = 50_000
OVER_FLOOR_AT_MOST = 1.5

COMMON = 0.92
"""Length of the common part of the face-like vectors: two strangers' cosine is about its square, 0.85."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every size, write the result; 1 where an answer is wrong or 100,000 people take too long."""
    arguments = _parser().parse_args(argv)
    rows = []
    for dimension in arguments.dimensions:
        for people in arguments.sizes:
            for kind in ("random", "face-like"):
                rows.append(measure(people, dimension, kind, arguments.rounds))
                print(rows[-1], flush=True)
    judged = [row for row in rows if row["people"] == 100_000]
    promises = {
        "recall": all(row["recall"] == 1.0 for row in rows),
        "over_floor": all(row["over_floor"] <= OVER_FLOOR_AT_MOST for row in judged),
    }
    data = {"rounds": arguments.rounds, "rows": rows, "promises": promises}
    if not arguments.dry:
        write_result(
            "search", "The exact lookup against the memory floor", tables=[_table(data)], data=data, command=COMMAND
        )
    print(promises)
    return 0 if all(promises.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Exact lookup against the memory floor.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="people in the gallery")
    parser.add_argument("--dimensions", type=int, nargs="+", default=DIMENSIONS, metavar="D")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each side (15)")
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser


def made_vectors(people: int, dimension: int, kind: str) -> Float32:
    """Unit vectors (people, dimension)."""
    rng = np.random.default_rng(people + dimension)
    rows = rng.standard_normal((people, dimension), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if kind == "face-like":
        rows *= np.float32(np.sqrt(1.0 - COMMON**2))
        rows[:, 0] += np.float32(COMMON)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def measure(people: int, dimension: int, kind: str, rounds: int) -> dict[str, Any]:
    """One row: medians in ms, the ratio to the floor as the median of the rounds', and the recall."""
    vectors = made_vectors(people, dimension, kind)
    gallery = ExactGallery("bench", dimension)
    for start in takewhile(lambda at: at < people, count(0, LOAD_AT_ONCE)):
        part = vectors[start : start + LOAD_AT_ONCE]
        gallery.upsert([GalleryEntry(f"t-{start + n}", f"person-{start + n:07d}", row) for n, row in enumerate(part)])
    queries = _queries(vectors)
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
    one, floor, code_floor, product, many = (median(turn[i] for turn in times) for i in range(5))
    return {
        "people": people,
        "dimension": dimension,
        "kind": kind,
        "one_ms": one,
        "floor_ms": floor,
        "code_floor_ms": code_floor,
        "numpy_product_ms": product,
        "over_floor": median(turn[0] / turn[1] for turn in times),
        "queries_32_ms": many,
        "recall": _recall(gallery, vectors, queries),
        "memory_mb": vectors.nbytes * 1.25 / 1e6,
    }


def _queries(vectors: Float32) -> Float32:
    """People of the gallery, somewhat changed."""
    rng = np.random.default_rng(1)
    chosen = vectors[rng.integers(0, len(vectors), QUERIES)]
    changed = chosen + np.float32(0.2 / np.sqrt(vectors.shape[1])) * rng.standard_normal(chosen.shape, np.float32)
    unit: Float32 = changed / np.linalg.norm(changed, axis=1, keepdims=True)
    return unit


def _recall(gallery: ExactGallery, vectors: Float32, queries: Float32) -> float:
    """Share of the nearest people, by float64 cosines of everybody, that are found, alone and together."""
    right = 0
    together = gallery.nearest(queries, k=NEAREST)
    for query, found in zip(queries, together, strict=True):
        cosines = np.concatenate([part.astype(np.float64) @ query for part in np.array_split(vectors, 20)])
        best = set(np.argpartition(-cosines, NEAREST)[:NEAREST].tolist())
        for answer in (found, gallery.nearest(query[None], k=NEAREST)[0]):
            right += sum(int(candidate.identity_id.removeprefix("person-")) in best for candidate in answer)
    return right / (2 * NEAREST * len(queries))


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


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            f"{row['people']:,}",
            str(row["dimension"]),
            row["kind"],
            f"{row['one_ms']:.2f}",
            f"{row['floor_ms']:.2f}",
            f"{row['code_floor_ms']:.2f}",
            f"{row['over_floor']:.2f}",
            f"{row['numpy_product_ms']:.2f}",
            f"{row['queries_32_ms']:.1f}",
            f"{row['recall']:.3f}",
            f"{row['memory_mb']:.0f}",
        )
        for row in data["rows"]
    ]
    columns = (
        "people",
        "numbers",
        "vectors",
        "one lookup",
        "floor, float32",
        "floor, codes",
        "lookup / float32 floor",
        "numpy product",
        "32 lookups at once",
        "recall",
        "MB",
    )
    note = (
        f"ms, medians of {data['rounds']} rounds in turn; the ratio is the median of the rounds'. MB: mean directions "
        "and codes; templates come on top. Below 16,384 people one lookup is the float32 product."
    )
    return Table("Lookup", columns, rows, note)


if __name__ == "__main__":
    sys.exit(main())
