"""The photos of the experiments: two halves of people; their faces found once; crops of them, as they are or degraded.

Layout of the data set: ``images/<person>/<photo>``, ``split.csv`` (person, half, photos), ``pairs_report.csv``.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.align import align
from attendance.detect.port import Detector
from attendance.errors import ImageError, UsageError
from attendance.faces import FaceRule, choose_face
from attendance.images import read_photo
from attendance.types import Alignment, Face, Float32, RGBImage

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "lfw-dev"
Half = Literal["tune", "report"]
MAX_PIXELS, MAX_SIDE_PX = 120_000_000, 1600
PIECE = 250
"""Photos between two looks at the clock; what is found is kept piece by piece."""

WAIT_S = 0.5

Change = Callable[[RGBImage], RGBImage]


class UnfinishedError(UsageError):
    """The time was up before the faces were ready; what is done is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """N photos of a half: ``names`` person/photo, ``faces`` (N, 15) float32 box, score, points; ``read`` (N,)."""

    names: tuple[str, ...]
    faces: Float32
    read: NDArray[np.bool_]

    def people(self) -> list[str]:
        """(N,) each photo's person."""
        return [name.split("/")[0] for name in self.names]

    def face(self, index: int) -> Face:
        """The face of photo ``index``."""
        row = self.faces[index]
        return Face(row[:4], float(row[4]), row[5:].reshape(5, 2))


@dataclass(frozen=True, slots=True)
class Photos:
    """The data set under ``root``; what is made of it lies under ``work``. ``detector`` is the product's by default."""

    root: Path
    work: Path
    detector: Detector | None = None

    def require(self) -> None:
        """Raise UsageError unless the data set is there."""
        if not (self.root / "split.csv").is_file():
            raise UsageError(f"--data {self.root}: expected images/, split.csv and pairs_report.csv; name their folder")

    def names(self, half: Half) -> tuple[str, ...]:
        """The photos of a half as person/photo, sorted."""
        self.require()
        with (self.root / "split.csv").open(encoding="utf-8-sig", newline="") as file:
            people = sorted(row["person"] for row in csv.DictReader(file) if row["half"] == half)
        return tuple(
            f"{person}/{path.name}" for person in people for path in sorted((self.root / "images" / person).iterdir())
        )

    def found(self, half: Half, *, stop_at: float | None = None) -> Found:
        """The faces of a half, found by the product's detector as it reads photos; found once and kept.

        Raises:
            UnfinishedError: ``stop_at`` came first.
        """
        names = self.names(half)
        key = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        faces = np.concatenate([self._piece(half, key, names, at, stop_at) for at in range(0, len(names), PIECE)])
        return Found(names, faces, np.isfinite(faces[:, 4]))

    def photo(self, name: str) -> RGBImage:
        """RGB uint8 (H, W, 3)."""
        return read_photo(self.root / "images" / name, max_pixels=MAX_PIXELS, max_side_px=MAX_SIDE_PX).image

    def _piece(self, half: Half, key: str, names: Sequence[str], at: int, stop_at: float | None) -> Float32:
        path = self.work / f"points-{half}-{key}" / f"{at:06d}.npy"
        if path.exists():
            return np.asarray(np.load(path))
        require_time(stop_at)
        rows = np.stack([self._face_row(name) for name in names[at : at + PIECE]])
        save_array(path, rows)
        return rows

    def _face_row(self, name: str) -> Float32:
        nothing = np.full(15, np.nan, dtype=np.float32)
        try:
            image = self.photo(name)
        except ImageError:
            return nothing
        detector = _detector() if self.detector is None else self.detector
        face = choose_face(detector.detect([image])[0], image.shape[:2], FaceRule.CENTRE).face
        if face is None:
            return nothing
        return np.concatenate([face.box, [face.score], face.points.ravel()]).astype(np.float32)


def crops(
    photos: Photos, found: Found, chosen: Sequence[int], alignment: Alignment, *, change: Change | None = None
) -> RGBImage:
    """The faces of chosen photos, RGB uint8 (N, S, S, 3); with ``change`` of the photo changed before it is cut."""
    cut = np.empty((len(chosen), alignment.size_px, alignment.size_px, 3), dtype=np.uint8)
    for place, index in enumerate(chosen):
        image = photos.photo(found.names[index])
        if change is not None:
            image = change(image)
        cut[place] = align(image, [found.face(index)], alignment)[0]
    return cut


def kept_crops(
    photos: Photos, found: Found, chosen: Sequence[int], alignment: Alignment, *, change: Condition | None = None
) -> RGBImage:
    """As `crops`, of a template; cut once and kept for the next network that wants them so."""
    template = b"" if alignment.template is None else alignment.template.tobytes()
    text = "\n".join([f"{alignment.kind} {alignment.size_px} {change}", *(found.names[index] for index in chosen)])
    key = hashlib.sha256(text.encode() + template + found.faces.tobytes()).hexdigest()[:16]
    path = photos.work / "cut" / f"{key}.npy"
    if not path.exists():
        save_array(path, crops(photos, found, chosen, alignment, change=change))
    return np.asarray(np.load(path))


@contextmanager
def alone(folder: Path, stop_at: float | None) -> Iterator[None]:
    """Let one process at a time make what several need; the others wait for it.

    Raises:
        UnfinishedError: ``stop_at`` came first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".making").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                require_time(stop_at)
                time.sleep(WAIT_S)
        yield


def require_time(stop_at: float | None) -> None:
    """Raise UnfinishedError from ``stop_at`` of ``time.monotonic()`` on."""
    if stop_at is not None and time.monotonic() >= stop_at:
        raise UnfinishedError("the time was up while faces were made ready; what is done is kept")


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        np.save(file, array)
    beside.replace(path)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a probe's photo is made worse: its side times ``scale``, its light times ``light``, kept as JPEG.

    ``noise`` is the standard deviation of what a sensor adds to each channel of the darkened photo, grey levels.
    """

    name: str
    scale: float = 1.0
    light: float = 1.0
    noise: float = 0.0
    quality: int | None = None

    def __call__(self, image: RGBImage) -> RGBImage:
        """The photo RGB uint8 (H, W, 3) as such a picture shows it, as large as before."""
        height, width = image.shape[:2]
        small = image
        if self.scale < 1.0:
            size = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
            small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if self.light < 1.0:
            random = np.random.default_rng(zlib.crc32(image.tobytes()))  # the same whenever it is asked
            lit = small * self.light + random.normal(0.0, self.noise, small.shape)
            small = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
        if self.quality is not None:
            _, coded = cv2.imencode(".jpg", small[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, self.quality))
            small = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1]
        if self.scale < 1.0:
            small = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        return np.ascontiguousarray(small)


CONDITIONS = (
    Condition("as it is"),
    Condition("a quarter of the size", scale=0.25),
    Condition("a sixth of the size", scale=1 / 6),
    Condition("JPEG of quality 5", quality=5),
    Condition("a fifth of the light, noise of 3 grey levels", light=1 / 5, noise=3.0),
)
"""A face of the data set is about 90 pixels wide: a quarter is about 22, a sixth 15."""


@cache
def _detector() -> Detector:
    from attendance.detect.mtcnn import MtcnnDetector

    return MtcnnDetector()
