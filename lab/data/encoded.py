"""Encoded crops, as the published training and verification files hold them, to pixels."""

from __future__ import annotations

import cv2
import numpy as np

from attendance.errors import ImageError
from attendance.types import RefusalReason, RGBImage

MAX_SIDE_PX = 4096


def decode_crop(data: bytes, place: str) -> RGBImage:
    """JPEG or PNG bytes to RGB uint8 (S, S, 3).

    Args:
        data: the bytes.
        place: where they lie, for the message.

    Raises:
        ImageError: no picture, or not a square one.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise ImageError(RefusalReason.UNREADABLE, f"{place}: expected a JPEG or PNG, got {len(data)} bytes of none")
    height, width = picture.shape[:2]
    if height != width or height > MAX_SIDE_PX:
        raise ImageError(
            RefusalReason.LOW_QUALITY,
            f"{place}: expected a square crop of {MAX_SIDE_PX} pixels at most, got {width}x{height}",
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
