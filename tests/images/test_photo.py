"""Photos of every kind a phone, a scanner or a broken upload makes, written here and read back."""

import base64
import hashlib
import json
import os
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attendance.errors import ImageError
from attendance.images import (
    HeifOpener,
    Photo,
    find_heif_opener,
    read_photo,
    read_photo_bytes,
)
from attendance.types import RefusalReason, RGBImage

MAX_PIXELS = 50_000_000
# Four colours, one a quarter, so that every turn and mirror of the picture is another picture.
RED, GREEN, BLUE, LIGHT = (200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 220)
ORIENTATION = 0x0112

# The quarters as 64 x 48 HEIC whose EXIF says "turned", while the container, which decides, says "upright".
HEIC = base64.b64decode(
    """
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAeFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAA
    AAAAACAAAAEGlkYXQAAAAAAEAAMAAAAExpbG9jAQAAAERAAAMAAQAAAAAAAAIFAAEAAAAAAAAAxwACAAEAAAAAAAAAAQAAAAAAAAAIAAMAAAAA
    AAACzAABAAAAAAAAAB4AAABNaWluZgAAAAAAAwAAABVpbmZlAgAAAQABAABodmMxAAAAABVpbmZlAgAAAAACAABncmlkAAAAABVpbmZlAgAAAQ
    ADAABFeGlmAAAAANVpcHJwAAAAs2lwY28AAABzaHZjQwEDcAAAAAAAAAAAAB7wAPz9+PgAAA8DIAABABhAAQwB//8DcAAAAwCQAAADAAADAB66
    AkAhAAEAJ0IBAQNwAAADAJAAAAMAAAMAHqAggQWW6uSmubAgAAADACAAAAMAISIAAQAGRAHBc8CJAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAUaX
    NwZQAAAAAAAABAAAAAMAAAABBwaXhpAAAAAAMICAgAAAAaaXBtYQAAAAAAAAACAAECgQIAAgIDhAAAAChpcmVmAAAAAAAAAA5kaW1nAAIAAQAB
    AAAADmNkc2MAAwABAAIAAADtbWRhdAAAAMMoAa8J4GeRo4qf/zPG/+/J2XtMcnnBYPiYXv/9VWcnRbbevLvfvZ/vuMs9PKGGoI2PYrDhe9pBE4
    0sQk9lyXOSFk6nl7+amsbvY5eiaw8p7sDAFqoqJ6G3iSe2CGdkbJJitCFyHxNbFruRnNpeGXp+wB2Gju4aZYOFh/H0BB05ngEqy7CwzgaWv0dK
    aMkiWwqayvd7cgMhCJQXjzhmo2WDxLXESkRc+25f18fF+aTRusZ+F3f2P9a77pDCAP56BDgXWvQAAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAA
    AAAAA=
    """
)


def quarters(width: int = 64, height: int = 48) -> RGBImage:
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = LIGHT
    return image


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, *, max_side_px: int | None = None) -> Photo:
    return read_photo_bytes(data, "photo", max_pixels=MAX_PIXELS, max_side_px=max_side_px)


def refusal(data: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_photo_bytes(data, "photo.jpg", max_pixels=max_pixels)
    return caught.value


def assert_quarters(image: RGBImage, *, off_by: int = 0) -> None:
    """The middle of every quarter has its colour within ``off_by`` levels."""
    height, width = image.shape[:2]
    for (y, x), colour in zip(((1, 1), (1, 3), (3, 1), (3, 3)), (RED, GREEN, BLUE, LIGHT), strict=True):
        found = image[y * height // 4, x * width // 4].astype(int)
        assert np.abs(found - colour).max() <= off_by, (y, x, found, colour)


class TestFormats:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
    )
    def test_lossless_files_come_back_exactly(self, kind: str, options: dict[str, object]) -> None:
        image = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)
        data = encode(Image.fromarray(image), kind, **options)
        photo = read(data)
        assert np.array_equal(photo.image, image)
        assert photo.image.flags.c_contiguous
        assert (photo.original_width_px, photo.original_height_px, photo.scale) == (47, 33, 1.0)
        assert photo.sha256 == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
    def test_jpeg(self, options: dict[str, object]) -> None:
        assert_quarters(read(encode(Image.fromarray(quarters()), "JPEG", quality=95, **options)).image, off_by=4)

    def test_the_content_and_not_the_name_decides(self, tmp_path: Path) -> None:
        path = tmp_path / "really-a-png.JPG"
        path.write_bytes(encode(Image.fromarray(quarters()), "PNG"))
        assert_quarters(read_photo(path, max_pixels=MAX_PIXELS).image)

    def test_several_pictures_in_one_jpeg_give_the_first(self) -> None:
        second = Image.new("RGB", (64, 48), (0, 0, 0))
        data = encode(Image.fromarray(quarters()), "MPO", save_all=True, append_images=[second], quality=95)
        assert_quarters(read(data).image, off_by=4)
        assert read(data, max_side_px=16).image.shape == (12, 16, 3)

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_animation_gives_its_first_frame(self, kind: str) -> None:
        options = {"lossless": True} if kind == "WEBP" else {}
        others = [Image.new("RGB", (64, 48), (0, 0, 0))] * 2
        data = encode(Image.fromarray(quarters()), kind, save_all=True, append_images=others, **options)
        assert_quarters(read(data).image)


class TestConversion:
    def test_grey(self) -> None:
        grey = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64).astype(np.uint8)
        assert np.array_equal(read(encode(Image.fromarray(grey), "PNG")).image, np.stack([grey] * 3, axis=2))

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bit_grey_is_scaled_and_not_clipped(self, kind: str) -> None:
        deep = np.array([[0, 128, 257, 25700, 32768, 65535]], np.uint16)
        image = read(encode(Image.fromarray(deep), kind)).image
        assert image[0, :, 0].tolist() == [round(value * 255 / 65535) for value in deep[0].tolist()]
        assert np.array_equal(image[..., 0], image[..., 2])

    def test_16_bit_colour(self) -> None:
        # Made by OpenCV, because Pillow cannot write it.
        cv2 = pytest.importorskip("cv2")
        deep = quarters()[..., ::-1].astype(np.uint16) * 257
        assert_quarters(read(cv2.imencode(".png", deep)[1].tobytes()).image)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_transparency_lies_on_white(self, kind: str) -> None:
        rgba = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
        rgba[:24, :32, 3] = 0
        rgba[:24, 32:, 3] = 128
        image = read(encode(Image.fromarray(rgba), kind, **({"lossless": True} if kind == "WEBP" else {}))).image
        expected = [round(part * 128 / 255 + 255 * 127 / 255) for part in GREEN]
        assert image[5, 5].tolist() == [255, 255, 255]
        assert np.abs(image[5, 60].astype(int) - expected).max() <= 1
        assert image[40, 60].tolist() == list(LIGHT)

    def test_grey_with_alpha(self) -> None:
        layers = np.dstack([np.full((8, 8), 90, np.uint8), np.full((8, 8), 255, np.uint8)])
        layers[:4, :, 1] = 0
        image = read(encode(Image.fromarray(layers), "PNG")).image
        assert image[0, 0].tolist() == [255] * 3
        assert image[7, 7].tolist() == [90] * 3

    def test_palette_with_and_without_transparency(self) -> None:
        picture = Image.fromarray(quarters()).quantize(4)
        assert_quarters(read(encode(picture, "PNG")).image)
        red = int(np.asarray(picture)[0, 0])
        assert read(encode(picture, "PNG", transparency=red)).image[0, 0].tolist() == [255] * 3
        alphas = bytes(0 if index == red else 255 for index in range(4))
        assert read(encode(picture, "PNG", transparency=alphas)).image[0, 0].tolist() == [255] * 3

    def test_one_colour_marked_as_transparent(self) -> None:
        image = read(encode(Image.fromarray(quarters()), "PNG", transparency=RED)).image
        assert image[0, 0].tolist() == [255] * 3
        assert image[0, 63].tolist() == list(GREEN)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_one_bit(self, kind: str) -> None:
        bits = np.zeros((8, 16), np.uint8)
        bits[:, 8:] = 255
        image = read(encode(Image.fromarray(bits).convert("1"), kind)).image
        assert image[0, 0].tolist() == [0] * 3
        assert image[0, 15].tolist() == [255] * 3

    def test_cmyk(self) -> None:
        cmyk = Image.fromarray(quarters()).convert("CMYK")
        assert_quarters(read(encode(cmyk, "TIFF")).image, off_by=1)
        adobe = encode(cmyk, "JPEG", quality=100)
        assert b"Adobe" in adobe
        assert_quarters(read(adobe).image, off_by=4)

    def test_cmyk_jpeg_without_adobe_marker_is_not_inverted(self) -> None:
        inks = 255 - np.asarray(Image.fromarray(quarters()).convert("CMYK"))
        data = encode(Image.fromarray(inks, mode="CMYK"), "JPEG", quality=100)
        marker = data.index(b"\xff\xee")
        length = int.from_bytes(data[marker + 2 : marker + 4], "big")
        assert_quarters(read(data[:marker] + data[marker + 2 + length :]).image, off_by=4)

    def test_32_bit_samples_are_refused(self) -> None:
        data = encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
        assert "8 or 16 bits" in refusal(data).detail


# How to turn the upright picture into what a camera of that EXIF orientation stores.
STORED: dict[int, Callable[[RGBImage], RGBImage]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
    @pytest.mark.parametrize("max_side_px", [None, 32])
    def test_every_turn(self, kind: str, orientation: int, max_side_px: int | None) -> None:
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](quarters())))
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        data = encode(stored, kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 95}))
        photo = read(data, max_side_px=max_side_px)
        assert (photo.original_width_px, photo.original_height_px) == (64, 48)
        assert photo.image.shape == ((48, 64, 3) if max_side_px is None else (24, 32, 3))
        assert_quarters(photo.image, off_by=6)

    def test_nonsense_orientation_is_upright(self) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 77
        assert_quarters(read(encode(Image.fromarray(quarters()), "PNG", exif=exif)).image)

    def test_damaged_exif_does_not_refuse_the_photo(self) -> None:
        exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01"
        assert_quarters(read(encode(Image.fromarray(quarters()), "JPEG", exif=exif, quality=95)).image, off_by=4)


class TestSize:
    def test_40_megapixels_are_shrunk_in_little_memory(self) -> None:
        data = encode(Image.fromarray(quarters(7304, 5478)), "JPEG", quality=60)
        tracemalloc.start()
        try:
            photo = read(data, max_side_px=1600)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (photo.original_width_px, photo.original_height_px) == (7304, 5478)
        assert photo.image.shape == (1200, 1600, 3)
        assert photo.scale == pytest.approx(1600 / 7304)
        assert_quarters(photo.image, off_by=6)
        # Three copies of the small picture, not one of the 120 MB one.
        assert peak < 40e6

    def test_shrinking_is_antialiased(self) -> None:
        stripes = np.zeros((400, 400, 3), np.uint8)
        stripes[:, ::2] = 255
        for kind in ("PNG", "JPEG"):
            image = read(encode(Image.fromarray(stripes), kind), max_side_px=50).image
            assert image.shape == (50, 50, 3)
            assert np.abs(image.astype(int) - 127).max() <= 3

    def test_small_photos_are_not_enlarged(self) -> None:
        photo = read(encode(Image.fromarray(quarters()), "PNG"), max_side_px=1600)
        assert photo.image.shape == (48, 64, 3)

    def test_an_extreme_shape_keeps_a_pixel(self) -> None:
        assert read(encode(Image.new("RGB", (3000, 2)), "PNG"), max_side_px=100).image.shape == (1, 100, 3)

    def test_too_many_pixels_are_refused_before_decoding(self) -> None:
        error = refusal(encode(Image.new("RGB", (300, 200)), "PNG"), max_pixels=59_999)
        assert error.reason == RefusalReason.TOO_LARGE
        assert "300 x 200" in error.detail
        assert "59999" in error.detail

    def test_a_bomb_is_refused_by_its_header(self) -> None:
        small = encode(Image.new("1", (8, 8)), "PNG")
        header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + small[24:29]
        data = small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]
        assert refusal(data).reason == RefusalReason.TOO_LARGE
        assert refusal(data, max_pixels=10**9).reason == RefusalReason.TOO_LARGE

    def test_between_pillows_warning_and_our_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
        assert_quarters(read(encode(Image.fromarray(quarters()), "PNG")).image)

    def test_a_file_of_absurd_length_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "disk-image.jpg"
        with path.open("wb") as file:
            file.truncate(200 * 2**20)
        with pytest.raises(ImageError) as caught:
            read_photo(path, max_pixels=1_000_000)
        assert caught.value.reason == RefusalReason.TOO_LARGE


def noise_photo(kind: str, **options: object) -> bytes:
    noise = np.random.default_rng(2).integers(0, 256, (90, 120, 3), np.uint8)
    return encode(Image.fromarray(noise), kind, **options)


class TestRefusals:
    def test_zero_bytes(self) -> None:
        assert refusal(b"").reason == RefusalReason.EMPTY_FILE

    @pytest.mark.parametrize(
        "text", [b"not a picture\n", b"\x00" * 5000, b"<svg xmlns='x'/>", b"%!PS-Adobe-3.0 EPSF-3.0"]
    )
    def test_text_named_jpg(self, text: bytes) -> None:
        error = refusal(text)
        assert error.reason == RefusalReason.NOT_AN_IMAGE
        assert "photo.jpg" in error.detail
        assert "\n" not in error.detail

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
    def test_truncated(self, kind: str, share: float) -> None:
        data = noise_photo(kind)
        assert refusal(data[: int(len(data) * share)]).reason == RefusalReason.TRUNCATED

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 7}])
    @pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
    def test_jpeg_cut_and_then_closed_or_padded(self, share: float, options: dict[str, object]) -> None:
        data = noise_photo("JPEG", **options)
        cut = data[: int(len(data) * share)]
        assert refusal(cut + b"\x00" * 20000).reason == RefusalReason.TRUNCATED
        assert refusal(cut + b"\xff\xd9").reason == RefusalReason.TRUNCATED
        with pytest.raises(ImageError, match="truncated"):
            read(cut + b"\xff\xd9", max_side_px=40)

    @pytest.mark.parametrize("options", [{}, {"progressive": True}])
    def test_a_whole_jpeg_with_a_flat_corner_is_read(self, options: dict[str, object]) -> None:
        whole = encode(Image.new("RGB", (90, 70), (128, 128, 128)), "JPEG", **options)
        assert read(whole).image.shape == (70, 90, 3)
        assert read(whole + b"camera maker's trailer \xff\xd8\xff\x00").image.shape == (70, 90, 3)
        thumbnail = Image.Exif()
        thumbnail[0x010E] = whole.decode("latin-1")
        assert read(encode(Image.new("RGB", (90, 70)), "JPEG", exif=thumbnail)).image.shape == (70, 90, 3)

    def test_damaged_files_are_read_or_refused_and_never_raise_anything_else(self) -> None:
        rng = np.random.default_rng(3)
        whole = 0
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        seeds = [noise_photo(kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
        seeds += [noise_photo("TIFF", compression="tiff_lzw"), noise_photo("BMP"), noise_photo("GIF"), HEIC]
        for seed in seeds:
            for _ in range(40):
                damaged = np.frombuffer(seed, np.uint8).copy()
                places = rng.integers(0, min(len(damaged), int(rng.choice([60, 400, 10**6]))), 4)
                damaged[places] = rng.integers(0, 256, 4)
                with suppress(ImageError):
                    image = read(damaged.tobytes(), max_side_px=50).image
                    assert image.dtype == np.uint8 and image.shape[2] == 3 and max(image.shape[:2]) <= 50
                    whole += 1
        assert 0 < whole < 40 * len(seeds)

    def test_the_detail_is_one_line_whatever_the_name(self) -> None:
        with pytest.raises(ImageError) as caught:
            read_photo_bytes(b"x", os.fsdecode(b"caf\xe9.jpg"), max_pixels=MAX_PIXELS)
        json.dumps(caught.value.detail).encode("utf-8")


class TestHeic:
    def test_without_a_decoder(self) -> None:
        def find_none() -> HeifOpener | None:
            return None

        with pytest.raises(ImageError) as caught:
            read_photo_bytes(HEIC, "holiday.HEIC", max_pixels=MAX_PIXELS, find_heif=find_none)
        assert caught.value.reason == RefusalReason.NO_DECODER
        assert "pi-heif" in caught.value.detail

    def test_with_the_decoder(self) -> None:
        assert find_heif_opener() is not None
        photo = read(HEIC)
        assert photo.image.shape == (48, 64, 3)
        assert_quarters(photo.image, off_by=6)
        assert read(HEIC, max_side_px=32).scale == 0.5

    @pytest.mark.parametrize("length", [40, 200, 500, len(HEIC) - 20])
    def test_truncated(self, length: int) -> None:
        assert refusal(HEIC[:length]).reason == RefusalReason.TRUNCATED

    def test_too_large(self) -> None:
        assert refusal(HEIC, max_pixels=64 * 48 - 1).reason == RefusalReason.TOO_LARGE
