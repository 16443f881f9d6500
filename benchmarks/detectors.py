"""The detectors that can be chosen, on the same pictures: time, smallest face, what is found, and verification by it.

Time on frames of the street clip, in turn with facenet-pytorch's MTCNN. Smallest face: portraits shrunk until they are
lost. Found, extra and points: one photo of each person of the half kept for reporting, beside our MTCNN. Verification:
its pairs, by the default embedder with each detector's points. A detector whose file is not here is named and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch

from attendance.app import App
from attendance.config import load
from attendance.detect.port import Detector
from attendance.detect.registry import FILES
from attendance.errors import ModelError
from attendance.faces import FaceRule, choose_face
from attendance.images import read_photo
from attendance.types import Face, RGBImage
from benchmarks import detection_speed
from benchmarks.detection_parity import overlaps
from benchmarks.pieces import Measured, Options, Part, needs_photos, run
from benchmarks.rates import seconds_of
from benchmarks.reference_mtcnn import ReferenceMtcnn
from benchmarks.report import Table, share
from benchmarks.tracking_videos import MAX_PIXELS, STREET
from lab.evaluate.pairs import read_pairs
from lab.evaluate.verification import judge_pairs, score_pairs
from lab.read import QUALITY_OFF, open_reader, read_vectors

THREADS = 2
NAMES = ("mtcnn", "libfacedetection", *FILES)
FACES_PX = (40, 80)
PHOTOS = 600
MATCH_IOU, EXTRA_IOU = 0.4, 0.3
SHRUNK, SHRUNK_PX, TILE_PX, TILES = 96, (8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40), 80, (8, 4)
SHRUNK_FACE_PX = 12
FOUND_AT_LEAST = 0.95


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result."""
    return run(PART, argv)


@contextmanager
def chosen(name: str, **detect: Any) -> Iterator[App]:
    """The app with this detector."""
    overrides = {"detect.name": name, **{f"detect.{key}": value for key, value in detect.items()}}
    torch.set_num_threads(THREADS)
    with App(load(None, environment={}, overrides=overrides)) as app:
        yield app


def usable() -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors whose files are here, and why the others cannot be used."""
    there: dict[str, Detector] = {}
    missing = {}
    for name in NAMES:
        try:
            with chosen(name) as app:
                there[name] = app.detector
        except ModelError as error:
            missing[name] = str(error).splitlines()[0]
    return there, missing


def speed(options: Options) -> Measured:
    """ms a frame of the street clip, all in turn; and the ratio to the reference."""
    there, missing = usable()
    rows = []
    for size, sides in detection_speed.SIZES.items():
        pictures = detection_speed.frames(STREET, sides)
        for min_face_px in FACES_PX:
            reference = ReferenceMtcnn(min_face_px=min_face_px, suppress=detection_speed.compiled_suppression)
            calls: dict[str, Callable[[RGBImage], object]] = {"reference": reference.detect}
            for name in there:
                with chosen(name, min_face_px=min_face_px) as app:
                    calls[name] = partial(_one, app.detector)
            times = [
                {name: seconds_of(partial(_each, call, pictures)) / len(pictures) for name, call in calls.items()}
                for _ in range(options.rounds + 1)
            ][1:]
            rows += [
                {
                    "detector": name,
                    "frame": size,
                    "min_face_px": min_face_px,
                    "ms": 1e3 * median(turn[name] for turn in times),
                    "ratio": median(turn["reference"] / turn[name] for turn in times),
                }
                for name in calls
            ]
    return {"rows": rows, "missing": missing}


def _one(detector: Detector, picture: RGBImage) -> list[Face]:
    return detector.detect([picture])[0]


def _each(call: Callable[[RGBImage], object], pictures: Sequence[RGBImage]) -> None:
    for picture in pictures:
        call(picture)


def found(options: Options) -> Measured:
    """One photo of each of so many people, and frames of the street clip, beside our MTCNN."""
    photos = [read_photo(path, max_pixels=MAX_PIXELS).image for path in _photos(options, PHOTOS)]
    street = detection_speed.frames(STREET, detection_speed.SIZES["1920x1080"])
    there, _ = usable()
    expected = there["mtcnn"].detect(photos)
    expected_street = there["mtcnn"].detect(street)
    rows = []
    for name, detector in there.items():
        faces = detector.detect(photos)
        rows.append(
            {
                "detector": name,
                "photos": len(photos),
                **_people(photos, faces),
                **beside(expected, faces),
                "street": beside(expected_street, detector.detect(street)),
            }
        )
    return {"rows": rows}


def _people(photos: Sequence[RGBImage], faces: Sequence[Sequence[Face]]) -> Measured:
    """How many photos have a face in their middle: the person that they stand for."""
    there = 0
    for photo, mine in zip(photos, faces, strict=True):
        face = choose_face(mine, photo.shape[:2], FaceRule.CENTRE).face
        middle = np.array(photo.shape[1::-1]) / 2
        there += face is not None and bool((face.box[:2] <= middle).all() and (face.box[2:] >= middle).all())
    return {"people_found": there}


def beside(expected: Sequence[Sequence[Face]], found: Sequence[Sequence[Face]]) -> Measured:
    """Expected faces that are found, found ones that overlap no expected one, and how far their points are apart.

    Points: mean distance of the five over the width of the expected box; median and 95 % of the faces found by both.
    """
    total = matched = extra = 0
    apart: list[float] = []
    for theirs, mine in zip(expected, found, strict=True):
        total += len(theirs)
        overlap = overlaps(_boxes(theirs), _boxes(mine)) if theirs and mine else np.zeros((len(theirs), len(mine)))
        extra += int((overlap.max(axis=0, initial=0.0) < EXTRA_IOU).sum())
        for row, face in enumerate(theirs):
            best = int(overlap[row].argmax()) if len(mine) else 0
            if len(mine) and overlap[row, best] >= MATCH_IOU:
                matched += 1
                distance = np.linalg.norm(mine[best].points - face.points, axis=1).mean()
                apart.append(float(distance / (face.box[2] - face.box[0])))
    half, most = np.quantile(apart, (0.5, 0.95)).tolist() if apart else (None, None)
    return {"expected": total, "matched": matched, "extra": extra, "points_median": half, "points_p95": most}


def _boxes(faces: Sequence[Face]) -> np.ndarray:
    return np.array([face.box for face in faces], np.float32).reshape(-1, 4)


def shrunk(options: Options) -> Measured:
    """Share of portraits found at each width of the face in px, the smallest face looked for being 12 px."""
    with chosen("mtcnn") as app:
        faces = _portraits(options, app.detector)
    there, _ = usable()
    detectors = {}
    for name in there:
        with chosen(name, min_face_px=SHRUNK_FACE_PX) as app:
            detectors[name] = app.detector
    rows = []
    for width_px in SHRUNK_PX:
        pictures, boxes = _sheets(faces, width_px)
        for name, detector in detectors.items():
            hits = sum(
                _is_found(box, mine)
                for mine, expected in zip(detector.detect(pictures), boxes, strict=True)
                for box in expected
            )
            rows.append({"detector": name, "face_px": width_px, "found": hits / len(faces)})
    return {"rows": rows, "portraits": len(faces)}


def _portraits(options: Options, detector: Detector) -> list[tuple[RGBImage, np.ndarray]]:
    """Photos with the box of the face in their middle."""
    chosen_faces: list[tuple[RGBImage, np.ndarray]] = []
    for path in _photos(options, 2 * SHRUNK):
        photo = read_photo(path, max_pixels=MAX_PIXELS).image
        face = choose_face(detector.detect([photo])[0], photo.shape[:2], FaceRule.CENTRE).face
        if face is not None and len(chosen_faces) < SHRUNK:
            chosen_faces.append((photo, face.box))
    return chosen_faces


def _sheets(
    faces: Sequence[tuple[RGBImage, np.ndarray]], width_px: int
) -> tuple[list[RGBImage], list[list[np.ndarray]]]:
    """Grey sheets of 640x320 with a face of this width in each tile, and the faces' boxes."""
    sheets: list[RGBImage] = []
    boxes: list[list[np.ndarray]] = []
    columns, rows = TILES
    for index, (photo, box) in enumerate(faces):
        place = index % (columns * rows)
        if place == 0:
            sheets.append(np.full((rows * TILE_PX, columns * TILE_PX, 3), 128, np.uint8))
            boxes.append([])
        scale = width_px / float(box[2] - box[0])
        size = max(round(photo.shape[1] * scale), 1), max(round(photo.shape[0] * scale), 1)
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # The face's middle comes to the tile's; what does not fit the tile is cut off.
        x, y = ((box[:2] + box[2:]) / 2 * scale).round().astype(int).tolist()
        half = TILE_PX // 2
        part = small[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
        left, top = place % columns * TILE_PX, place // columns * TILE_PX
        at_x, at_y = left + half - min(x, half), top + half - min(y, half)
        sheets[-1][at_y : at_y + part.shape[0], at_x : at_x + part.shape[1]] = part
        middle = np.array((left + half, top + half), np.float32)
        side = (box[2:] - box[:2]) * scale / 2
        boxes[-1].append(np.concatenate((middle - side, middle + side)))
    return sheets, boxes


def _is_found(box: np.ndarray, faces: Sequence[Face]) -> bool:
    return bool(faces) and float(overlaps(box[None], _boxes(faces)).max()) >= EXTRA_IOU


def verification(name: str) -> Callable[[Options], Measured]:
    """The pairs, each photo's face found and placed by this detector."""

    def measure(options: Options) -> Measured:
        pairs = read_pairs(options.lfw.pairs("report"))
        images = sorted({image for pair in pairs for image in (pair.image_a, pair.image_b)})
        try:
            with chosen(name) as app:
                reader = open_reader(app, aligned=False, quality_level=QUALITY_OFF)
                paths = [options.lfw.images / image for image in images]
                read = read_vectors(reader, paths, app.card.dimension, progress=lambda items: items)
        except ModelError as error:
            return {"missing": str(error).splitlines()[0]}
        judged = judge_pairs(score_pairs(pairs, images, read), resamples=200)
        return {
            "pairs": len(pairs),
            "not_read": judged["failed_pairs"],
            "accuracy": judged["accuracy"],
            "interval": list(judged["intervals"]["accuracy"]),
        }

    return measure


def _photos(options: Options, count: int) -> list[Path]:
    """The first photos of so many people of the half, evenly spread."""
    people = options.lfw.people("report")
    names = sorted(people)
    return [people[names[i * len(names) // count]][0] for i in range(min(count, len(names)))]


def _needs(options: Options) -> str | None:
    missing = needs_photos(options)
    return missing if missing is not None or STREET.is_file() else f"no video {STREET.name} in {STREET.parent}"


def _conclude(pieces: Mapping[str, Measured]) -> tuple[Measured, Sequence[Table]]:
    data = {
        "speed": pieces["speed"]["rows"],
        "missing": pieces["speed"]["missing"],
        "found": pieces["found"]["rows"],
        "shrunk": pieces["shrunk"]["rows"],
        "smallest": smallest(pieces["shrunk"]["rows"]),
        "verification": {name: pieces[f"pairs-{name}"] for name in NAMES},
        "promises": {},
    }
    return data, tables(data)


def smallest(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Of each detector the width in px from which on enough faces are found at every width measured."""
    least: dict[str, int | None] = {}
    for name in dict.fromkeys(row["detector"] for row in rows):
        least[name] = None
        for row in sorted((r for r in rows if r["detector"] == name), key=lambda r: -int(r["face_px"])):
            if row["found"] < FOUND_AT_LEAST:
                break
            least[name] = int(row["face_px"])
    return least


def tables(data: Measured) -> Sequence[Table]:
    """What a person reads of the result."""
    kinds = [(size, px) for size in detection_speed.SIZES for px in FACES_PX]
    times = {(row["detector"], row["frame"], row["min_face_px"]): row for row in data["speed"]}
    speed_rows = [
        (name, *(f"{times[name, *kind]['ms']:.1f} ({times[name, *kind]['ratio']:.1f}x)" for kind in kinds))
        for name in dict.fromkeys(row["detector"] for row in data["speed"])
    ]
    found_rows = [
        (
            row["detector"],
            f"{data['smallest'][row['detector']]} px",
            share(row["people_found"] / row["photos"]),
            share(row["matched"] / row["expected"]),
            str(row["extra"]),
            "-" if row["points_median"] is None else f"{share(row['points_median'])}, {share(row['points_p95'])}",
            f"{row['street']['matched']} of {row['street']['expected']}, {row['street']['extra']} extra",
            _verified(data["verification"][row["detector"]]),
        )
        for row in data["found"]
    ]
    missing = [(name, "not measured", why) for name, why in data["missing"].items()]
    found_columns = (
        "detector",
        f"smallest face (from there on {FOUND_AT_LEAST:.0%} found)",
        "photos whose person is found",
        "of MTCNN's faces",
        "faces MTCNN lacks",
        "points from MTCNN's, of the face's width: median, 95 %",
        "street, 1920x1080: of MTCNN's faces",
        "verification",
    )
    result = [
        Table(
            "Time",
            ("detector", *(f"{size}, from {px} px" for size, px in kinds)),
            speed_rows,
            "ms a frame (times sooner than facenet-pytorch's MTCNN, in the same rounds), two threads.",
        ),
        Table(
            "What is found",
            found_columns,
            found_rows,
            f"{data['found'][0]['photos']} photos of 250 px, faces from 40 px. A face is MTCNN's at {MATCH_IOU} of the "
            "union. Verification: 10-fold accuracy on the pairs of the half kept for reporting, 95 % interval.",
        ),
    ]
    return [*result, Table("Not here", ("detector", "", "why"), missing)] if missing else result


def _verified(row: Measured) -> str:
    return (
        "not measured" if "missing" in row else f"{share(row['accuracy'], row['interval'])}, {row['not_read']} not read"
    )


PART = Part(
    name="detectors",
    title="Detectors beside each other",
    pieces={
        "speed": speed,
        "found": found,
        "shrunk": shrunk,
        **{f"pairs-{name}": verification(name) for name in NAMES},
    },
    conclude=_conclude,
    threads=THREADS,
    needs=_needs,
)


if __name__ == "__main__":
    sys.exit(main())
