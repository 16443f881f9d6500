"""JPEG decoded at a fraction of its size where that will do, and never with a part missing."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin

_SCAN_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_EOI, _SOS = 0xD9, 0xDA
_FILLER = bytes(range(1, 251)) * 16


def load_strictly(picture: JpegImagePlugin.JpegImageFile, data: bytes, *, size: tuple[int, int] | None) -> None:
    """Decode ``picture``, which was opened from ``data``, at 1, 1/2, 1/4 or 1/8 of its size but at least at ``size``.

    Raises OSError when the file ends early, also when it was padded or closed with an end marker.
    """
    end = _end_of_scans(data)
    if end is None:
        raise OSError("its end marker is missing")
    if size is not None:
        picture.draft(None, size)
    picture.load()
    suspect = "progressive" in picture.info or _last_pixel_is_grey(picture)
    if suspect and _scan_ends_early(picture, data, end=end, size=size):
        raise OSError("its end marker comes before its last pixel")


def _last_pixel_is_grey(picture: Image.Image) -> bool:
    """Whether the pixel that is decoded last looks as if it were missing: libjpeg fills with middle grey."""
    last = np.asarray(picture.crop((picture.width - 1, picture.height - 1, picture.width, picture.height)), np.int64)
    return bool(np.all(np.abs(last - 128) <= 2))


def _scan_ends_early(picture: Image.Image, data: bytes, *, end: int, size: tuple[int, int] | None) -> bool:
    """Whether the end marker comes before the last pixel, which libjpeg fills with grey and does not report.

    Bytes put in before the marker change a picture that is still waiting for pixels, and are skipped in a whole one.
    """
    with Image.open(BytesIO(data[:end] + _FILLER + data[end:]), formats=("JPEG",)) as longer:
        if size is not None:
            longer.draft(None, size)
        longer.load()
        return not np.array_equal(np.asarray(picture), np.asarray(longer))


def _end_of_scans(data: bytes) -> int | None:
    """Where the end marker of the picture's own scans stands, past thumbnails in its metadata; None without one."""
    position, in_scan = 2, False
    while True:
        if in_scan:
            found = _SCAN_MARKER.search(data, position)
            if found is None:
                return None
            position = found.start()
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if len(data) < position + 2 or data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == _EOI:
            return position
        in_scan = in_scan or marker == _SOS
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
