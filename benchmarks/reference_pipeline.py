"""What a program of facenet-pytorch's parts does with a frame: its MTCNN, and an embedding of every face, one by one.

The embedding is our default embedder's network in torch's default layout, without the mirror image.
"""

from __future__ import annotations

import numpy as np
import torch

from attendance.align import align, facenet_160
from attendance.embed.dlib import find_weights, read_weights
from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29
from attendance.types import Face, Float32, RGBImage
from benchmarks import detection_speed
from benchmarks.reference_mtcnn import ReferenceMtcnn


class ReferencePipeline:
    """Frames to vectors."""

    def __init__(self, *, min_face_px: int) -> None:
        self._mtcnn = ReferenceMtcnn(min_face_px=min_face_px, suppress=detection_speed.compiled_suppression)
        network = DlibResNet29()
        network.load_state_dict({k: torch.from_numpy(v) for k, v in read_weights(find_weights().read_bytes()).items()})
        self._network = network.eval()

    def detect(self, image: RGBImage) -> list[Face]:
        """The faces of an RGB uint8 (H, W, 3) image, best first."""
        boxes, scores, points = self._mtcnn.detect(image)
        return [Face(box, float(score), five) for box, score, five in zip(boxes, scores, points, strict=True)]

    def run(self, image: RGBImage) -> list[Float32]:
        """A vector (128,) for each face."""
        return [self._embed(image, face) for face in self.detect(image)]

    def _embed(self, image: RGBImage, face: Face) -> Float32:
        # Another alignment than the model's, of the same number of pixels after the cut: the time is the same.
        edge = (160 - INPUT_PX) // 2
        chip = align(image, [face], facenet_160())[:, edge : edge + INPUT_PX, edge : edge + INPUT_PX]
        pixels = torch.from_numpy(np.ascontiguousarray(chip)).permute(0, 3, 1, 2).float().contiguous()
        with torch.inference_mode():
            vector: Float32 = self._network((pixels - 127.5) / 128.0).numpy()[0]
        return vector
