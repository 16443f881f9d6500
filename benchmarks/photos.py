"""Photos for the benchmarks of enrolment: which half, read as an enrolment reads them, and spoiled by code."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from attendance.app import App
from attendance.faces import FaceRule, choose_face
from attendance.stills import Reading, StillReader
from attendance.types import Face, Float32, RefusalReason, RGBImage
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.report import share

WORK = Path(__file__).parents[1] / "build" / "hygiene"


def parser_of(command: str, summary: str) -> argparse.ArgumentParser:
    """The flags that these benchmarks share: which photos, of which half, and where what was read is kept."""
    parser = argparse.ArgumentParser(prog=command, description=summary)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="where what was read is kept")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos (report); tune writes no result")
    return parser


def data_set(arguments: argparse.Namespace, command: str) -> Lfw | None:
    """The photos, or None, having said so, where they are not there."""
    lfw = Lfw(arguments.data)
    if lfw.is_there():
        return lfw
    print(f"{command}: skipped: no data set (images/, split.csv) in {arguments.data}")
    return None


def readings_file(app: App, work: Path, half: str) -> Path:
    """Where the readings of a half are kept: others for every model and every limit of quality."""
    limits = hashlib.sha256(repr(app.rulebook.quality_limits()).encode()).hexdigest()[:8]
    return work / f"readings-{half}-{app.card.sha256[:8]}-{limits}.npz"


def face_of(app: App, image: RGBImage) -> Face | None:
    """The face in the middle of a picture."""
    size = (image.shape[0], image.shape[1])
    return choose_face(app.reader.detect([image])[0], size, FaceRule.CENTRE).face


def cell(tally: Mapping[str, Any]) -> str:
    """A tally as a table shows it."""
    return share(tally["rate"], tally["interval"])


class KeptStills(StillReader):
    """Gives what was read before: several draws of one set of photos need not be read again."""

    def __init__(self, readings: Mapping[Path, Reading]) -> None:
        self._readings = readings

    def read(self, paths: Iterable[Path]) -> Iterator[Reading]:
        """One reading per path, in order."""
        return (self._readings[path] for path in paths)


def read_strictly(
    app: App, paths: Sequence[Path], kept: Path | None = None, *, most: int | None = None
) -> dict[Path, Reading]:
    """Photos as an enrolment reads them, by the face in the middle; kept in a file, where one is named.

    Args:
        app: with the networks and the limits of quality.
        paths: of the photos.
        kept: file of what was read before, and where it is kept.
        most: how many may be read that were not before; the rest is left out. None: all are read.
    """
    found = _load(kept) if kept is not None and kept.exists() else {}
    fresh = [path for path in paths if path not in found][:most]
    stills = app.stills(rule=FaceRule.CENTRE, strict=True)
    found |= dict(zip(fresh, stills.read(fresh), strict=True))
    if kept is not None and fresh:
        _save(kept, found, app.card.dimension)
    return found


def _load(kept: Path) -> dict[Path, Reading]:
    with np.load(kept) as found:
        columns = [found[name] for name in ("paths", "sha256", "reasons", "details")]
        vectors = found["vectors"]
    return {
        Path(path): Reading(
            Path(path), sha, None if reason else vector, None, RefusalReason(reason) if reason else None, detail
        )
        for path, sha, reason, detail, vector in zip(*(c.tolist() for c in columns), vectors, strict=True)
    }


def _save(kept: Path, readings: Mapping[Path, Reading], dimension: int) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    empty = np.zeros(dimension, np.float32)
    told = readings.values()
    np.savez(
        kept,
        paths=np.array([str(path) for path in readings]),
        sha256=np.array([r.sha256 for r in told]),
        reasons=np.array(["" if r.reason is None else str(r.reason) for r in told]),
        details=np.array([r.detail for r in told]),
        vectors=np.stack([empty if r.vector is None else r.vector for r in told]),
    )


def open_rgb(path: Path) -> RGBImage:
    """A photo's pixels."""
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB"), np.uint8)


def save_rgb(image: RGBImage, path: Path) -> Path:
    """Write a JPEG as cameras do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=92)
    return path


def smeared(image: RGBImage, length_px: float, angle_rad: float) -> RGBImage:
    """The picture as a moving camera sees it: the mean along a line of this length."""
    side = max(int(np.ceil(length_px)) | 1, 3)
    kernel = np.zeros((side, side), np.float32)
    for at in np.linspace(-length_px / 2, length_px / 2, 4 * side):
        x, y = side // 2 + at * np.cos(angle_rad), side // 2 + at * np.sin(angle_rad)
        column, row = int(np.floor(x)), int(np.floor(y))
        for across in (0, 1):
            for down in (0, 1):
                if 0 <= row + down < side and 0 <= column + across < side:
                    kernel[row + down, column + across] += (1 - abs(x - column - across)) * (1 - abs(y - row - down))
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def eye_distance(points: Float32) -> float:
    """Distance of the eyes in pixels."""
    return float(np.hypot(*(points[1] - points[0])))
