"""Photos from disk: one file becomes one upright RGB picture, or one refusal with its reason.

The content decides what a file is, never its name. Nothing is repaired: a photo that ends early is refused, because the
half that is missing would be read as grey skin.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from attendance.errors import ImageError
from attendance.images.jpeg import load_strictly
from attendance.types import RefusalReason, RGBImage, require_array

PHOTO_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "heic", "heif"})

# Pillow would also run less tended readers (EPS starts another program), so only what a camera or a scanner writes.
# The JPEG reader also takes MPO: a JPEG with further pictures behind the first, as phones write it.
_READERS = (JpegImageFile, PngImageFile, BmpImageFile, WebPImageFile, TiffImageFile, GifImageFile)
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", b"GIF8", b"RIFF")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# What Pillow's and libheif's readers raise on damaged files, found by feeding them damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# Raw 16-bit RGBA needs 8 bytes a pixel; the rest is room for metadata. A larger file is no photo of that many pixels.
_MAX_BYTES_PER_PIXEL = 8
_METADATA_BYTES = 64 * 2**20
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255)

# Pillow reports oddities of a file as warnings, and silencing them changes interpreter-wide state: one at a time.
_PILLOW_LOCK = threading.Lock()


class HeifPicture(Protocol):
    """The primary picture of a HEIC or HEIF file, not decoded yet."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the picture will come out."""

    def to_pillow(self) -> Image.Image:
        """Decode it, turned as the container says. Raises one of the errors in `_DECODER_ERRORS`."""


HeifOpener = Callable[[bytes], HeifPicture]
"""Reads the header of a HEIC or HEIF file from its bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo, upright: ``image`` is RGB uint8 (H, W, 3), shrunk to ``max_side_px`` on its longest side if set.

    ``original_width_px`` and ``original_height_px`` are the upright photo's before shrinking; ``scale`` (0 to 1) is
    pixels of ``image`` per original pixel, so a box of the original is a box of ``image`` divided by it. ``sha256`` is
    the hex digest of the file's content, from the same single read that the picture comes from.
    """

    image: RGBImage
    original_width_px: int
    original_height_px: int
    scale: float
    sha256: str

    def __post_init__(self) -> None:
        require_array("Photo.image", self.image, (-1, -1, 3), np.uint8)


def find_heif_opener() -> HeifOpener | None:
    """The HEIC decoder of the optional package pi-heif, or None where it is not installed."""
    try:
        library = importlib.import_module("pi_heif")
    except ImportError:
        return None

    def open_heif(data: bytes) -> HeifPicture:
        picture: HeifPicture = library.open_heif(BytesIO(data))
        return picture

    return open_heif


def read_photo(
    path: Path,
    *,
    max_pixels: int,
    max_side_px: int | None = None,
    find_heif: Callable[[], HeifOpener | None] = find_heif_opener,
) -> Photo:
    """Read one photo upright as RGB. See `read_photo_bytes`.

    Raises ImageError with the reasons of `read_photo_bytes`, and ``unreadable`` (missing, forbidden, not a regular
    file) or ``link_loop``.
    """
    data = _read_file(path, max_bytes=max_pixels * _MAX_BYTES_PER_PIXEL + _METADATA_BYTES)
    return read_photo_bytes(data, path.name, max_pixels=max_pixels, max_side_px=max_side_px, find_heif=find_heif)


def read_photo_bytes(
    data: bytes,
    name: str,
    *,
    max_pixels: int,
    max_side_px: int | None = None,
    find_heif: Callable[[], HeifOpener | None] = find_heif_opener,
) -> Photo:
    """Decode one photo: upright as its EXIF orientation says, transparency on white, 16 bits scaled to 8, first frame.

    ``max_pixels`` bounds what is decoded at all; ``max_side_px`` shrinks the result, antialiased, to that longest side.
    Raises ImageError: ``empty_file``, ``truncated`` (ends early or damaged), ``not_an_image``, ``no_decoder``,
    ``too_large``. ``name`` only stands in the message.
    """
    if not data:
        raise ImageError(RefusalReason.EMPTY_FILE, f"expected a photo, got a file of zero bytes: {printable(name)}")
    with _quiet_pillow():
        try:
            picture, size = _decode(data, name, max_pixels=max_pixels, max_side_px=max_side_px, find_heif=find_heif)
        except MemoryError as error:
            raise ImageError(RefusalReason.TOO_LARGE, f"not enough memory to decode {printable(name)}") from error
    image = np.ascontiguousarray(picture)
    return Photo(
        image=image,
        original_width_px=size[0],
        original_height_px=size[1],
        scale=max(image.shape[:2]) / max(size),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def printable(name: str) -> str:
    """A file name as it can stand in a message, in JSON and in a database: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _read_file(path: Path, *, max_bytes: int) -> bytes:
    name = printable(path.name)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ImageError(RefusalReason.UNREADABLE, f"expected a photo, but {name} is {kind}")
        if status.st_size > max_bytes:
            detail = f"{name} has {status.st_size} bytes, expected at most {max_bytes}: save it smaller"
            raise ImageError(RefusalReason.TOO_LARGE, detail)
        return path.read_bytes()
    except OSError as error:
        reason = RefusalReason.LINK_LOOP if error.errno == errno.ELOOP else RefusalReason.UNREADABLE
        raise ImageError(reason, f"cannot read {name}: {_os_message(error)}") from error


def _os_message(error: OSError) -> str:
    return error.strerror if error.strerror else type(error).__name__


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode(
    data: bytes,
    name: str,
    *,
    max_pixels: int,
    max_side_px: int | None,
    find_heif: Callable[[], HeifOpener | None],
) -> tuple[Image.Image, tuple[int, int]]:
    """The upright RGB picture, shrunk, and the upright original size (width, height) in pixels."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        source: HeifPicture | Image.Image = _open_heif(data, name, find_heif())
    else:
        source = _open_other(data, name)
    width, height = source.size
    if width * height > max_pixels:
        detail = f"{printable(name)} has {width} x {height} pixels, expected at most {max_pixels}: save it smaller"
        raise ImageError(RefusalReason.TOO_LARGE, detail)
    try:
        picture, orientation = _load(source, data, max_side_px=max_side_px)
        upright = _shrink(_flatten(picture), (width, height), max_side_px=max_side_px).convert("RGB")
    except _DECODER_ERRORS as error:
        raise _refusal(name, error) from error
    if orientation in _TURNS:
        upright = upright.transpose(_TURNS[orientation])
    return upright, (height, width) if orientation in _SIDEWAYS else (width, height)


def _refusal(name: str, error: BaseException) -> ImageError:
    if "not available" in str(error):
        return ImageError(RefusalReason.NO_DECODER, f"{printable(name)} cannot be decoded here: {_first_line(error)}")
    return ImageError(RefusalReason.TRUNCATED, f"{printable(name)} is damaged or cut short: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _open_heif(data: bytes, name: str, opener: HeifOpener | None) -> HeifPicture:
    if opener is None:
        detail = f"{printable(name)} is a HEIC photo: install pi-heif to read it, or save it as JPEG"
        raise ImageError(RefusalReason.NO_DECODER, detail)
    try:
        picture = opener(data)
        # libheif opens a container without a picture too, and only then fails.
        picture.size  # noqa: B018
        return picture
    except _DECODER_ERRORS as error:
        raise _refusal(name, error) from error


def _open_other(data: bytes, name: str) -> Image.Image:
    """Read the header alone; the pixels are decoded by `_load`."""
    try:
        return Image.open(BytesIO(data), formats=[reader.format for reader in _READERS])
    except Image.DecompressionBombError as error:
        raise ImageError(RefusalReason.TOO_LARGE, f"{printable(name)}: {_first_line(error)}") from error
    except _DECODER_ERRORS as error:
        if data.startswith(_SIGNATURES):
            detail = f"{printable(name)} begins like an image but is damaged or cut short"
            raise ImageError(RefusalReason.TRUNCATED, detail) from error
        detail = f"expected a photo, but the content of {printable(name)} is none"
        if not isinstance(error, UnidentifiedImageError):
            detail += f": {_first_line(error)}"
        raise ImageError(RefusalReason.NOT_AN_IMAGE, detail) from error


def _load(source: HeifPicture | Image.Image, data: bytes, *, max_side_px: int | None) -> tuple[Image.Image, int]:
    """Decode the pixels: the picture and the EXIF orientation that is still to be obeyed."""
    if not isinstance(source, Image.Image):
        # libheif has turned the picture as its container says; its EXIF says the same a second time.
        return source.to_pillow(), 1
    size = None
    if max_side_px is not None and max(source.size) > max_side_px:
        size = _fit(source.size, max_side_px)
    if isinstance(source, JpegImageFile):
        load_strictly(source, data, size=size)
    else:
        source.load()
    # Asked after loading: a TIFF is turned by its reader and then no longer carries the tag.
    return source, int(source.getexif().get(_ORIENTATION_TAG, 1))


def _fit(size: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """The size with its longest side at ``max_side_px``, at least one pixel each way."""
    factor = max_side_px / max(size)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _flatten(picture: Image.Image) -> Image.Image:
    """RGB or grey, 8 bits, of any mode a photo comes in: transparency on white, 16 bits scaled and not clipped."""
    if picture.mode in ("RGB", "L") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"expected 8 or 16 bits a channel, got mode {picture.mode}: save it as 8 bits")
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        # Pillow takes every CMYK JPEG to be inverted; only those with Adobe's marker are.
        picture = Image.fromarray(255 - np.asarray(picture), mode="CMYK")
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        background = Image.new("RGBA", layer.size, (*_WHITE, 255))
        return Image.alpha_composite(background, layer).convert("RGB")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _shrink(picture: Image.Image, original: tuple[int, int], *, max_side_px: int | None) -> Image.Image:
    if max_side_px is None or max(picture.size) <= max_side_px:
        return picture
    # Pillow widens the filter when it shrinks, so this does not alias.
    return picture.resize(_fit(original, max_side_px), Image.Resampling.BICUBIC, reducing_gap=3.0)
