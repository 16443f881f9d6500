"""SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021) through ONNX Runtime.

The exported network gives, at strides 8, 16 and 32 with two anchors a cell, a score, four distances from the anchor's
centre to the box's sides, and ten offsets to the five points, distances and offsets in strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attendance.detect.port import RefiningDetector
from attendance.detect.scaled import ScaledDetector, keep_apart
from attendance.errors import ModelError
from attendance.onnx_runtime import OnnxModel
from attendance.types import Face, Float32, RGBImage

STRIDES = (8, 16, 32)
ANCHORS = 2
SEES_PX = 16.0
MIN_SCORE = 0.5
NMS_OVERLAP = 0.4
MULTIPLE_PX = 32


class ScrfdDetector(ScaledDetector):
    """Runs an SCRFD model with points of the zoo. Safe to use from several threads at once.

    Args:
        data: the ONNX file's bytes.
        min_score: score that a face needs, 0..1.

    Raises:
        ModelError: the file is no such model.
    """

    name = "scrfd"

    def __init__(
        self,
        data: bytes,
        *,
        follow: RefiningDetector,
        min_face_px: float = 40,
        min_score: float = MIN_SCORE,
        device: str = "cpu",
        threads: int = 2,
    ) -> None:
        super().__init__(min_face_px=min_face_px, sees_px=SEES_PX, follow=follow)
        self._min_score = min_score
        self._model = OnnxModel("detector scrfd", data, device=device, threads=threads)
        inputs, outputs = self._model.inputs, self._model.outputs
        if len(inputs) != 1 or not inputs[0].fits(None, 3, None, None) or len(outputs) != 3 * len(STRIDES):
            raise ModelError(
                f"detector scrfd: expected one input (1, 3, H, W) and {3 * len(STRIDES)} outputs, got "
                f"{'; '.join(map(str, inputs))} and {len(outputs)} outputs"
            )
        self._fixed = tuple(side for side in inputs[0].shape[2:] if isinstance(side, int))

    def _find(self, image: RGBImage) -> list[Face]:
        height, width = image.shape[:2]
        sides = (
            self._fixed if len(self._fixed) == 2 else tuple(-(-s // MULTIPLE_PX) * MULTIPLE_PX for s in (height, width))
        )
        if height > sides[0] or width > sides[1]:
            raise ModelError(
                f"detector scrfd: this file takes pictures up to {sides[1]}x{sides[0]}, got {width}x{height}: raise "
                "detect.min_face_px, or take a file whose input is open"
            )
        # Black below and to the right, as it was trained: the coordinates stay.
        pixels = np.full((1, 3, *sides), -127.5 / 128.0, np.float32)
        pixels[0, :, :height, :width] = ((image.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)
        outputs = self._model.run({self._model.inputs[0].name: pixels})
        return keep_apart(decode(outputs, sides, min_score=self._min_score), NMS_OVERLAP)


def decode(outputs: Sequence[Float32], sides: Sequence[int], *, min_score: float) -> list[Face]:
    """The faces of SCRFD's nine outputs, before those that overlap are dropped.

    Args:
        outputs: three scores (N, 1), three distances (N, 4), three offsets (N, 10), strides rising, N as `STRIDES` and
            two anchors a cell give it for ``sides``; a batch dimension of 1 in front is taken.
        sides: height and width of the network's input in px.
        min_score: what a face needs.

    Raises:
        ModelError: outputs of another number or shape.
    """
    faces = []
    for level, stride in enumerate(STRIDES):
        rows, columns = -(-sides[0] // stride), -(-sides[1] // stride)
        count = rows * columns * ANCHORS
        scores = _flat(outputs[level], count, 1)[:, 0]
        distances = _flat(outputs[level + 3], count, 4) * stride
        offsets = _flat(outputs[level + 6], count, 10) * stride
        for n in np.flatnonzero(scores >= min_score).tolist():
            row, column = divmod(n // ANCHORS, columns)
            centre = np.array((column, row), np.float32) * stride
            box = np.concatenate((centre - distances[n, :2], centre + distances[n, 2:])).astype(np.float32)
            points = (offsets[n].reshape(5, 2) + centre).astype(np.float32)
            faces.append(Face(box, float(scores[n]), points))
    return faces


def _flat(output: Float32, count: int, size: int) -> Float32:
    if output.size != count * size or output.shape[-1] != size:
        raise ModelError(f"detector scrfd: expected an output ({count}, {size}), got {output.shape}")
    return np.asarray(output, np.float32).reshape(count, size)
