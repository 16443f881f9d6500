"""facenet-pytorch's own MTCNN on a CPU build of torch: the side to compare with, imported by benchmarks only.

The package imports torchvision, whose Linux wheel cannot load its compiled operators beside a CPU build of torch. Of
these the cascade calls one, non-maximum suppression: its schema is declared here and answered by NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]

_libraries: list[torch.library.Library] = []  # a library's operators go when it is collected


def keep_by_union(boxes: Float32, scores: Float32, most: float) -> list[int]:
    """torchvision.ops.nms in NumPy: indices of kept boxes, best first, equal scores in their order."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        wide = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        high = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        with np.errstate(invalid="ignore"):
            overlap = shared / (areas[best] + areas[rest] - shared)
        order = rest[~(overlap > most)]
    return kept


def _nms(boxes: Tensor, scores: Tensor, most: float) -> Tensor:
    return torch.tensor(keep_by_union(boxes.numpy(), scores.numpy(), most), dtype=torch.int64)


def declare_operators() -> None:
    """Make ``import torchvision`` possible: declare the operators that it registers against, once."""
    if _libraries:
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _libraries.append(library)


class ReferenceMtcnn:
    """facenet-pytorch's MTCNN with all faces kept, best score first."""

    def __init__(self, *, min_face_px: int) -> None:
        declare_operators()
        from facenet_pytorch import MTCNN  # torchvision comes with it, so only after the declaration

        self._mtcnn: Any = MTCNN(keep_all=True, min_face_size=min_face_px, select_largest=False, device="cpu").eval()

    def detect(self, image: NDArray[np.uint8]) -> tuple[Float32, Float32, Float32]:
        """RGB uint8 (H, W, 3) -> boxes (M, 4) px, scores (M,), points (M, 5, 2) px."""
        try:
            boxes, scores, points = self._mtcnn.detect(image, landmarks=True)
        except (RuntimeError, ValueError):  # it fails on pictures without a proposal, where torch cannot join nothing
            boxes = None
        if boxes is None:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        return boxes.astype(np.float32), np.asarray(scores, np.float32), points.astype(np.float32)
