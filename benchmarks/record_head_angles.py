"""Measures how far heads are turned by dlib's 68 points, which know nothing of the gate's five, into head_angles.csv.

Run it where dlib is installed beside this project's packages: ``python -m benchmarks.record_head_angles PHOTOS``. The
points' model comes with face_recognition_models; the head that is fitted to 14 of them is an average one, without its
nose's tip. A head that seems turned by `LOOK_TWICE_DEG` is looked at six times, from three boxes and in the mirror, and
the median counts.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attendance.types import RGBImage
from benchmarks.photos import open_rgb

ANGLES = Path(__file__).parent / "head_angles.csv"
LOOK_TWICE_DEG, KEPT_DEG = 34.0, 35.0
HEAD = {
    17: (-6.825897, 6.760612, 4.402142), 26: (6.825897, 6.760612, 4.402142),
    21: (-1.330353, 7.122144, 6.903745), 22: (1.330353, 7.122144, 6.903745),
    36: (-5.311432, 5.485328, 3.987654), 45: (5.311432, 5.485328, 3.987654),
    39: (-1.789930, 5.393625, 4.413414), 42: (1.789930, 5.393625, 4.413414),
    31: (-2.005628, 1.409845, 6.165652), 35: (2.005628, 1.409845, 6.165652),
    48: (-2.774015, -2.080775, 5.048531), 54: (2.774015, -2.080775, 5.048531),
    57: (0.0, -3.116408, 6.097667), 8: (0.0, -7.415691, 4.070434),
}  # fmt: skip
"""Number among the 68 points -> where it lies on an average head, cm: to the viewer's right, up, towards the viewer."""
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip
MOVED = ((0.0, 0.0, 1.0), (0.05, 0.04, 1.05), (-0.05, -0.04, 0.96))
"""Boxes: shift in their sides, and scale."""
BOX = (0.0505, 0.0441, 1.3693)
"""dlib's box by the features' rectangle: its middle's shift and its side, in that rectangle's longer side."""

Points = NDArray[np.float64]


class HeadAngles:
    """Yaw in degrees of the face in a photo's middle; positive where the nose points to the picture's right."""

    def __init__(self) -> None:
        self._dlib: Any = importlib.import_module("dlib")
        spec = find_spec("face_recognition_models")
        if spec is None or spec.origin is None:
            raise SystemExit("face_recognition_models is not installed: make setup")
        model = Path(spec.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
        self._points, self._faces = self._dlib.shape_predictor(str(model)), self._dlib.get_frontal_face_detector()

    def __call__(self, image: RGBImage) -> float | None:
        """None where dlib finds no face in the middle."""
        middle = np.array([image.shape[1], image.shape[0]]) / 2.0
        faces = [box for box in self._faces.run(image, 0, -0.3)[0] if np.abs(_centre(box) - middle).max() < 35]
        if not faces:
            return None
        points = self._at(image, min(faces, key=lambda box: float(np.abs(_centre(box) - middle).sum())))
        yaw = yaw_of(points)
        if abs(yaw) < LOOK_TWICE_DEG:
            return yaw
        return float(np.median([yaw_of(found) for found in self._again(image, points[17:])]))

    def _again(self, image: RGBImage, features: Points) -> list[Points]:
        low, high = features.min(axis=0), features.max(axis=0)
        side = float((high - low).max())
        x, y = (low + high) / 2.0 + np.array(BOX[:2]) * side
        side *= BOX[2]
        mirror, last, found = np.ascontiguousarray(image[:, ::-1]), image.shape[1] - 1, []
        for across, down, scale in MOVED:
            at_x, at_y, half = x + across * side, y + down * side, side * scale / 2.0
            found.append(self._at(image, self._box(at_x, at_y, half)))
            seen = self._at(mirror, self._box(last - at_x, at_y, half))[MIRRORED]
            found.append(np.stack([last - seen[:, 0], seen[:, 1]], axis=1))
        return found

    def _box(self, x: float, y: float, half: float) -> Any:
        return self._dlib.rectangle(int(x - half), int(y - half), int(x + half), int(y + half))

    def _at(self, image: RGBImage, box: Any) -> Points:
        return np.array([(point.x, point.y) for point in self._points(image, box).parts()], np.float64)


def yaw_of(points: Points) -> float:
    """Yaw of the average head fitted to the 68 points, degrees."""
    head = np.array(list(HEAD.values()))
    head = (head - head.mean(axis=0)) * (1.0, -1.0, -1.0)
    seen = points[list(HEAD)]
    camera = np.array([[1000.0, 0.0, 125.0], [0.0, 1000.0, 125.0], [0.0, 0.0, 1.0]])
    far = 1000.0 * 10.6 / max(float(np.hypot(*(points[45] - points[36]))), 30.0)
    best: tuple[float, float] | None = None
    for begin in (-0.6, 0.0, 0.6):
        turn, place = np.array([[0.0], [begin], [0.0]]), np.array([[0.0], [0.0], [far]])
        _, turn, place = cv2.solvePnP(head, seen, camera, None, turn, place, True, cv2.SOLVEPNP_ITERATIVE)
        error = float(np.square(cv2.projectPoints(head, turn, place, camera, None)[0][:, 0] - seen).sum())
        nose = cv2.Rodrigues(turn)[0] @ np.array([0.0, 0.0, -1.0])
        if place[2] > 0 and (best is None or error < best[0]):
            best = (error, float(np.degrees(np.arctan2(nose[0], -nose[2]))))
    return 0.0 if best is None else best[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the angles of all photos of a folder of folders that are turned by `KEPT_DEG` or more."""
    parser = argparse.ArgumentParser(description="Measures heads by dlib's 68 points.")
    parser.add_argument("photos", type=Path)
    folder = parser.parse_args(argv).photos
    measure, rows = HeadAngles(), []
    for path in sorted(folder.glob("*/*.jpg")):
        yaw = measure(open_rgb(path))
        if yaw is not None and abs(yaw) >= KEPT_DEG:
            rows.append((hashlib.sha256(path.read_bytes()).hexdigest(), f"{yaw:.1f}"))
    write(rows)
    return 0


def write(rows: Sequence[tuple[str, str]]) -> None:
    """Write them, by digest."""
    with ANGLES.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("sha256", "yaw_deg"))
        writer.writerows(sorted(rows))


def _centre(box: Any) -> Points:
    return np.array([box.center().x, box.center().y], np.float64)


if __name__ == "__main__":
    sys.exit(main())
