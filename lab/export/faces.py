"""The faces that an exported file is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attendance.align import arcface_112
from attendance.detect.port import Detector
from attendance.errors import ImageError, UsageError
from attendance.types import RGBImage
from lab.data.folder import FaceCutter, FolderSource
from lab.data.source import Ints


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredFaces:
    """``chips`` RGB uint8 (N, S, S, 3), ``people`` (N,) whom each shows, ``unread`` how many photos gave none."""

    chips: RGBImage
    people: Ints
    unread: int


def read_faces(
    folder: Path, *, input_px: int, aligned: bool, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> MeasuredFaces:
    """The faces of ``folder/<person>/<photo>``, cut out as the product does, or crops as they are.

    Raises:
        SourceError: the folder holds no photo.
        UsageError: none of them holds a face.
    """
    source = FolderSource(folder, cut=None if aligned else FaceCutter(arcface_112(), _detector))
    chips, people = [], []
    for index in progress(range(len(source))):
        try:
            chips.append(source.read(index, input_px))
        except ImageError:
            continue
        people.append(source.labels[index])
    if not chips:
        raise UsageError(f"--images {folder}: no photo could be read as a face; --aligned takes square crops")
    return MeasuredFaces(np.stack(chips), np.array(people, dtype=np.int64), len(source) - len(chips))


def _detector() -> Detector:
    from attendance.detect.mtcnn import MtcnnDetector

    return MtcnnDetector()
