"""Photos to vectors, in batches: read, detect, choose the face, judge it, embed. Enrolment and the lab share it.

A photo that cannot be used is a `Reading` with a reason, never an exception, so that one bad photo stops nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from attendance.align import quality_chips
from attendance.crops import cut, encoded
from attendance.errors import ImageError
from attendance.faces import FaceRule, choose_face
from attendance.images import Photo, read_photo, read_photo_bytes
from attendance.pipeline import FaceReader
from attendance.quality import Limits, judge, limits_of
from attendance.types import Face, Float32, RefusalReason, RGBImage

BATCH_PIXELS = 24_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one photo gave: a vector (D,) float32 of unit length, or None with the reason and a sentence.

    ``sha256`` is that of the file's bytes, empty when they could not be read. ``face`` is in pixels of the picture as
    it was detected (shrunk to ``max_side_px`` where the photo is larger); divided by ``scale`` in those of the photo.
    ``crop`` is the face as `attendance.crops.encoded` writes it, where it was asked for.
    """

    path: Path
    sha256: str
    vector: Float32 | None
    face: Face | None
    reason: RefusalReason | None
    detail: str
    scale: float = 1.0
    crop: bytes | None = None


@dataclass(frozen=True, slots=True)
class StillOptions:
    """How photos are read.

    ``strict`` applies what enrolment demands: a photo with a second face of at least 60 % of the area is refused under
    rule ``largest``, and faces pass the quality gate of ``quality_level``, with ``judge_pictures`` by sharpness and
    light too. Probes are read without it. ``keep_crops`` has each face that is read cut out of its photo as well.
    """

    rule: FaceRule = FaceRule.LARGEST
    strict: bool = True
    quality_level: str | Limits = "standard"
    judge_pictures: bool = False
    max_pixels: int = 120_000_000
    max_side_px: int = 1600
    batch_size: int = 32
    keep_crops: bool = False


class StillReader:
    """Reads photos in batches, at most ``batch_size`` and 24 megapixels at once.

    ``load`` gives the networks and is called when the first photo could be decoded, so that nobody waits for networks
    that have nothing to do.
    """

    def __init__(self, load: Callable[[], FaceReader], options: StillOptions) -> None:
        self._load = load
        self._options = options

    @cached_property
    def _reader(self) -> FaceReader:
        return self._load()

    @property
    def options(self) -> StillOptions:
        """How photos are read."""
        return self._options

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """One reading per path, in order."""
        for unit in in_units(paths, self._options.batch_size):
            yield from self._read_unit(unit)

    def _read_unit(self, paths: Iterable[Path]) -> Iterator[Reading]:
        waiting: list[Reading | tuple[Path, Photo]] = []
        pixels = 0
        for path in paths:
            opened = self._open(path)
            waiting.append(opened)
            if isinstance(opened, tuple):
                height, width = opened[1].image.shape[:2]
                pixels += height * width
            if pixels >= BATCH_PIXELS:
                yield from self._finish(waiting)
                waiting, pixels = [], 0
        yield from self._finish(waiting)

    def read_bytes(self, data: bytes, name: str) -> Reading:
        """One photo from its file's content; ``name`` stands for it in messages and in the reading's path."""
        return next(self._finish([self._open(Path(name), data)]))

    def read_frame(self, image: RGBImage, sha256: str) -> Reading:
        """One picture (RGB uint8 (H, W, 3)) that came from a camera and not from a file; ``sha256`` names it."""
        height, width = image.shape[:2]
        photo = Photo(image, original_width_px=width, original_height_px=height, scale=1.0, sha256=sha256)
        return next(self._finish([(Path("camera"), photo)]))

    def _open(self, path: Path, data: bytes | None = None) -> Reading | tuple[Path, Photo]:
        """The photo at ``path``, or the one that ``data`` is the file of."""
        pixels, side_px = self._options.max_pixels, self._options.max_side_px
        try:
            if data is None:
                return path, read_photo(path, max_pixels=pixels, max_side_px=side_px)
            return path, read_photo_bytes(data, path.name, max_pixels=pixels, max_side_px=side_px)
        except ImageError as error:
            return Reading(path, "", None, None, RefusalReason(error.reason), error.detail)

    def _finish(self, waiting: list[Reading | tuple[Path, Photo]]) -> Iterator[Reading]:
        opened = [item for item in waiting if isinstance(item, tuple)]
        images = [photo.image for _, photo in opened]
        chosen = [self._choose(path, photo, faces) for (path, photo), faces in self._detected(opened)]
        faces = [[item] if isinstance(item, Face) else [] for item in chosen]
        vectors = self._reader.embed(images, faces) if any(faces) else []
        answers = iter(
            self._reading(path, photo, item, vectors[index] if isinstance(item, Face) else None)
            for index, ((path, photo), item) in enumerate(zip(opened, chosen, strict=True))
        )
        for item in waiting:
            yield next(answers) if isinstance(item, tuple) else item

    def _detected(self, opened: list[tuple[Path, Photo]]) -> Iterator[tuple[tuple[Path, Photo], list[Face]]]:
        found = self._reader.detect([photo.image for _, photo in opened]) if opened else []
        yield from zip(opened, found, strict=True)

    def _choose(self, path: Path, photo: Photo, faces: list[Face]) -> Face | tuple[RefusalReason, str]:
        options = self._options
        height, width = photo.image.shape[:2]
        choice = choose_face(faces, (height, width), options.rule)
        if choice.face is None:
            return RefusalReason.NO_FACE, f"no face was found in the {width}x{height} picture{_why_none(photo.image)}"
        if not options.strict:
            return choice.face
        if choice.several:
            share = round(100 * choice.second_share)
            return (
                RefusalReason.SEVERAL_FACES,
                f"a second face has {share} % of the largest one's area; crop the photo",
            )
        return self._judged(photo.image, choice.face)

    def _judged(self, image: RGBImage, face: Face) -> Face | tuple[RefusalReason, str]:
        """The face, or what its quality lacks."""
        options = self._options
        size = (image.shape[0], image.shape[1])
        quality = judge(face, size, level=options.quality_level)
        if quality.good and options.judge_pictures:
            quality = judge(face, size, level=options.quality_level, chip=quality_chips(image, [face])[0])
        if quality.good:
            return face
        missed = ", ".join(str(finding) for finding in quality.findings)
        return RefusalReason.LOW_QUALITY, f"{missed}; use a sharp, evenly lit, frontal photo from near"

    def _reading(
        self,
        path: Path,
        photo: Photo,
        item: Face | tuple[RefusalReason, str],
        vector: Float32 | None,
    ) -> Reading:
        if isinstance(item, Face):
            assert vector is not None
            crop = encoded(cut(photo.image, item)) if self._options.keep_crops else None
            return Reading(path, photo.sha256, vector[0], item, None, "", photo.scale, crop)
        return Reading(path, photo.sha256, None, None, item[0], item[1])


def _why_none(image: RGBImage) -> str:
    """What may have hidden the face, by the light that a face needs."""
    limits, light = limits_of("standard"), float(image.mean())
    if light < limits.min_brightness:
        return f", which is dark (mean {light:.0f} of 255); use an evenly lit photo"
    if light > limits.max_brightness:
        return f", which is bright (mean {light:.0f} of 255); use an evenly lit photo"
    return "; use a nearer photo"


def in_units(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    """The paths in order, ``size`` together; no further is looked ahead."""
    rest = iter(paths)
    while unit := list(islice(rest, size)):
        yield unit


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hex; ImageError where it cannot be read or is no regular file."""
    try:
        if not path.is_file():
            raise ImageError(RefusalReason.UNREADABLE, "expected a regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(RefusalReason.UNREADABLE, f"the file cannot be read ({error.strerror})") from error
