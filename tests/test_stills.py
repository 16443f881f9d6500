"""Photos to vectors: every kind of photo that is enrolled, every reason for one that is not, in bounded batches."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attendance.errors import ImageError
from attendance.faces import FaceRule
from attendance.pipeline import FaceReader
from attendance.stills import Reading, StillOptions, StillReader, sha256_of
from attendance.types import Face, RefusalReason, RGBImage
from tests.building import BrightDetector, colour_of, photo
from tests.fakes import ColourEmbedder, face_at, picture, vector_of

RED, GREEN = colour_of(0), colour_of(1)
GREY = (200, 200, 200)


class CountingReader(FaceReader):
    """The fakes, and how many pictures came at once."""

    def __init__(self) -> None:
        super().__init__(BrightDetector(), ColourEmbedder())
        self.batches: list[int] = []

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        self.batches.append(len(images))
        return super().detect(images)


class PortraitDetector(BrightDetector):
    """Sees the faces in an upright picture only."""

    def _spots(self, image: RGBImage) -> list[Face]:
        return super()._spots(image) if image.shape[0] > image.shape[1] else []


def stills(options: StillOptions | None = None) -> StillReader:
    reader = FaceReader(BrightDetector(), ColourEmbedder())
    return StillReader(lambda: reader, StillOptions() if options is None else options)


def read(path: Path, options: StillOptions | None = None) -> Reading:
    return next(stills(options).read([path]))


def head(colour: tuple[int, int, int] = RED) -> Image.Image:
    return Image.fromarray(picture((colour, (60, 60, 120))))


def save_40_megapixels(path: Path) -> None:
    head().resize((7680, 5760), Image.Resampling.NEAREST).save(path, quality=90)


def save_alpha(path: Path) -> None:
    layer = head().convert("RGBA")
    layer.putalpha(250)
    layer.save(path)


def save_16_bit(path: Path) -> None:
    grey = np.asarray(head(GREY).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)


def save_exif_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    head().rotate(90, expand=True).save(path, exif=exif, quality=95)


KINDS = {
    "40-megapixel.jpg": (save_40_megapixels, RED),
    "grey.png": (lambda path: head(GREY).convert("L").save(path), GREY),
    "grey.jpg": (lambda path: head(GREY).convert("L").save(path), GREY),
    "alpha.png": (save_alpha, RED),
    "palette.png": (lambda path: head().convert("P").save(path), RED),
    "cmyk.jpg": (lambda path: head().convert("CMYK").save(path, quality=95), RED),
    "16-bit.png": (save_16_bit, GREY),
    "turned.jpg": (save_exif_turned, RED),
    "日本語 Ünïcode 🙂.png": (lambda path: head().save(path), RED),
    "long-" + "x" * 240 + ".png": (lambda path: head().save(path), RED),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_photo_becomes_the_same_face(tmp_path: Path, name: str) -> None:
    save, colour = KINDS[name]
    path = tmp_path / name
    save(path)
    reading = read(path)
    assert (reading.reason, reading.detail) == (None, "")
    assert reading.vector is not None and reading.vector.dtype == np.float32
    assert float(reading.vector @ vector_of(colour)) > 0.98
    assert reading.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of(path)


def test_a_photo_is_turned_before_its_face_is_looked_for(tmp_path: Path) -> None:
    upright = Image.fromarray(picture((RED, (60, 60, 120)), size=(320, 240)))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)
    upright.rotate(90, expand=True).save(tmp_path / "lying.jpg")
    reader = FaceReader(PortraitDetector(), ColourEmbedder())
    found = StillReader(lambda: reader, StillOptions()).read([tmp_path / "turned.jpg", tmp_path / "lying.jpg"])
    assert [reading.reason for reading in found] == [None, RefusalReason.NO_FACE]


def test_what_cannot_be_used_is_a_reading_with_its_reason_and_in_its_place(tmp_path: Path) -> None:
    whole = photo(tmp_path / "whole.jpg", RED)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no photo")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    expected = {
        whole: None,
        tmp_path / "empty.jpg": RefusalReason.EMPTY_FILE,
        tmp_path / "cut.jpg": RefusalReason.TRUNCATED,
        photo(tmp_path / "two.png", RED, GREEN): RefusalReason.SEVERAL_FACES,
        tmp_path / "text.jpg": RefusalReason.NOT_AN_IMAGE,
        photo(tmp_path / "nobody.png"): RefusalReason.NO_FACE,
        tmp_path / "pipe.jpg": RefusalReason.UNREADABLE,
        tmp_path / "loop.jpg": RefusalReason.LINK_LOOP,
        tmp_path / "missing.jpg": RefusalReason.UNREADABLE,
        photo(tmp_path / "other.png", GREEN): None,
    }
    readings = list(stills(StillOptions(batch_size=3)).read(expected))
    assert [reading.path for reading in readings] == list(expected)
    assert [reading.reason for reading in readings] == list(expected.values())
    assert all((reading.vector is None) == bool(reading.detail) for reading in readings)


def test_probes_are_refused_neither_for_several_faces_nor_for_quality(tmp_path: Path) -> None:
    path = photo(tmp_path / "two.png", RED, GREEN)
    small = tmp_path / "small.png"
    Image.fromarray(picture((RED, (60, 60, 24)))).save(small)
    assert [r.reason for r in stills().read([path, small])] == [
        RefusalReason.SEVERAL_FACES,
        RefusalReason.LOW_QUALITY,
    ]
    lenient = stills(StillOptions(strict=False)).read([path, small])
    assert [r.reason for r in lenient] == [None, None]


@pytest.mark.parametrize(("share", "reason"), [(0.59, None), (0.61, RefusalReason.SEVERAL_FACES)])
def test_a_second_face_of_60_percent_of_the_area_makes_a_photo_ambiguous(
    tmp_path: Path, share: float, reason: RefusalReason | None
) -> None:
    path = tmp_path / "two.png"
    side = round(1000 * share**0.5)
    Image.fromarray(picture((RED, (10, 10, 1000)), (GREEN, (1050, 10, side)), size=(1100, 2100))).save(path)
    assert read(path, StillOptions(max_side_px=4000)).reason is reason
    assert read(path, StillOptions(max_side_px=4000, rule=FaceRule.CENTRE)).reason is None


def test_centre_takes_the_face_that_holds_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "group.png"
    Image.fromarray(picture((RED, (10, 10, 90)), (GREEN, (125, 85, 70)), size=(240, 320))).save(path)
    vector = read(path, StillOptions(rule=FaceRule.CENTRE)).vector
    assert vector is not None and float(vector @ vector_of(GREEN)) > 0.99


def test_networks_are_loaded_once_and_only_for_a_photo_that_could_be_decoded(tmp_path: Path) -> None:
    loaded = []

    def load() -> FaceReader:
        loaded.append(1)
        return CountingReader()

    (tmp_path / "empty.jpg").write_bytes(b"")
    reader = StillReader(load, StillOptions(batch_size=1))
    assert [r.reason for r in reader.read([tmp_path / "empty.jpg"])] == [RefusalReason.EMPTY_FILE]
    assert loaded == []
    for _ in range(2):
        assert [r.reason for r in reader.read([photo(tmp_path / "a.png", RED)] * 2)] == [None, None]
    assert loaded == [1]


def test_photos_are_read_no_further_ahead_than_a_batch(tmp_path: Path) -> None:
    fakes = CountingReader()
    taken = 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        for _ in range(10):
            taken += 1
            yield path

    path = photo(tmp_path / "a.png", RED)
    readings = StillReader(lambda: fakes, StillOptions(batch_size=4)).read(paths())
    next(readings)
    assert taken == 4
    list(readings)
    assert fakes.batches == [4, 4, 2]


def test_large_photos_fill_a_batch_by_their_pixels(tmp_path: Path) -> None:
    fakes = CountingReader()
    path = tmp_path / "large.png"
    Image.fromarray(picture((RED, (60, 60, 1000)), size=(3000, 3000))).save(path, compress_level=1)
    list(StillReader(lambda: fakes, StillOptions(max_side_px=3000)).read([path] * 4))
    assert fakes.batches == [3, 1]


def test_a_frame_of_a_camera_is_read_like_a_photo() -> None:
    image = picture((RED, (60, 60, 120)))
    reading = stills().read_frame(image, "f" * 64)
    assert (reading.reason, reading.sha256) == (None, "f" * 64)
    assert reading.vector is not None and float(reading.vector @ vector_of(RED)) > 0.99
    assert reading.face is not None
    assert np.allclose(reading.face.box, face_at(60, 60, 120).box)
    assert stills().read_frame(picture(), "f" * 64).reason is RefusalReason.NO_FACE


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing"])
def test_a_digest_is_of_a_regular_file_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(ImageError) as caught:
        sha256_of(path)
    assert caught.value.reason == RefusalReason.UNREADABLE


@pytest.mark.parametrize(
    ("grey", "told"), [(20, "which is dark (mean 20 of 255)"), (250, "which is bright"), (120, "nearer")]
)
def test_where_no_face_is_found_the_light_is_named(grey: int, told: str) -> None:
    class Blind(BrightDetector):
        def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
            return [[] for _ in images]

    reader = StillReader(lambda: FaceReader(Blind(), ColourEmbedder()), StillOptions())
    reading = reader.read_frame(np.full((60, 80, 3), grey, np.uint8), "f" * 64)
    assert reading.reason is RefusalReason.NO_FACE and told in reading.detail
