"""Quality reasons on photos with known faults: each fault named, good photos let through."""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attendance.align import quality_chips
from attendance.app import App
from attendance.config import load
from attendance.faces import FaceRule, choose_face
from attendance.quality import Quality, judge
from attendance.types import Face, RGBImage
from benchmarks.hygiene_photos import eye_distance, open_rgb, smeared
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.promise_draws import Tally
from benchmarks.report import Table, share, write_result

COMMAND = "python -m benchmarks quality"
TURNED = Path(__file__).parent / "turned_heads.csv"
PEOPLE = 200
PROMISED = {"named": 0.90, "good_refused": 0.02}

Spoil = Callable[[RGBImage, float, np.random.Generator], RGBImage]
"""A picture, its eyes' distance in px and random numbers -> the picture with a fault."""


def _out_of_focus(image: RGBImage, eyes_px: float, rng: np.random.Generator) -> RGBImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), eyes_px * rng.uniform(0.08, 0.15)), np.uint8)


def _smeared(image: RGBImage, eyes_px: float, rng: np.random.Generator) -> RGBImage:
    return smeared(image, eyes_px * rng.uniform(0.5, 0.8), rng.uniform(0.0, np.pi))


def _dark(image: RGBImage, eyes_px: float, rng: np.random.Generator) -> RGBImage:
    noisy = image.astype(np.float32) * rng.uniform(0.12, 0.25) + rng.normal(0.0, 1.5, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _small(image: RGBImage, eyes_px: float, rng: np.random.Generator) -> RGBImage:
    scale = rng.uniform(14.0, 22.0) / eyes_px
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


FAULTS: Mapping[str, tuple[str, str, Spoil]] = {
    "out of focus": ("blurred", "Gaussian of 0.08 to 0.15 eye distances", _out_of_focus),
    "smeared": ("blurred", "line of 0.5 to 0.8 eye distances", _smeared),
    "dark": ("dark", "12 to 25 % of the light, with noise", _dark),
    "small": ("small", "eyes 14 to 22 px apart", _small),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Quality reasons on photos with known faults.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the photos")
    parser.add_argument("--half", choices=HALVES, default="report", help="whose photos (report); tune writes no result")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"photos that are spoiled ({PEOPLE})")
    arguments = parser.parse_args(argv)
    lfw = Lfw(arguments.data)
    if not lfw.is_there():
        print(f"{COMMAND}: skipped: no data set (images/, split.csv) in {arguments.data}")
        return 0
    with App(load(None, environment={})) as app:
        data = measure(app, lfw, arguments.half, people=arguments.people)
    tables = _tables(data)
    for row in (row for table in tables for row in table.rows):
        print(" | ".join(row))
    if arguments.half != "report" or arguments.people != PEOPLE:
        print("no result is written: that takes the half kept for reporting and all photos")
        return 0
    files = write_result("quality", "Quality reasons on known faults", tables=tables, data=data, command=COMMAND)
    print(f"written: {files[0].name}, {files[1].name}")
    return 0 if all(data["promises"].values()) else 1


def measure(app: App, lfw: Lfw, half: str, *, people: int) -> dict[str, Any]:
    """Every number, as plain values."""
    everybody = lfw.people(half)
    names = list(everybody)
    rng = np.random.default_rng(6)
    spoiled = sorted(rng.permutation(len(names))[:people].tolist())
    named = {fault: Tally.empty(len(names)) for fault in FAULTS}
    faults: dict[str, int] = {}
    for place in spoiled:
        image = open_rgb(everybody[names[place]][0])
        face = _face(app, image)
        if face is None:
            continue
        for fault, (code, _, spoil) in FAULTS.items():
            # A face that is found no more is refused as well, but not for the fault.
            quality = _judged(app, spoil(image, eye_distance(face.points), rng))
            named[fault].add(np.array([place]), np.array([quality is not None and code in quality.faults]))
    good, turned = Tally.empty(len(names)), Tally.empty(len(names))
    heads = _turned()
    for place, name in enumerate(names):
        for path in everybody[name]:
            image = open_rgb(path)
            quality = _judged(app, image)
            if hashlib.sha256(path.read_bytes()).hexdigest() in heads:
                turned.add(np.array([place]), np.array([quality is not None and "turned" in quality.faults]))
                continue
            good.add(np.array([place]), np.array([quality is None or not quality.good]))
            for code in () if quality is None else quality.faults:
                faults[code] = faults.get(code, 0) + 1
    result: dict[str, Any] = {
        "half": half,
        "named": {fault: tally.to_json() for fault, tally in named.items()},
        "turned": turned.to_json() if turned.trials.sum() else None,
        "good_refused": good.to_json(),
        "good_faults": dict(sorted(faults.items())),
    }
    rates = [tally["rate"] for tally in result["named"].values()]
    rates += [result["turned"]["rate"]] if result["turned"] is not None else []
    refused = good.rate()
    result["promises"] = {"faults named": min(rates) >= PROMISED["named"], "good": refused < PROMISED["good_refused"]}
    return result


def _face(app: App, image: RGBImage) -> Face | None:
    size = (image.shape[0], image.shape[1])
    return choose_face(app.reader.detect([image])[0], size, FaceRule.CENTRE).face


def _judged(app: App, image: RGBImage) -> Quality | None:
    """The picture's face as the gate sees it; None without a face."""
    face = _face(app, image)
    if face is None:
        return None
    size = (image.shape[0], image.shape[1])
    return judge(face, size, level=app.quality_limits(), chip=quality_chips(image, [face])[0])


def _turned() -> frozenset[str]:
    """SHA-256 of the photos that show a head turned so far that the far cheek is hardly seen, as told by eye."""
    with TURNED.open(encoding="utf-8", newline="") as file:
        return frozenset(row["sha256"] for row in csv.DictReader(file))


def _cell(tally: Mapping[str, Any]) -> str:
    return share(tally["rate"], tally["interval"])


def _tables(data: Mapping[str, Any]) -> list[Table]:
    rows = [
        [fault, FAULTS[fault][1], FAULTS[fault][0], str(tally["trials"]), _cell(tally)]
        for fault, tally in data["named"].items()
    ]
    if data["turned"] is not None:
        turned = data["turned"]
        rows.append(["turned head", "real photos, told by eye", "turned", str(turned["trials"]), _cell(turned)])
    good = data["good_refused"]
    faults = ", ".join(f"{count} {code}" for code, count in data["good_faults"].items())
    return [
        Table(
            "Faults named",
            ["fault", "made by", "reason", "photos", "named"],
            rows,
            f"The first photo of people drawn at random. Promised: each at least {share(PROMISED['named'])}. "
            "Intervals: 95 %, drawing people. The turned heads were picked by eye among those whose nose lies "
            "farthest off the middle, so that a head whose points are wrong is not among them.",
        ),
        Table(
            "Photos as they are",
            ["photos", "refused"],
            [[str(good["trials"]), _cell(good)]],
            f"All photos of the half but the turned heads. Faults: {faults}. Promised: less than "
            f"{share(PROMISED['good_refused'])}.",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
