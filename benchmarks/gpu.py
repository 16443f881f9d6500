"""Detector, embedder and lookup on a CUDA device as a share of what it can do, and the cameras that one card serves.

Without a CUDA device nothing is measured and the result says so. With one: the device's matrix and memory rates, then
the cascade on batches of 1920x1080 frames of the street clip and the default embedder on batches of faces, both in
float32 and in half precision, call by call and replayed from graphs, and the exact lookup's product on the device;
cameras are frames of 1920x1080 that the live path of many cameras takes a second, over 30.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch

from attendance.app import App
from attendance.config import load
from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29
from attendance.pipeline import process_together
from attendance.search.exact import ExactGallery
from benchmarks import detection_speed
from benchmarks.counting import Cascade, multiply_adds
from benchmarks.pieces import Measured, Options, Part, run
from benchmarks.rates import seconds_of
from benchmarks.report import Table
from benchmarks.scenes import Scene, portraits
from benchmarks.tracking_videos import STREET

SIDE = 8192
MEMORY_BYTES = 2**31
FRAMES_AT_ONCE, FACES_AT_ONCE, CAMERAS = (1, 8, 16), (1, 32, 256), (8, 16, 32)
PEOPLE, DIMENSION, QUERIES = 1_000_000, 512, 32
CAMERA_FPS = 30.0
FULL_HD = (1920, 1080)
WAYS = tuple((precision, launch) for precision in ("fp32", "fp16") for launch in ("calls", "graphs"))
NO_DEVICE = {"missing": "not measured: no CUDA device"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result."""
    return run(PART, argv)


def on_device(measure: Callable[[Options], Measured]) -> Callable[[Options], Measured]:
    """The piece, or that there is no device."""
    return lambda options: measure(options) if torch.cuda.is_available() else dict(NO_DEVICE)


def machine(options: Options) -> Measured:
    """The device's rates: products in float32 (TensorFloat off) and half precision, and a copy's bytes."""
    rates = {}
    for name, kind in (("float32", torch.float32), ("float16", torch.float16)):
        a = torch.randn(SIDE, SIDE, device="cuda", dtype=kind)
        rates[name] = SIDE**3 / _seconds(partial(torch.mm, a, a), options.rounds)
    source = torch.empty(MEMORY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    rates["memory"] = 2 * MEMORY_BYTES / _seconds(partial(target.copy_, source), options.rounds)
    return {"device": torch.cuda.get_device_name(), "rates": rates}


def detector(options: Options) -> Measured:
    """Frames of 1920x1080, faces from 40 px, several at once, in each way."""
    pictures = detection_speed.frames(STREET, FULL_HD)
    rows = []
    for way in WAYS:
        with _app(*way) as app:
            work = Cascade(app.detector, min_face_px=app.settings.detect.min_face_px).of(pictures[0])  # type: ignore[arg-type]
            for count in FRAMES_AT_ONCE:
                batch = [pictures[n % len(pictures)] for n in range(count)]
                seconds = _seconds(partial(app.detector.detect, batch), options.rounds)
                rows.append(_row(f"detector, {count} frames", way, work * count, seconds, count))
    return {"rows": rows}


def embedder(options: Options) -> Measured:
    """Aligned faces, several at once, in each way."""
    rows = []
    for way in WAYS:
        with _app(*way) as app:
            work = (2 if app.card.input.mirror else 1) * multiply_adds(DlibResNet29(), (1, 3, INPUT_PX, INPUT_PX))
            for count in FACES_AT_ONCE:
                chips = np.random.default_rng(count).integers(0, 256, (count, INPUT_PX, INPUT_PX, 3)).astype(np.uint8)
                seconds = _seconds(partial(app.embedder.embed, chips), options.rounds)
                rows.append(_row(f"embedder, {count} faces", way, work * count, seconds, count))
    return {"rows": rows}


def _row(what: str, way: tuple[str, str], work: int, seconds: float, items: int) -> Measured:
    precision, launch = way
    said = f"{what}, {precision}, {launch}"
    return {"what": said, "numbers": precision, "work": work, "seconds": seconds, "items": items}


def lookup(options: Options) -> Measured:
    """The product of queries with a million vectors and the two best of each, on the device; bound by memory."""
    vectors = torch.nn.functional.normalize(torch.randn(PEOPLE, DIMENSION, device="cuda"))
    rows = []
    for count in (1, QUERIES):
        queries = vectors[:count]
        seconds = _seconds(partial(_nearest, queries, vectors), options.rounds)
        size = vectors.numel() * vectors.element_size()
        rows.append({"what": f"product, {count} queries", "bytes": size, "seconds": seconds, "items": count})
    return {"rows": rows}


def _nearest(queries: torch.Tensor, vectors: torch.Tensor) -> object:
    return torch.topk(queries @ vectors.T, 2)


def cameras(options: Options) -> Measured:
    """The live path of many cameras of 1920x1080, two people before each, pictures in memory."""
    rows = []
    people = portraits(options.lfw, 2)
    with _app() as app:
        gallery = ExactGallery(app.card.id, app.card.dimension)
        scene = Scene(FULL_HD, people)
        for count in CAMERAS:
            paths = [app.live_path(gallery) for _ in range(count)]
            frames = list(scene.frames(20 * (options.rounds + 1)))
            spent = [seconds_of(partial(process_together, [(path, frame) for path in paths])) for frame in frames]
            rows.append({"cameras": count, "frames_a_second": count / median(spent[20:])})
    return {"rows": rows}


def _app(precision: str = "fp32", launch: str = "calls") -> App:
    overrides = {"model.device": "cuda", "model.precision": precision, "model.launch": launch}
    return App(load(None, environment={}, overrides=overrides))


def _seconds(call: Callable[[], object], rounds: int) -> float:
    """Median seconds of a call, the device waited for, after three that warm up."""

    def whole() -> None:
        call()
        torch.cuda.synchronize()

    return median([seconds_of(whole) for _ in range(3 + max(rounds, 5))][3:])


def _conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    data = {"pieces": found, "promises": {}}
    return data, tables(data)


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    found = data["pieces"]
    if "missing" in found["machine"]:
        return (
            Table(
                "On a CUDA device", ("what", "measured"), [(name, piece["missing"]) for name, piece in found.items()]
            ),
        )
    rates = found["machine"]["rates"]
    rows = [
        ("float32 products", f"{rates['float32'] / 1e12:.1f} million million multiply-adds a second", ""),
        ("float16 products", f"{rates['float16'] / 1e12:.1f} million million multiply-adds a second", ""),
        ("memory", f"{rates['memory'] / 1e9:.0f} billion bytes a second", ""),
    ]
    for name in ("detector", "embedder", "lookup"):
        for row in found[name]["rows"]:
            rate = rates["float16" if row.get("numbers") == "fp16" else "float32"]
            least = row["work"] / rate if "work" in row else row["bytes"] / rates["memory"]
            a_second = f"{row['items'] / row['seconds']:.0f} a second"
            rows.append((row["what"], a_second, f"{100 * least / row['seconds']:.1f} % of the limit"))
    for row in found["cameras"]["rows"]:
        served = row["frames_a_second"] / CAMERA_FPS
        rows.append(
            (
                f"live path, {row['cameras']} cameras",
                f"{row['frames_a_second']:.0f} frames a second",
                f"{served:.1f} cameras",
            )
        )
    note = (
        f"{found['machine']['device']}. Cameras: of 1920x1080 at {CAMERA_FPS:g} frames a second, decoding not counted."
    )
    return (Table("On a CUDA device", ("what", "measured", "of the limit"), rows, note),)


PIECES = {"machine": machine, "detector": detector, "embedder": embedder, "lookup": lookup, "cameras": cameras}

PART = Part(
    name="gpu",
    title="On a CUDA device",
    pieces={name: on_device(piece) for name, piece in PIECES.items()},
    conclude=_conclude,
    threads=2,
)


if __name__ == "__main__":
    sys.exit(main())
