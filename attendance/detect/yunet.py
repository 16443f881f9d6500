"""YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023) as OpenCV runs it: `cv2.FaceDetectorYN`."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from attendance.detect.port import RefiningDetector
from attendance.detect.scaled import ScaledDetector
from attendance.errors import ModelError
from attendance.types import Face, RGBImage

SEES_PX = 13.0
MIN_SCORE = 0.7
NMS_OVERLAP = 0.3
TOP_K = 5000


class YuNetDetector(ScaledDetector):
    """Runs a YuNet model of the zoo. Safe to use from several threads, one after the other.

    Args:
        data: the ONNX file's bytes.
        min_score: square root of class and object score that a face needs, 0..1.

    Raises:
        ModelError: OpenCV cannot use the file.
    """

    name = "yunet"

    def __init__(
        self, data: bytes, *, follow: RefiningDetector, min_face_px: float = 40, min_score: float = MIN_SCORE
    ) -> None:
        super().__init__(min_face_px=min_face_px, sees_px=SEES_PX, follow=follow)
        self._lock = threading.Lock()
        buffer, nothing = np.frombuffer(data, np.uint8), np.empty(0, np.uint8)
        try:
            self._net = cv2.FaceDetectorYN.create("onnx", buffer, nothing, (32, 32), min_score, NMS_OVERLAP, TOP_K)
        except cv2.error as error:
            raise ModelError(f"expected a YuNet model, OpenCV cannot use the file: {_line(error)}") from error

    def _find(self, image: RGBImage) -> list[Face]:
        with self._lock:
            try:
                self._net.setInputSize((image.shape[1], image.shape[0]))
                rows = self._net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
            except cv2.error as error:
                raise ModelError(f"expected YuNet's outputs, OpenCV failed: {_line(error)}") from error
        return [] if rows is None else [_face(np.asarray(row, np.float32)) for row in rows]


def _face(row: np.ndarray) -> Face:
    """x, y, width, height, five points from the viewer's left eye on, score."""
    x, y, width, height = row[:4]
    box = np.array((x, y, x + width, y + height), np.float32)
    return Face(box, float(row[14]), row[4:14].reshape(5, 2).astype(np.float32))


def _line(error: cv2.error) -> str:
    return " ".join(str(error).split())
