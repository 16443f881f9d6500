"""Photos to vectors through the product's own steps, so that what is judged is what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.app import App
from attendance.config import Settings
from attendance.embed.port import Embedder
from attendance.embed.registry import card_paths
from attendance.errors import ImageError, UsageError
from attendance.faces import FaceRule
from attendance.images import Photo, read_photo
from attendance.stills import Reading, StillOptions, StillReader
from attendance.types import Float32, RefusalReason, RGBImage

QUALITY_OFF = "off"


class PhotoReader(Protocol):
    """Reads photos: one reading per path, in order; what cannot be read is a reading with a reason."""

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """See the class."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo that gave no vector: where, the reason code, and a sentence."""

    path: Path
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """What N photos gave: ``vectors`` (N, D) float32 of unit length, rows of zeros where ``read`` (N,) is false."""

    vectors: Float32
    read: NDArray[np.bool_]
    failures: tuple[Failure, ...]


def read_vectors(
    reader: PhotoReader,
    paths: Sequence[Path],
    dimension: int,
    *,
    progress: Callable[[Iterable[Reading]], Iterable[Reading]] = iter,
) -> Vectors:
    """Read each photo once.

    Args:
        reader: reads them in batches.
        paths: N different photos.
        dimension: D of the reader's model.
        progress: wraps the readings, to show how far it is.
    """
    vectors = np.zeros((len(paths), dimension), dtype=np.float32)
    read = np.zeros(len(paths), dtype=bool)
    failures = []
    for index, reading in enumerate(progress(reader.read(paths))):
        if reading.vector is None:
            failures.append(Failure(reading.path, str(reading.reason), reading.detail))
        else:
            vectors[index], read[index] = reading.vector, True
    return Vectors(vectors, read, tuple(failures))


def failures_text(failures: Sequence[Failure], what: str) -> list[str]:
    """Lines for a person: how many failed for which reason, then each photo."""
    if not failures:
        return []
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(Counter(f.reason for f in failures).items()))
    listed = [f"  {failure.path}: {failure.reason}: {failure.detail}" for failure in failures]
    return [f"{len(failures)} {what} not read ({reasons})", *listed]


def open_app(settings: Settings, *, model_flag: str | None) -> App:
    """The configuration's objects; a model that was asked for by flag and does not exist is wrong use."""
    app = App(settings)
    # A store that lies here by chance has no say in which model is judged.
    app.noted = None
    known = card_paths(app.models_dir)
    if model_flag is not None and model_flag not in known:
        raise UsageError(f"--model {model_flag}: there is no such model; known are {', '.join(sorted(known))}")
    return app


def open_reader(app: App, *, aligned: bool, quality_level: str) -> PhotoReader:
    """A reader of the configured model's.

    Args:
        app: the objects of the configuration.
        aligned: the photos are crops already: they go to the model whole, scaled to its size.
        quality_level: gate that faces must pass to be read; no gate for crops, which have no points.
    """
    enrol = app.settings.enrol
    options = StillOptions(
        rule=FaceRule.CENTRE,
        strict=quality_level != QUALITY_OFF,
        quality_level=quality_level,
        max_pixels=enrol.max_pixels,
        max_side_px=enrol.max_side_px,
        batch_size=app.settings.model.batch_size,
    )
    return CropReader(app.embedder, options) if aligned else StillReader(lambda: app.reader, options)


class CropReader:
    """Reads photos that are aligned crops already: no detection, no alignment; a crop must be square."""

    def __init__(self, embedder: Embedder, options: StillOptions) -> None:
        self._embedder = embedder
        self._options = options

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """One reading per path, in order, embedded in batches."""
        batch: list[tuple[Path, Photo | ImageError]] = []
        for path in paths:
            batch.append((path, self._open(path)))
            if len(batch) >= self._options.batch_size:
                yield from self._finish(batch)
                batch = []
        yield from self._finish(batch)

    def _open(self, path: Path) -> Photo | ImageError:
        options = self._options
        try:
            photo = read_photo(path, max_pixels=options.max_pixels, max_side_px=options.max_side_px)
        except ImageError as error:
            return error
        height, width = photo.image.shape[:2]
        if height != width:
            return ImageError(RefusalReason.LOW_QUALITY, f"an aligned crop is square, this one has {width}x{height}")
        return photo

    def _finish(self, batch: Sequence[tuple[Path, Photo | ImageError]]) -> Iterator[Reading]:
        size = self._embedder.card.input.size_px
        chips = [scaled(item.image, size) for _, item in batch if isinstance(item, Photo)]
        vectors: Iterator[Float32] = iter(self._embedder.embed(np.stack(chips)) if chips else ())
        for path, item in batch:
            if isinstance(item, ImageError):
                yield Reading(path, "", None, None, RefusalReason(item.reason), item.detail)
            else:
                yield Reading(path, item.sha256, next(vectors), None, None, "")


def scaled(image: RGBImage, size_px: int) -> RGBImage:
    """A square crop, RGB uint8, at the model's size: averaged where it shrinks, bilinear where it grows."""
    side = image.shape[0]
    if side == size_px:
        return image
    how = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size_px, size_px), interpolation=how), dtype=np.uint8)
