"""Step 4: cut faces out of an image the way a model wants them. The only alignment code, of product and lab alike.

Kind ``similarity`` maps the five points onto a template by the least-squares similarity transform. Kind ``box`` cuts
the box with a margin. Outside the image the nearest edge pixel is repeated; where the output is smaller than the
source, every output pixel is the average of the source under it, so fine patterns do not alias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from attendance.errors import ImageError
from attendance.types import (
    Alignment,
    AlignmentKind,
    Face,
    Float32,
    Float64,
    RefusalReason,
    RGBImage,
    require_array,
)

MAX_SUPERSAMPLING = 16
"""Samples per output pixel and direction at most; beyond it the samples of a hugely shrunk face lie apart."""

MIN_SPREAD_PX = 1e-3
"""Points closer together than this, root mean square, do not tell where the face is."""

_ARCFACE_POINTS = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
_DLIB_POINTS = (
    (0.2255, 0.2160),
    (0.7548, 0.2160),
    (0.490127, 0.515625),
    (0.254149, 0.780233),
    (0.726104, 0.780233),
)


def arcface_112() -> Alignment:
    """The five-point template of ArcFace models, 112 px (InsightFace's ``norm_crop``)."""
    return Alignment(AlignmentKind.SIMILARITY, 112, template=np.array(_ARCFACE_POINTS, np.float32))


def dlib_150(padding: float = 0.25) -> Alignment:
    """The face chip of dlib's ResNet, 150 px: its mean face in the unit frame, with ``padding`` on every side.

    A point p of the unit frame lands on ``(padding + p) / (1 + 2 padding) * 150``. dlib itself uses 0.25.
    """
    points = (np.array(_DLIB_POINTS) + padding) / (1.0 + 2.0 * padding) * 150.0
    return Alignment(AlignmentKind.SIMILARITY, 150, template=points.astype(np.float32))


QUALITY_SIZE_PX = 64
"""Side of the chip that sharpness and light are measured on: eyes 23 px apart, as on the smallest faces that count."""


def quality_chips(image: RGBImage, faces: Sequence[Face]) -> RGBImage:
    """The chips that the quality of faces is measured on: RGB uint8 (N, 64, 64, 3), whatever model will embed them.

    A large face is first shrunk by a whole number, each pixel the mean of those under it; what is left, less than a
    half, is interpolated. That is several times quicker than `align`, which takes more care.

    Raises: as `align`.
    """
    chips = np.empty((len(faces), QUALITY_SIZE_PX, QUALITY_SIZE_PX, 3), np.uint8)
    for chip, face in zip(chips, faces, strict=True):
        source, points = _shrunk(image, face.points)
        matrix = similarity_transforms(points[None], _quality_template())[0]
        side = (QUALITY_SIZE_PX, QUALITY_SIZE_PX)
        chip[:] = cv2.warpAffine(source, matrix, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return chips


@cache
def _quality_template() -> Float32:
    return ((np.array(_DLIB_POINTS) + 0.25) / 1.5 * QUALITY_SIZE_PX).astype(np.float32)


def _shrunk(image: RGBImage, points: Float32) -> tuple[RGBImage, Float32]:
    """The surroundings of a face and its points there, shrunk by a whole number to eyes 24 to 47 px apart."""
    factor = int(float(np.hypot(*(points[1] - points[0]))) // 24)
    if factor < 2:
        return image, points
    height, width = image.shape[:2]
    low, high = points.min(axis=0), points.max(axis=0)
    reach = 1.5 * float((high - low).max())
    left, top = (max(int(edge - reach), 0) for edge in low.tolist())
    right, bottom = (min(int(edge + reach), most) for edge, most in zip(high.tolist(), (width, height), strict=True))
    columns, rows = (right - left) // factor, (bottom - top) // factor
    if columns < 1 or rows < 1:
        return image, points
    part = image[top : top + rows * factor, left : left + columns * factor]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    moved = (points - np.array([left, top], np.float32) + 0.5) / factor - 0.5
    return np.asarray(small, dtype=np.uint8), moved.astype(np.float32)


def facenet_160(margin_px: int = 0) -> Alignment:
    """The box crop of FaceNet models, 160 px; ``margin_px`` counts output pixels, shared by both sides."""
    return Alignment(AlignmentKind.BOX, 160, margin_px=margin_px)


def align(image: RGBImage, faces: Sequence[Face], alignment: Alignment) -> RGBImage:
    """Cut the faces out of one image.

    Args:
        image: RGB uint8 (H, W, 3).
        faces: boxes and points in pixels of ``image``; they may reach beyond it.
        alignment: what the model's card asks for.

    Returns:
        RGB uint8 (N, S, S, 3) in the order of ``faces``; N may be 0.

    Raises:
        ValueError: for an image of another type or shape.
        ImageError: (``low_quality``) where the points of a face coincide or a box holds no pixel of the image.
    """
    require_array("image", image, (-1, -1, 3), np.uint8)
    size = alignment.size_px
    chips = np.empty((len(faces), size, size, 3), np.uint8)
    if not faces:
        return chips
    if alignment.template is None:
        for chip, face in zip(chips, faces, strict=True):
            chip[:] = _crop_box(image, face.box, alignment)
        return chips
    matrices = similarity_transforms(np.stack([face.points for face in faces]), alignment.template)
    for chip, matrix in zip(chips, matrices, strict=True):
        chip[:] = _warp(image, matrix, size)
    return chips


def similarity_transforms(points: Float32, template: Float32) -> Float64:
    """The similarity (rotation, one scale, shift; no reflection) that takes each face's points nearest to a template.

    Least squares after Umeyama 1991, eq. 40 to 42. In the plane his singular value decomposition has a closed form:
    with points and template as complex numbers about their means, rotation and scale together are the one number
    ``a = sum(conj(p) t) / sum(|p|^2)``.

    Args:
        points: (N, P, 2) x, y in pixels.
        template: (P, 2) x, y in pixels of the output.

    Returns:
        float64 (N, 2, 3): each takes (x, y, 1) of the image to the output.

    Raises:
        ImageError: (``low_quality``) where the points of a face coincide or are not finite.
    """
    source = points[..., 0].astype(np.float64) + 1j * points[..., 1].astype(np.float64)
    target = template[:, 0].astype(np.float64) + 1j * template[:, 1].astype(np.float64)
    source_mean = source.mean(axis=1, keepdims=True)
    target_mean = target.mean()
    centred = source - source_mean
    power = np.sum(np.abs(centred) ** 2, axis=1)
    usable = np.isfinite(power) & (power > points.shape[1] * MIN_SPREAD_PX**2)
    if not usable.all():
        which = int(np.argmin(usable))
        raise ImageError(
            RefusalReason.LOW_QUALITY,
            f"expected five separate points, got {points[which].tolist()} for face {which}: leave this face out",
        )
    turn = np.sum(np.conj(centred) * (target - target_mean), axis=1) / power
    shift = target_mean - turn * source_mean[:, 0]
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.array(rows, dtype=np.float64).transpose(2, 0, 1)


def _warp(image: RGBImage, matrix: Float64, size: int) -> RGBImage:
    """One square output of ``size`` px under a similarity, antialiased where it shrinks."""
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    samples = min(max(math.ceil(1.0 / scale - 1e-6), 1), MAX_SUPERSAMPLING) if scale > 0.0 else 1
    # Output pixel x is the mean of the fine pixels samples * x ... samples * x + samples - 1.
    fine = matrix * samples
    fine[:, 2] += (samples - 1) / 2.0
    side = size * samples
    warped = cv2.warpAffine(image, fine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if samples > 1:
        warped = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(warped, dtype=np.uint8)


def _crop_box(image: RGBImage, box: Float32, alignment: Alignment) -> RGBImage:
    """The box with its margin, as facenet-pytorch's ``extract_face`` cuts and resizes an array."""
    height, width = image.shape[:2]
    size, margin = alignment.size_px, alignment.margin_px
    left, top, right, bottom = (float(edge) for edge in box)
    wide = margin * (right - left) / (size - margin) / 2.0
    high = margin * (bottom - top) / (size - margin) / 2.0
    x1, y1 = int(max(left - wide, 0.0)), int(max(top - high, 0.0))
    x2, y2 = int(min(right + wide, width)), int(min(bottom + high, height))
    if x2 <= x1 or y2 <= y1:
        raise ImageError(
            RefusalReason.LOW_QUALITY,
            f"expected a box that holds pixels of the {width}x{height} image, got {box.tolist()}: leave this face out",
        )
    resized = cv2.resize(image[y1:y2, x1:x2], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
