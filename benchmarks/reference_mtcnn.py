"""facenet-pytorch's own MTCNN on a CPU build of torch: the side to compare with, imported by benchmarks only.

The package imports torchvision, whose Linux wheel cannot load its compiled operators beside a CPU build of torch. Their
schemas are declared, so that the import succeeds, and the one operator that the cascade calls, non-maximum
suppression, is given to it in NumPy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.nets.torchvision_operators import declare_torchvision_operators

Float32 = NDArray[np.float32]

Suppress = Callable[[Float32, Float32, float], "list[int]"]  # boxes (N, 4), scores (N,), most overlap -> kept


def keep_by_union(boxes: Float32, scores: Float32, most: float) -> list[int]:
    """torchvision's nms in NumPy: indices of kept boxes (N, 4), best score first, equal scores in their order."""
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes[order].T
    areas = (right - left) * (bottom - top)
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(int(order[i]))
        rest = np.flatnonzero(alive[i + 1 :]) + i + 1
        wide = np.minimum(right[i], right[rest]) - np.maximum(left[i], left[rest])
        high = np.minimum(bottom[i], bottom[rest]) - np.maximum(top[i], top[rest])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        alive[rest[shared > most * (areas[i] + areas[rest] - shared)]] = False
    return kept


def _batched_nms(suppress: Suppress, boxes: Tensor, scores: Tensor, groups: Tensor, most: float) -> Tensor:
    """torchvision.ops.batched_nms: suppression within each group, the kept of all groups best score first."""
    kept: list[int] = []
    for group in np.unique(groups.numpy()):
        mine = np.flatnonzero(groups.numpy() == group)
        kept.extend(mine[suppress(boxes.numpy()[mine], scores.numpy()[mine], most)])
    index = np.asarray(kept, np.int64)
    return torch.from_numpy(index[np.argsort(-scores.numpy()[index], kind="stable")])


class ReferenceMtcnn:
    """facenet-pytorch's MTCNN on the processor with all faces kept, best score first.

    ``suppress`` answers its non-maximum suppression: a compiled one, where timings shall not blame it for the missing
    operator.
    """

    def __init__(self, *, min_face_px: int, suppress: Suppress = keep_by_union) -> None:
        declare_torchvision_operators()
        package = importlib.import_module("facenet_pytorch")
        cascade: Any = importlib.import_module("facenet_pytorch.models.utils.detect_face")
        cascade.batched_nms = partial(_batched_nms, suppress)
        self._mtcnn = package.MTCNN(keep_all=True, min_face_size=min_face_px, select_largest=False, device="cpu")

    def detect(self, image: NDArray[np.uint8]) -> tuple[Float32, Float32, Float32]:
        """RGB uint8 (H, W, 3) -> boxes (M, 4) px, scores (M,), points (M, 5, 2) px, all float32."""
        boxes, scores, points = self._mtcnn.detect(image, landmarks=True)
        if boxes is None:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        return boxes.astype(np.float32), np.asarray(scores, np.float32), points.astype(np.float32)
