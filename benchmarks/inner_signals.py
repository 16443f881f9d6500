"""What the default detector and embedder know on their way to a face: scores of the stages, and the vector's length."""

from __future__ import annotations

import numpy as np

from attendance.align import align
from attendance.app import App
from attendance.detect import boxes as box_math
from attendance.detect.backend import RNET_SIDE_PX
from attendance.detect.mtcnn import MtcnnDetector, _cutter_of_images
from attendance.embed.torch import TorchEmbedder
from attendance.track import iou_matrix
from attendance.types import Face, RGBImage

OVERLAP = 0.5
"""Intersection over union from which on a window of PNet counts as the face's."""


def stage_scores(detector: MtcnnDetector, image: RGBImage, face: Face) -> tuple[float, float]:
    """PNet's best window at the face, and RNet's of the face's square, 0..1; image RGB uint8 (H, W, 3)."""
    square = box_math.squared(face.box[None])
    crops = _cutter_of_images([image], np.zeros(1, np.int64), square)
    refined = float(box_math.probability(detector._backend.crops(RNET_SIDE_PX, 1, crops))[0])
    proposed, least = 0.0, box_math.logit(0.05)
    for scan in detector._scans([image]):
        [levels] = detector._backend.windows([scan], least)
        for level, maps in zip(scan.levels, levels, strict=True):
            windows = box_math.window_proposals(maps[0], level.scale, least)
            near = iou_matrix(windows[:, :4], square)[:, 0] >= OVERLAP
            proposed = max(proposed, float(windows[near, 4].max(initial=0.0)))
    return proposed, refined


def vector_length(app: App, image: RGBImage, face: Face) -> float:
    """The length of the embedding before it is brought to one."""
    embedder = app.embedder
    if not isinstance(embedder, TorchEmbedder):
        raise TypeError(f"expected the default model, which runs as a network of ours, got {type(embedder).__name__}")
    return float(np.linalg.norm(embedder._run(align(image, [face], app.card.alignment))[0]))
