"""Frames of many cameras in one call beside one camera after the other: the same work, in larger batches.

Each camera shows the same generated room at another moment, so that people come and go at different times. Rounds
alternate: every camera's path takes its frame by itself, then all of them take theirs together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import torch

from attendance.app import App
from attendance.config import load
from attendance.pipeline import LivePath, process_together
from attendance.search.exact import ExactGallery
from attendance.types import Frame
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.report import Table, write_result
from benchmarks.tracking import enrolled_gallery
from benchmarks.tracking_videos import BEGIN, FPS, Maker, Video

COMMAND = "python -m benchmarks together"
SEED = 13
FRAMES = 60
STRIDE = 23  # frames between what two neighbouring cameras show

Work = Sequence[tuple[LivePath, Frame]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every number of cameras, write the result."""
    arguments = _parser().parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    settings = load(None, environment={})
    torch.set_num_threads(settings.model.threads)
    rows = []
    with App(settings) as app:
        video = Maker(lfw, arguments.half, app.detector, seed=SEED).in_turn(3)
        gallery = enrolled_gallery(app, video)
        for cameras in arguments.cameras:
            rows.append(_measure(app, gallery, video, cameras, arguments.rounds))
            print(rows[-1], flush=True)
    if arguments.half == "report":
        title = "Frames of many cameras in one call, beside one after the other"
        data = {"rounds": arguments.rounds, "frames": FRAMES, "cameras": rows}
        write_result(
            "together", title, tables=[_table(data)], data=data, command=COMMAND, threads=settings.model.threads
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Frames of many cameras in one call.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos; tune writes no result")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (5)")
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 8, 16], metavar="N", help="numbers of cameras")
    return parser


def _measure(app: App, gallery: ExactGallery, video: Video, cameras: int, rounds: int) -> dict[str, Any]:
    def alone(work: Work) -> None:
        for path, frame in work:
            path.process(frame)

    times = [
        [_ms_a_frame(app, gallery, video, cameras, step) for step in (alone, process_together)]
        for _ in range(rounds + 1)
    ][1:]
    ratios = [one_by_one / together for one_by_one, together in times]
    return {
        "cameras": cameras,
        "one_by_one_ms": median(t[0] for t in times),
        "together_ms": median(t[1] for t in times),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _ms_a_frame(app: App, gallery: ExactGallery, video: Video, cameras: int, step: Callable[[Work], object]) -> float:
    """ms a camera's frame, averaged over all of them."""
    paths = [app.live_path(gallery) for _ in range(cameras)]
    spent = 0.0
    for index in range(FRAMES):
        moment = BEGIN + timedelta(seconds=index / FPS)
        images = [video.frames[(index + STRIDE * camera) % len(video.frames)] for camera in range(cameras)]
        work = [(path, Frame(image, moment, index, "video")) for path, image in zip(paths, images, strict=True)]
        start = time.perf_counter()
        step(work)
        spent += time.perf_counter() - start
    return spent * 1000 / (FRAMES * cameras)


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            str(row["cameras"]),
            f"{row['one_by_one_ms']:.2f}",
            f"{row['together_ms']:.2f}",
            f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})",
        )
        for row in data["cameras"]
    ]
    note = (
        f"ms a camera's frame of 640x360, medians of {data['rounds']} rounds in turn over {data['frames']} frames of "
        "each camera; the ratio is the median of the rounds'."
    )
    return Table("Together", ("cameras", "one by one", "together", "one by one / together"), rows, note)


if __name__ == "__main__":
    sys.exit(main())
