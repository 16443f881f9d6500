"""How many multiply-adds a network does for an input, from its layers and shapes; nothing is computed for it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attendance.detect import pyramid
from attendance.detect.backend import ONET_SIDE_PX, RNET_SIDE_PX
from attendance.detect.mtcnn import MtcnnDetector
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.types import RGBImage


def multiply_adds(network: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds of all convolutions and dense layers for one float input of this shape, batch first."""
    total = 0

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            high, wide = layer.kernel_size
            total += output.numel() * (layer.in_channels // layer.groups) * high * wide
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features

    # On the meta device layers know shapes alone.
    bare = copy.deepcopy(network).eval().to("meta")
    for layer in bare.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        bare(torch.empty(tuple(shape), device="meta"))
    return total


class Cascade:
    """The multiply-adds of MTCNN on pictures: whole networks as published, on the windows and crops that it looks at.

    Put into a detector, it counts the crops that pass by.
    """

    def __init__(self, detector: MtcnnDetector, *, min_face_px: float, scale_factor: float = 0.709) -> None:
        self._min_face_px, self._scale_factor = min_face_px, scale_factor
        self.crops: Counter[int] = Counter()
        self._each = {
            RNET_SIDE_PX: multiply_adds(RNet(), (1, 3, RNET_SIDE_PX, RNET_SIDE_PX)),
            ONET_SIDE_PX: multiply_adds(ONet(), (1, 3, ONET_SIDE_PX, ONET_SIDE_PX)),
        }
        self._detector = detector

    def of(self, image: RGBImage) -> int:
        """Multiply-adds of detecting in this picture."""
        self.crops.clear()
        backend = self._detector._backend
        self._detector._backend = _Counted(backend, self.crops)  # type: ignore[assignment]
        try:
            self._detector.detect([image])
        finally:
            self._detector._backend = backend
        return self.of_windows(image.shape[:2]) + sum(self._each[side] * count for side, count in self.crops.items())

    def of_windows(self, size: tuple[int, ...]) -> int:
        """PNet's part in a picture of (H, W)."""
        levels = pyramid.levels(size, self._min_face_px, self._scale_factor)
        return sum(multiply_adds(PNet(), (1, 3, level.height, level.width)) for level in levels)


class _Counted:
    """A backend that notes how many crops of each side it was given."""

    def __init__(self, backend: Any, crops: Counter[int]) -> None:
        self._backend, self._crops = backend, crops

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def crops(self, side_px: int, count: int, *rest: Any) -> Any:
        """As the backend's."""
        self._crops[side_px] += count
        return self._backend.crops(side_px, count, *rest)
