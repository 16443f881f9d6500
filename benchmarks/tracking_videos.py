"""Videos to follow faces in, made by code from photos of the half asked for, and the street clip where it lies near."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from attendance.detect.port import Detector
from attendance.faces import FaceRule, choose_face
from attendance.images import read_photo
from attendance.types import Frame, RGBImage
from benchmarks.lfw import DEFAULT_DATA, Lfw
from demo.walkpast import SIZE_PX, PassSpec, WalkPast

FPS = 25.0
BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
STREET = DEFAULT_DATA.parent / "video" / "street_1080p.mp4"
PHOTOS_AT_LEAST = 5
MAX_PIXELS = 100_000_000
TILES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Frames, RGB uint8 (N, H, W, 3), and who is in them: identity id to other photos of theirs, to enrol."""

    name: str
    frames: Sequence[RGBImage]
    people: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def timed(self) -> Iterator[Frame]:
        """The frames with their times."""
        for index, image in enumerate(self.frames):
            yield Frame(image, BEGIN + timedelta(seconds=index / FPS), index, "video")


class Maker:
    """Draws people of one half, each once, everything following from ``seed``."""

    def __init__(self, lfw: Lfw, half: str, detector: Detector, *, seed: int) -> None:
        self._detector = detector
        self._rng = np.random.default_rng(seed)
        people = lfw.people(half)
        names = [name for name in sorted(people) if len(people[name]) >= PHOTOS_AT_LEAST]
        self._photos = people
        self._names = [names[i] for i in self._rng.permutation(len(names))]

    def in_turn(self, count: int) -> Video:
        """One person after the other, the room empty between: one face at a time, 640x360."""
        specs, people = self._walkers(count, gap_s=3.4, seconds=2.8)
        return Video(f"one face, {count} passes", self._render(specs), people)

    def side_by_side(self, count: int = 8) -> Video:
        """Eight rooms in one picture of 1920x1080, a person passing in each, and one room that stays empty."""
        width, height = SIZE_PX
        frames: list[RGBImage] = []
        people: dict[str, Sequence[Path]] = {}
        for tile in range(count):
            specs, mine = self._walkers(1, gap_s=0.0, seconds=4.0)
            people |= mine
            row, column = divmod(tile, TILES)
            for index, image in enumerate(self._render(specs)):
                if index == len(frames):
                    frames.append(np.full((TILES * height, TILES * width, 3), 128, np.uint8))
                frames[index][row * height : (row + 1) * height, column * width : (column + 1) * width] = image
        return Video(f"{count} faces, 1920x1080", frames, people)

    def crowd(self, count: int, *, name: str = "") -> Video:
        """People who come in every half second and walk in front of one another, 640x360."""
        specs, people = self._walkers(count, gap_s=0.5, seconds=4.0)
        return Video(f"{name or f'crowd of {count}'}, crossing", self._render(specs), people)

    def _walkers(self, count: int, *, gap_s: float, seconds: float) -> tuple[list[PassSpec], dict[str, Sequence[Path]]]:
        names = [self._names.pop() for _ in range(count)]
        specs = []
        for index, name in enumerate(names):
            photo = read_photo(self._photos[name][0], max_pixels=MAX_PIXELS).image
            box = self._box(photo)
            start = index * gap_s
            specs.append(PassSpec(name, photo, box, int(self._rng.integers(2**31)), start_s=start, seconds=seconds))
        return specs, {name: self._photos[name][1:PHOTOS_AT_LEAST] for name in names}

    def _box(self, photo: RGBImage) -> tuple[float, float, float, float]:
        height, width = photo.shape[:2]
        face = choose_face(self._detector.detect([photo])[0], (height, width), FaceRule.CENTRE).face
        if face is None:
            return 0.31 * width, 0.28 * height, 0.69 * width, 0.76 * height
        x1, y1, x2, y2 = (float(value) for value in face.box)
        return x1, y1, x2, y2

    def _render(self, specs: Sequence[PassSpec]) -> list[RGBImage]:
        return list(WalkPast(specs, seed=int(self._rng.integers(2**31)), fps=FPS, tail_s=0.5).frames())


def street(size: tuple[int, int], path: Path = STREET) -> Video | None:
    """The clip of a street, filmed by hand, at (width, height); None where it is not there."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, frame = capture.read()
        if not read:
            break
        small = frame if frame.shape[1::-1] == size else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        frames.append(np.ascontiguousarray(small[:, :, ::-1], dtype=np.uint8))
    capture.release()
    return Video(f"street, {size[0]}x{size[1]}", frames) if frames else None
