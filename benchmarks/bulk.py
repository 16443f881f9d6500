"""Enrolment in bulk: 250-pixel photos to vectors, in one process and by workers, beside facenet-pytorch one by one.

Theirs: opened, detected by its MTCNN and embedded one by one, by InceptionResnetV1 as the package builds it (random
weights: they cost the same time) or by our embedder's network in torch's default layout, on the same threads. Ours: the
readers that enrolment uses, the workers started before; what starting takes is told apart.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from attendance.app import App
from attendance.cli.bulk import worker_reader
from attendance.config import load
from attendance.enrol import PooledReader, WorkerPool
from attendance.faces import FaceRule
from attendance.stills import StillReader
from attendance.types import RGBImage
from benchmarks import detection_speed
from benchmarks.endtoend import Embed, compared, detected, their_embedders
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.reference_mtcnn import ReferenceMtcnn
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks bulk"
WORKERS = 2
AT_LEAST = 4.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where the promise is missed."""
    arguments = _parser().parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    people = lfw.people(arguments.half)
    photos = [people[name][0] for name in sorted(people)][: arguments.photos]
    settings = load(None, environment={})
    torch.set_num_threads(settings.model.threads)
    pool = WorkerPool(functools.partial(worker_reader, App, settings), WORKERS)
    with App(settings) as app, pool:
        alone = app.stills(rule=FaceRule.LARGEST, strict=True)
        together = PooledReader(lambda: app.reader, alone.options, pool=lambda: pool)
        began = time.perf_counter()
        same = _vectors(together, photos) == _vectors(alone, photos)
        start_s = time.perf_counter() - began
        rows = _rows(app, {"one process": alone, f"{WORKERS} workers": together}, photos, arguments)
    best = [row["ratio"] for row in rows if row["ours"] != "one process"]
    promises = {"photos": min(best) >= AT_LEAST, "same_vectors": same}
    data = {"rounds": arguments.rounds, "photos": len(photos), "first_pass_s": start_s, "rows": rows}
    data["promises"] = promises
    if arguments.half == "report":
        title = "Enrolment in bulk, beside a pipeline of facenet-pytorch's parts"
        write_result("bulk", title, tables=[_table(data)], data=data, command=COMMAND, threads=settings.model.threads)
    print(promises)
    return 0 if all(promises.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Enrolment in bulk, beside facenet-pytorch.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos; tune writes no result")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (5)")
    parser.add_argument("--photos", type=int, default=300, help="photos to enrol a round (300)")
    parser.add_argument("--theirs", type=int, default=60, help="of these so many by the other pipeline (60)")
    return parser


def _vectors(stills: StillReader, photos: Sequence[Path]) -> list[bytes | None]:
    return [None if reading.vector is None else reading.vector.tobytes() for reading in stills.read(photos)]


def _rows(
    app: App, readers: dict[str, StillReader], photos: Sequence[Path], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    reference = ReferenceMtcnn(
        min_face_px=app.settings.detect.min_face_px, suppress=detection_speed.compiled_suppression
    )
    few = photos[:: max(1, len(photos) // arguments.theirs)]
    rows = []
    for name, embed in their_embedders().items():
        for ours, stills in readers.items():
            sides = _theirs(reference, embed, few), functools.partial(_read, stills, photos)
            found = compared(*sides, len(few), len(photos), arguments.rounds)
            rows.append({"embedder": name, "ours": ours, **found})
            print(rows[-1], flush=True)
    return rows


def _read(stills: StillReader, photos: Sequence[Path]) -> None:
    for _ in stills.read(photos):
        pass


def _theirs(reference: ReferenceMtcnn, embed: Embed, photos: Sequence[Path]) -> Callable[[], None]:
    def read() -> None:
        for path in photos:
            with Image.open(path) as opened:
                image: RGBImage = np.asarray(opened.convert("RGB"))
            for face in detected(reference, image)[:1]:
                embed(image, face)

    return read


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            row["embedder"],
            row["ours"],
            f"{1000 / row['reference_ms']:.1f}",
            f"{1000 / row['ours_ms']:.1f}",
            f"{row['ratio']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})",
        )
        for row in data["rows"]
    ]
    note = (
        f"Photos a second, medians of {data['rounds']} rounds in turn over {data['photos']} photos (theirs over a part "
        "of them); the ratio is the median of the rounds'. Ours embeds each face and its mirror image, theirs the face "
        "alone."
    )
    return Table("Photos", ("their embedder", "ours by", "theirs", "ours", "ours / theirs"), rows, note)


if __name__ == "__main__":
    sys.exit(main())
