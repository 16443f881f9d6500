"""Record what the reference finds on the two sample portraits, for tests/detect.

python -m benchmarks.record_detection_fixture
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reference_mtcnn import ReferenceMtcnn
from tests.detect.portraits import PORTRAITS, portrait_path

TARGET = Path(__file__).resolve().parents[1] / "tests" / "detect" / "reference.json"
FACES_PX = (20, 40)


def record_portraits() -> None:
    """Write the boxes, scores and points of both portraits at both settings."""
    record = {}
    for min_face_px in FACES_PX:
        reference = ReferenceMtcnn(min_face_px=min_face_px)
        for name in PORTRAITS:
            with Image.open(portrait_path(name)) as image:
                boxes, scores, points = reference.detect(np.asarray(image.convert("RGB")))
            record[f"{name}-{min_face_px}"] = {
                "boxes": np.round(boxes.astype(float), 4).tolist(),
                "scores": np.round(scores.astype(float), 6).tolist(),
                "points": np.round(points.astype(float), 4).tolist(),
            }
    TARGET.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record_portraits()
