"""What a frame costs as faces, pixels and cameras become more; and the memory that this takes. Gallery: see `search`.

Faces sway in a still room (`scenes`). In turn: a pipeline of facenet-pytorch's MTCNN and an embedding of every face
(`reference_pipeline`); our cascade and embedder on every frame; and the live path as a kiosk runs it, with tracking.
Each point is measured in a process of its own; memory is that process's before the reference is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch

from attendance.app import App
from attendance.config import load
from attendance.pipeline import LivePath, process_together
from attendance.search.exact import ExactGallery
from attendance.types import Frame, GalleryEntry, RGBImage
from benchmarks.pieces import Measured, Options, Part, needs_photos, run
from benchmarks.rates import resident_mb, seconds_of
from benchmarks.reference_pipeline import ReferencePipeline
from benchmarks.report import Table
from benchmarks.scenes import Scene, portraits

FACES = (1, 2, 4, 8, 16, 32)
SIZES = {"640x360": (640, 360), "1280x720": (1280, 720), "1920x1080": (1920, 1080), "3840x2160": (3840, 2160)}
CAMERAS = (1, 2, 4, 8, 16)
FACES_AT_SIZES = 2
LIVE_FRAMES = 30
SEARCHED_FRAMES = 2
STRANGERS = 1000
CAMERA_FPS = 30.0
PROMISED_FACES, FRAMES_A_SECOND = 8, 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result; 1 where a promise is missed."""
    return run(PART, argv)


def faces(count: int) -> Callable[[Options], Measured]:
    """So many faces at 1920x1080."""

    def measure(options: Options) -> Measured:
        scene = Scene(SIZES["1920x1080"], portraits(options.lfw, count))
        return {"faces": count, **_scene(scene, options.rounds)}

    return measure


def size(name: str) -> Callable[[Options], Measured]:
    """Two faces in a picture of this size."""

    def measure(options: Options) -> Measured:
        scene = Scene(SIZES[name], portraits(options.lfw, FACES_AT_SIZES))
        return {"size": name, **_scene(scene, options.rounds)}

    return measure


def _scene(scene: Scene, rounds: int) -> Measured:
    settings = load(None, environment={})
    torch.set_num_threads(settings.model.threads)
    with App(settings) as app:
        gallery = _strangers(app)
        pictures = [scene.picture(second) for second in np.linspace(0.0, 2.0, SEARCHED_FRAMES).tolist()]
        live = _Live([app.live_path(gallery)], [scene])
        ours = partial(_every_frame, app, gallery, pictures)
        ours()
        live.seconds(LIVE_FRAMES)
        memory = resident_mb()
        reference = ReferencePipeline(min_face_px=settings.detect.min_face_px)
        theirs = partial(_run_each, reference, pictures)
        times = [
            (
                seconds_of(theirs) / len(pictures),
                seconds_of(ours) / len(pictures),
                live.seconds(LIVE_FRAMES) / LIVE_FRAMES,
            )
            for _ in range(rounds + 1)
        ][1:]
        found = len(app.detector.detect(pictures[:1])[0])
    return {
        "faces_found": found,
        "reference_ms": 1e3 * median(t[0] for t in times),
        "every_frame_ms": 1e3 * median(t[1] for t in times),
        "live_ms": 1e3 * median(t[2] for t in times),
        "every_frame_ratio": median(t[0] / t[1] for t in times),
        "live_ratio": median(t[0] / t[2] for t in times),
        "memory_mb": memory,
    }


def cameras(count: int) -> Callable[[Options], Measured]:
    """So many cameras of 640x360 in one process: a person before each, before one alone, and before none."""

    def measure(options: Options) -> Measured:
        settings = load(None, environment={})
        torch.set_num_threads(settings.model.threads)
        people = portraits(options.lfw, count)
        empty = Scene(SIZES["640x360"], ())
        busy = [Scene(SIZES["640x360"], [person]) for person in people]
        with App(settings) as app:
            gallery = _strangers(app)
            sides = {
                "busy": _Live([app.live_path(gallery) for _ in busy], busy),
                "one_busy": _Live([app.live_path(gallery) for _ in busy], [busy[0], *[empty] * (count - 1)]),
                "idle": _Live([app.live_path(gallery) for _ in busy], [empty] * count),
            }
            for side in sides.values():
                side.seconds(LIVE_FRAMES)
            memory = resident_mb()
            times = [
                [side.seconds(LIVE_FRAMES) / LIVE_FRAMES for side in sides.values()] for _ in range(options.rounds)
            ]
        medians = [median(turn[i] for turn in times) for i in range(len(sides))]
        return {
            "cameras": count,
            **{f"{name}_ms": 1e3 * value for name, value in zip(sides, medians, strict=True)},
            "frames_a_second": count / medians[0],
            "share_at_30": medians[0] * CAMERA_FPS,
            "memory_mb": memory,
        }

    return measure


class _Live:
    """Cameras that go on where they were, so that what is timed is the steady state. Pictures are made untimed."""

    def __init__(self, paths: Sequence[LivePath], scenes: Sequence[Scene]) -> None:
        self._paths, self._scenes = paths, scenes
        self._next = 0

    def seconds(self, frames: int) -> float:
        """Seconds in the path for the next frames of every camera."""
        spent = 0.0
        for pictures in zip(*self._streams(frames), strict=True):
            work = list(zip(self._paths, pictures, strict=True))
            spent += seconds_of(partial(process_together, work))
        self._next += frames
        return spent

    def _streams(self, frames: int) -> list[Iterator[Frame]]:
        return [
            scene.frames(frames, first=self._next, camera_id=f"camera-{number}")
            for number, scene in enumerate(self._scenes)
        ]


def _strangers(app: App) -> ExactGallery:
    """A gallery in which nobody of the scene is."""
    gallery = ExactGallery(app.card.id, app.card.dimension)
    vectors = np.random.default_rng(0).standard_normal((STRANGERS, app.card.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery.upsert([GalleryEntry(f"t-{n}", f"person-{n:04d}", row) for n, row in enumerate(vectors)])
    return gallery


def _every_frame(app: App, gallery: ExactGallery, pictures: Sequence[RGBImage]) -> None:
    for picture in pictures:
        found = app.reader.detect([picture])
        vectors = app.reader.embed([picture], found)[0]
        if len(vectors):
            gallery.nearest(vectors, k=2)


def _run_each(reference: ReferencePipeline, pictures: Sequence[RGBImage]) -> None:
    for picture in pictures:
        reference.run(picture)


def _conclude(found: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    data = {kind: [found[f"{kind}-{each}"] for each in points] for kind, points in POINTS.items()}
    eight = next(row for row in data["faces"] if row["faces"] == PROMISED_FACES)
    promises = {"eight_faces_20_frames_a_second": eight["live_ms"] <= 1e3 / FRAMES_A_SECOND}
    return {**data, "promises": promises}, tables(data)


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    columns = ("faces found", "reference", "ours, every frame", "live path", "reference / every frame", "/ live", "MB")

    def row(each: Measured) -> tuple[str, ...]:
        return (
            str(each["faces_found"]),
            f"{each['reference_ms']:.1f}",
            f"{each['every_frame_ms']:.1f}",
            f"{each['live_ms']:.2f}",
            f"{each['every_frame_ratio']:.1f}",
            f"{each['live_ratio']:.1f}",
            f"{each['memory_mb']:.0f}",
        )

    camera_rows = [
        (
            str(each["cameras"]),
            *(f"{each[key]:.2f}" for key in ("busy_ms", "one_busy_ms", "idle_ms")),
            f"{each['frames_a_second']:.0f}",
            f"{100 * each['share_at_30']:.0f} %",
            f"{each['memory_mb']:.0f}",
        )
        for each in data["cameras"]
    ]
    note = "ms a frame; medians of rounds in turn, ratios are medians of the rounds'. MB: memory without the reference."
    promised = f"Promised: the live path takes {PROMISED_FACES} faces at {FRAMES_A_SECOND:g} frames a second."
    face_rows = [(str(each["faces"]), *row(each)) for each in data["faces"]]
    return (
        Table("Faces in a frame of 1920x1080", ("faces", *columns), face_rows, f"{note} {promised}"),
        Table(
            f"Size of a frame with {FACES_AT_SIZES} faces",
            ("frame", *columns),
            [(e["size"], *row(e)) for e in data["size"]],
            note,
        ),
        Table(
            "Cameras of 640x360 in one process",
            (
                "cameras",
                "a person before each",
                "before one of them",
                "before none",
                "frames a second, all busy",
                "of the time at 30 a second",
                "MB",
            ),
            camera_rows,
            "ms for one frame of every camera, the live path alone; decoding is not in it.",
        ),
    )


POINTS: Mapping[str, Sequence[object]] = {"faces": FACES, "size": tuple(SIZES), "cameras": CAMERAS}

PART = Part(
    name="curves",
    title="What a frame costs as faces, pixels and cameras become more",
    pieces={
        **{f"faces-{count}": faces(count) for count in FACES},
        **{f"size-{name}": size(name) for name in SIZES},
        **{f"cameras-{count}": cameras(count) for count in CAMERAS},
    },
    conclude=_conclude,
    threads=2,
    needs=needs_photos,
)


if __name__ == "__main__":
    sys.exit(main())
