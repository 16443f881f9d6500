"""What a kept crop loses against its photo: the same faces embedded from both, and their chips compared.

Photos come as they are, and enlarged, since a face is only shrunk for its crop where its eyes lie more than
`EYES_PX` apart, which those of the data set do not. The points are found once, in the photo as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attendance.align import align, arcface_112, facenet_160
from attendance.app import App
from attendance.config import load
from attendance.crops import cut, decoded, encoded
from attendance.crops.cutting import EYES_PX
from attendance.types import Face, RGBImage
from benchmarks.lfw import DEFAULT_DATA, HALVES
from benchmarks.photos import data_set, face_of, open_rgb
from benchmarks.report import Table, write_result

COMMAND = "python -m benchmarks.crops"
LARGER = (1, 2, 4)
ALIGNMENTS = {"arcface_112": arcface_112(), "facenet_160": facenet_160(32)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="What a kept crop loses against its photo.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="tune", help="whose photos (tune)")
    parser.add_argument("--photos", type=int, default=300, metavar="N", help="how many photos (300)")
    arguments = parser.parse_args(argv)
    lfw = data_set(arguments, COMMAND)
    if lfw is None:
        return 0
    paths = [path for photos in lfw.people(arguments.half).values() for path in photos[:1]][: arguments.photos]
    with App(load(None)) as app:
        seen = [(image, face) for path in paths if (face := face_of(app, image := open_rgb(path))) is not None]
        rows = {larger: _compared(app, seen, larger) for larger in LARGER}
        model = app.card.id
    table = Table(
        f"{len(seen)} photos of {arguments.half}, model {model}",
        ("photo enlarged", "eyes apart, median px", "crops shrunk", "cosine photo to crop: mean", "1 % lowest",
         "lowest", "arcface chip, mean difference of 255", "facenet box", "bytes of a crop, median"),
        [[f"{larger}x", *(str(value) for value in row.values())] for larger, row in rows.items()],
        f"Eyes stay at most {EYES_PX:g} px apart in a crop.",
    )  # fmt: skip
    found = write_result("crops", "Kept crops against their photos", tables=[table], data={
        "photos": len(seen), "half": arguments.half, "model": model, "rows": {str(k): v for k, v in rows.items()},
    }, command=" ".join([COMMAND, *(sys.argv[1:] if argv is None else argv)]))  # fmt: skip
    print(found[0].read_text(encoding="utf-8"))
    return 0


def _compared(app: App, seen: Sequence[tuple[RGBImage, Face]], larger: int) -> Mapping[str, Any]:
    cosines, eyes, sizes, shrunk = [], [], [], 0
    differences: dict[str, list[float]] = {name: [] for name in ALIGNMENTS}
    for photo, found in seen:
        image, face = _enlarged(photo, found, larger)
        data = encoded(cut(image, face))
        crop = decoded(data)
        assert crop.holds(app.card.alignment) and all(crop.holds(each) for each in ALIGNMENTS.values())
        apart = float(np.hypot(*(face.points[1] - face.points[0])))
        kept = float(np.hypot(*(crop.face.points[1] - crop.face.points[0])))
        shrunk += kept < 0.999 * apart
        one, other = app.reader.embed([image, crop.image], [[face], [crop.face]])
        cosines.append(float(one[0] @ other[0]))
        eyes.append(apart)
        sizes.append(len(data))
        for name, alignment in ALIGNMENTS.items():
            chips = (align(image, [face], alignment)[0], align(crop.image, [crop.face], alignment)[0])
            differences[name].append(float(np.abs(chips[0].astype(int) - chips[1].astype(int)).mean()))
    return {
        "eyes_px": round(float(np.median(eyes)), 1),
        "shrunk": shrunk,
        "mean": round(float(np.mean(cosines)), 6),
        "low": round(float(np.quantile(cosines, 0.01)), 6),
        "lowest": round(float(np.min(cosines)), 6),
        **{name: round(float(np.mean(each)), 4) for name, each in differences.items()},
        "bytes": int(np.median(sizes)),
    }


def _enlarged(image: RGBImage, face: Face, larger: int) -> tuple[RGBImage, Face]:
    if larger == 1:
        return image, face
    wide = cv2.resize(image, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC)
    points = ((face.points + 0.5) * larger - 0.5).astype(np.float32)
    return np.asarray(wide, np.uint8), Face((face.box * larger).astype(np.float32), face.score, points)


if __name__ == "__main__":
    sys.exit(main())
