"""The gallery: lookup in the mirror against reading its memory once, how soon an enrolment is seen, Chroma's pace.

The lookup's floor is what one pass of the same product over the matrix takes, alternating with it in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attendance.gallery import PersonChange, apply_changes, open_for_writing, rebuild
from attendance.ledger.sqlite import SqliteLedger
from attendance.mirror import MirrorFollower, load_mirror
from attendance.search.chroma import ChromaStore
from attendance.search.exact import ExactGallery
from attendance.types import Consent, GalleryEntry, Person, Template
from benchmarks.report import Table, write_result

ROUNDS = 15
FOLLOW_S = 1.0
DIMENSION = 128
ROOT = Path(__file__).parents[1]

WRITER = """
import sys, time
from pathlib import Path
from attendance.gallery import PersonChange, apply_changes, open_for_writing
from benchmarks.gallery import made_person, open_stores
ledger, store = open_stores(Path(sys.argv[1]))
with ledger, open_for_writing(ledger, store) as gallery:
    for number in range(100_000, 100_000 + int(sys.argv[2])):
        sys.stdin.readline()
        apply_changes(ledger, gallery, [PersonChange(None, made_person(number))])
        print(time.time(), flush=True)
"""


def made_vectors(seed: int, count: int, dimension: int) -> NDArray[np.float32]:
    """Random unit vectors (count, dimension)."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def made_person(number: int) -> Person:
    """A person with five random templates."""
    now = datetime.now(UTC)
    rows = made_vectors(number, 5, DIMENSION)
    templates = tuple(
        Template(f"t-{number}-{n}", row, "bench", "bench", f"{n}.jpg", "0" * 64, "bench", now)
        for n, row in enumerate(rows)
    )
    return Person(
        f"person-{number}", f"ref-{number}", 1, now, Consent("attested", "", now, "bench"), templates=templates
    )


def open_stores(folder: Path) -> tuple[SqliteLedger, ChromaStore]:
    """A ledger and a Chroma store in the folder, with the product's own settings."""
    ledger = SqliteLedger(folder / "ledger.sqlite", cooldown_s=300.0, time_zones={})
    return ledger, ChromaStore(folder / "chroma", "bench", DIMENSION)


def lookup(templates: int, dimension: int) -> dict[str, float]:
    """Median milliseconds of one lookup among ``templates`` vectors (five a person), of its floor, and the memory."""
    rows = made_vectors(1, templates, dimension)
    gallery = ExactGallery("bench", dimension)
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n // 5}", row) for n, row in enumerate(rows)])
    queries = made_vectors(2, 32, dimension)
    ours: list[float] = []
    floor: list[float] = []
    many: list[float] = []
    for turn in range(ROUNDS):
        query = queries[turn : turn + 1]
        ours.append(_milliseconds(partial(gallery.nearest, query, k=5)))
        floor.append(_milliseconds(partial(np.matmul, rows, query[0])))
        many.append(_milliseconds(partial(gallery.nearest, queries, k=5)))
    one, least = statistics.median(ours), statistics.median(floor)
    return {
        "templates": templates,
        "dimension": dimension,
        "lookup_ms": one,
        "floor_ms": least,
        "over_floor": one / least,
        "queries_32_ms": statistics.median(many),
        "matrix_mb": rows.nbytes / 1e6,
    }


def _milliseconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def stores(folder: Path, people: int) -> dict[str, float]:
    """Seconds to enrol people one by one, to rebuild Chroma from the ledger, and to load the mirror."""
    ledger, store = open_stores(folder)
    with ledger:
        begun = time.perf_counter()
        with open_for_writing(ledger, store) as gallery:
            opened = time.perf_counter()
            for number in range(people):
                apply_changes(ledger, gallery, [PersonChange(None, made_person(number))])
            enrolled = time.perf_counter()
        closed = time.perf_counter()
        rebuild(ledger, store)
        rebuilt = time.perf_counter()
        load_mirror(ledger, store.open, card_id="bench", dimension=DIMENSION)
        loaded = time.perf_counter()
    return {
        "people": people,
        "first_opening_s": opened - begun,
        "enrol_one_person_ms": 1000 * (enrolled - opened) / people,
        "rebuild_s": rebuilt - closed,
        "load_mirror_s": loaded - rebuilt,
    }


def follow(folder: Path, rounds: int) -> list[float]:
    """Seconds from the end of a write by another process to the moment when the mirror names the person."""
    ledger, store = open_stores(folder)
    delays: list[float] = []
    with ledger:
        mirror = load_mirror(ledger, store.open, card_id="bench", dimension=DIMENSION)
        follower = MirrorFollower(ledger, mirror, follow_s=FOLLOW_S)
        follower.start()
        command = [sys.executable, "-c", WRITER, str(folder), str(rounds)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            for number in range(100_000, 100_000 + rounds):
                writer.stdin.write("\n")
                writer.stdin.flush()
                written = float(writer.stdout.readline())
                query = made_person(number).templates[0].vector[None]
                while follower.mirror.nearest(query, k=1)[0][0].identity_id != f"person-{number}":
                    time.sleep(0.005)
                delays.append(time.time() - written)
        follower.stop()
    return delays


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gallery", description=__doc__)
    parser.add_argument("--people", type=int, default=1000, help="people with five templates in the stores (1000)")
    parser.add_argument("--rounds", type=int, default=20, help="enrolments that a follower waits for (20)")
    arguments = parser.parse_args(argv)
    lookups = [lookup(n, d) for d in (128, 512) for n in (1_000, 10_000, 100_000)]
    with tempfile.TemporaryDirectory() as folder:
        timings = stores(Path(folder), arguments.people)
        delays = sorted(follow(Path(folder), arguments.rounds))
    seen = {"follow_s": FOLLOW_S, "median_s": statistics.median(delays), "longest_s": delays[-1], "rounds": len(delays)}
    tables = [
        Table("Lookup, k = 5 people", list(lookups[0]), [[f"{v:.4g}" for v in row.values()] for row in lookups]),
        Table("Stores", list(timings), [[f"{v:.4g}" for v in timings.values()]]),
        Table("Seen by a follower in another process", list(seen), [[f"{v:.4g}" for v in seen.values()]]),
    ]
    for table in tables:
        print(table.title, *[" ".join(row) for row in [table.columns, *table.rows]], sep="\n  ")
    data = {"lookup": lookups, "stores": timings, "follower": {**seen, "delays_s": delays}}
    command = "python -m benchmarks gallery"
    write_result("gallery", "Search and the gallery", tables=tables, data=data, command=command)
    return 0 if delays[-1] <= 2.0 else 1


if __name__ == "__main__":
    sys.exit(main())
