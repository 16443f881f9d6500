"""A face cut out of its photo so widely that any alignment can be made from the cut: never turned, and its pixels kept.

Only a face whose eyes are further apart than `EYES_PX` is shrunk, each pixel to the mean of those under it. Up to there
the pixels are the photo's own, and a chip made of them is the one that the photo gives.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from attendance.align import arcface_112, dlib_150, similarity_transforms
from attendance.errors import ImageError
from attendance.types import Alignment, Face, Float32, Float64, RGBImage, require_array

EYES_PX = 90.0
"""Eyes are at most so far apart in a crop; ArcFace's template has them 35 px apart, the default model's 59."""

DAMAGED = "crop_damaged"

_TEMPLATES = (arcface_112(), dlib_150(0.5))
"""What every crop holds, however the head leans: more than any of the registered models looks at."""

_BOX_MARGIN = 0.25
_FORMAT = 1
_SLACK_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """RGB uint8 (H, W, 3) with the face in its pixels.

    ``goes_on``: whether the photo went on beyond the left, top, right and bottom edge. Where it did not, an alignment
    repeats the edge for the crop as it does for the photo.
    """

    image: RGBImage
    face: Face
    goes_on: tuple[bool, bool, bool, bool]

    def holds(self, alignment: Alignment) -> bool:
        """Whether everything that the alignment takes of the photo is in the crop."""
        height, width = self.image.shape[:2]
        left, top, right, bottom = _reach(self.face, alignment)
        beyond = (left < -_SLACK_PX, top < -_SLACK_PX, right > width + _SLACK_PX, bottom > height + _SLACK_PX)
        return not any(out and open_edge for out, open_edge in zip(beyond, self.goes_on, strict=True))


def cut(image: RGBImage, face: Face) -> Crop:
    """Cut a face out of its photo, RGB uint8 (H, W, 3). ImageError where its points coincide."""
    require_array("image", image, (-1, -1, 3), np.uint8)
    height, width = image.shape[:2]
    reaches = np.array([_reach(face, each) for each in _TEMPLATES] + [_box_reach(face, _BOX_MARGIN)])
    low, high = np.floor(reaches[:, :2].min(axis=0)) - 1, np.ceil(reaches[:, 2:].max(axis=0)) + 1
    left, right = (int(np.clip(edge, 0, width)) for edge in (low[0], high[0]))
    top, bottom = (int(np.clip(edge, 0, height)) for edge in (low[1], high[1]))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    if part.size == 0:
        raise ImageError("low_quality", f"expected a face in the picture, got {face.box.tolist()}: leave it out")
    goes_on = (left > 0, top > 0, right < width, bottom < height)
    moved = Face(
        (face.box - np.array([left, top, left, top], np.float32)).astype(np.float32),
        face.score,
        (face.points - np.array([left, top], np.float32)).astype(np.float32),
    )
    return _shrunk(Crop(part, moved, goes_on))


def _shrunk(crop: Crop) -> Crop:
    """The crop with the eyes no further apart than they need to be, by the size that the points together have."""
    template = arcface_112().template
    assert template is not None
    matrix = similarity_transforms(crop.face.points[None], template)[0]
    eyes_px = float(np.hypot(*(template[1] - template[0]))) / math.hypot(matrix[0, 0], matrix[1, 0])
    if eyes_px <= EYES_PX:
        return crop
    height, width = crop.image.shape[:2]
    size = max(round(width * EYES_PX / eyes_px), 1), max(round(height * EYES_PX / eyes_px), 1)
    small = np.asarray(cv2.resize(crop.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([size[0] / width, size[1] / height])
    # Pixel centres lie at whole numbers, the edges of a picture half a pixel outside of them.
    points = ((crop.face.points + 0.5) * scale - 0.5).astype(np.float32)
    box = (crop.face.box * np.tile(scale, 2)).astype(np.float32)
    return Crop(small, Face(box, crop.face.score, points), crop.goes_on)


def _reach(face: Face, alignment: Alignment) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what an alignment takes of the picture."""
    if alignment.template is None:
        return _box_reach(face, alignment.margin_px / (alignment.size_px - alignment.margin_px) / 2.0)
    matrix = similarity_transforms(face.points[None], alignment.template)[0]
    edge = alignment.size_px - 0.5
    corners: Float64 = np.array([(x, y) for x in (-0.5, edge) for y in (-0.5, edge)])
    back = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    (left, top), (right, bottom) = back.min(axis=0).tolist(), back.max(axis=0).tolist()
    return left, top, right, bottom


def _box_reach(face: Face, margin: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in face.box)
    wide, high = margin * (right - left), margin * (bottom - top)
    return left - wide, top - high, right + wide, bottom + high


def encoded(crop: Crop) -> bytes:
    """The crop as a line of JSON and a PNG: nothing is lost."""
    header = {
        "format": _FORMAT,
        "box": crop.face.box.tolist(),
        "score": float(crop.face.score),
        "points": crop.face.points.tolist(),
        "goes_on": list(crop.goes_on),
    }
    _, png = cv2.imencode(".png", cv2.cvtColor(crop.image, cv2.COLOR_RGB2BGR))
    return json.dumps(header).encode() + b"\n" + png.tobytes()


def decoded(data: bytes) -> Crop:
    """What `encoded` made; ImageError (``crop_damaged``) for anything else."""
    try:
        line, _, png = data.partition(b"\n")
        header: dict[str, Any] = json.loads(line)
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']} instead of {_FORMAT}")
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("no picture")
        points: Float32 = np.array(header["points"], np.float32)
        face = Face(np.array(header["box"], np.float32), float(header["score"]), points)
        left, top, right, bottom = (bool(each) for each in header["goes_on"])
    except (ValueError, KeyError, TypeError, cv2.error) as error:
        raise ImageError(DAMAGED, f"the kept crop is not as it was written ({error}): give the photos") from error
    image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
    return Crop(image, face, (left, top, right, bottom))
