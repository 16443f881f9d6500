"""The first frame's work done ahead, on pictures of noise.

Kernels are compiled when they are first called with arguments of a kind, which takes some twenty seconds once and is
kept on disk by `numba` (see `attendance.compiled`); loading them again takes a second or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from attendance.detect.port import RefiningDetector
from attendance.pipeline import FaceReader, LivePath
from attendance.track import iou_matrix
from attendance.types import Float32, Frame, RGBImage

_SIZE = (240, 320)
_FRAMES = 3
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def warm_up(reader: FaceReader, path: LivePath) -> None:
    """Run all that a frame may need, once: detection, following, embedding. ``path`` is for nothing else afterwards."""
    noise = _noise()
    reader.detector.detect(noise[:1])
    boxes: Float32 = np.array([[40, 40, 120, 140], [100, 50, 200, 170]], np.float32)
    if isinstance(reader.detector, RefiningDetector):
        reader.detector.refine(noise[0], boxes)
        reader.detector.refine_each(noise[:2], [boxes, boxes[:1]])
    side = reader.embedder.card.alignment.size_px
    reader.embedder.embed(np.full((1, side, side, 3), 128, np.uint8))
    for index, image in enumerate(noise):
        path.process(Frame(image, _BEGIN + timedelta(seconds=index / 30.0), index, "warm-up"))
    iou_matrix(boxes, boxes)


def _noise() -> Sequence[RGBImage]:
    # Fixed: nothing random decides what is compiled.
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*_SIZE, 3), dtype=np.uint8) for _ in range(_FRAMES)]
