"""From frames to people, beside a pipeline of facenet-pytorch's own parts.

One person after the other at 640x360. Theirs: MTCNN on every frame and an embedding of every face, one by one,
by InceptionResnetV1 as the package builds it (random weights: they cost the same time) or by our embedder's network in
torch's default layout. Ours: the live path with its defaults, from frame to decision, the gallery lookup included.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from attendance.align import align, facenet_160
from attendance.app import App
from attendance.config import load
from attendance.detect.mtcnn import MtcnnDetector
from attendance.embed.dlib import find_weights, read_weights
from attendance.nets.dlib_resnet29 import DlibResNet29
from attendance.types import Face, RGBImage
from benchmarks import detection_speed
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.reference_mtcnn import ReferenceMtcnn
from benchmarks.report import Table, write_result
from benchmarks.tracking import enrolled_gallery
from benchmarks.tracking_videos import Maker, Video

COMMAND = "python -m benchmarks endtoend"
SEED = 11
REFERENCE_FRAMES = 30
VIDEO_AT_LEAST = 10.0

Embed = Callable[[RGBImage, Face], object]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    arguments = _parser().parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    settings = load(None, environment={})
    torch.set_num_threads(settings.model.threads)
    with App(settings) as app:
        reference = ReferenceMtcnn(
            min_face_px=settings.detect.min_face_px, suppress=detection_speed.compiled_suppression
        )
        assert isinstance(app.detector, MtcnnDetector)
        video = Maker(lfw, arguments.half, app.detector, seed=SEED).in_turn(3)
        embedders = their_embedders()
        rows = []
        for name, embed in embedders.items():
            rows.append({"what": "video", "embedder": name, **_video(app, video, reference, embed, arguments.rounds)})
            print(rows[-1], flush=True)
    promises = {"video": all(row["ratio"] >= VIDEO_AT_LEAST for row in rows)}
    data = {"rounds": arguments.rounds, "rows": rows, "promises": promises}
    if arguments.half == "report":
        title = "End to end, beside a pipeline of facenet-pytorch's parts"
        write_result(
            "endtoend", title, tables=[_table(data)], data=data, command=COMMAND, threads=settings.model.threads
        )
    print(promises)
    return 0 if all(promises.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="End to end, beside facenet-pytorch.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos; tune writes no result")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (5)")
    return parser


def _video(app: App, video: Video, reference: ReferenceMtcnn, embed: Embed, rounds: int) -> dict[str, Any]:
    gallery = enrolled_gallery(app, video)
    spread = [video.frames[i] for i in np.linspace(0, len(video.frames) - 1, REFERENCE_FRAMES).astype(int)]

    def theirs() -> None:
        for image in spread:
            for face in detected(reference, image):
                embed(image, face)

    def ours() -> None:
        path = app.live_path(gallery)
        for frame in video.timed():
            path.process(frame)
        path.finish()

    return compared(theirs, ours, len(spread), len(video.frames), rounds)


def compared(
    theirs: Callable[[], None], ours: Callable[[], None], their_count: int, our_count: int, rounds: int
) -> dict[str, Any]:
    """Both sides in turn; ms a frame or photo, and the median, least and most of the rounds' ratios."""
    times = [(_ms(theirs) / their_count, _ms(ours) / our_count) for _ in range(rounds + 1)][1:]
    ratios = [their / our for their, our in times]
    return {
        "reference_ms": median(their for their, _ in times),
        "ours_ms": median(our for _, our in times),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def their_embedders() -> dict[str, Embed]:
    """What the other pipeline may embed by, one face at a time, by name."""
    return {"InceptionResnetV1": _facenet(), "our embedder's network": _ours_plain()}


def detected(reference: ReferenceMtcnn, image: RGBImage) -> list[Face]:
    """The faces that the other pipeline finds."""
    boxes, scores, points = reference.detect(image)
    return [Face(box, float(score), five) for box, score, five in zip(boxes, scores, points, strict=True)]


def _facenet() -> Embed:
    """The package's own network, made as it makes it without weights."""
    network = importlib.import_module("facenet_pytorch").InceptionResnetV1(pretrained=None).eval()
    return _embedding(network, lambda image, face: align(image, [face], facenet_160()))


def _ours_plain() -> Embed:
    """The default embedder's network in torch's default layout; its chips are of another size, so they are resized."""
    network = DlibResNet29()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in read_weights(find_weights().read_bytes()).items()})
    return _embedding(network.eval(), lambda image, face: align(image, [face], facenet_160())[:, 5:155, 5:155])


def _embedding(network: torch.nn.Module, chip: Callable[[RGBImage, Face], RGBImage]) -> Embed:
    def embed(image: RGBImage, face: Face) -> object:
        pixels = torch.from_numpy(np.ascontiguousarray(chip(image, face))).permute(0, 3, 1, 2).float().contiguous()
        with torch.no_grad():
            return network((pixels - 127.5) / 128.0).numpy()

    return embed


def _ms(side: Callable[[], None]) -> float:
    start = time.perf_counter()
    side()
    return (time.perf_counter() - start) * 1000


def _table(data: dict[str, Any]) -> Table:
    rows = [
        (
            row["what"],
            row["embedder"],
            f"{row['reference_ms']:.1f}",
            f"{row['ours_ms']:.2f}",
            f"{row['ratio']:.1f} ({row['lowest']:.1f} to {row['highest']:.1f})",
        )
        for row in data["rows"]
    ]
    note = (
        f"ms a frame, medians of {data['rounds']} rounds in turn; the ratio is the median of the rounds'. "
        "Ours embeds each face and its mirror image, theirs the face alone."
    )
    return Table("Frames", ("what", "their embedder", "theirs", "ours", "theirs / ours"), rows, note)


if __name__ == "__main__":
    sys.exit(main())
