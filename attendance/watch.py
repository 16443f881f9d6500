"""When to look where: detection where something may be new, and following with one small network in between.

A whole detection on every frame mostly finds what is known already. Here a face that has a track is followed: the last
network alone looks at the place where the track should be. The detector looks

- at places that changed and where no track's person explains the change, at once: somebody comes in;
- at all places that changed, every ``detect_every`` frames;
- around tracks that came too close to be told apart by place, and around one that was just lost;
- at the whole picture every ``whole_every_s`` seconds, whatever changed, so that nobody who stands still is lost.

With ``detect_every`` 1 the whole picture is searched on every frame and nothing is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from attendance.detect.motion import Mask, MotionMap, disjoint
from attendance.detect.port import Detector, RefiningDetector, Region, Search
from attendance.track import Tracker, iou_matrix
from attendance.types import Face, Float32, RGBImage

FOLLOWED_SCORE = 0.7
"""What the last network must give a followed face: what it must give a detected one."""

FOLLOWED_IOU = 0.4
"""How much of the place where a track should be the followed face must share."""

SAME_FACE_IOU = 0.5
"""Two boxes of one frame that share more are one face."""

CROSSING_IOU = 0.15
"""Two tracks whose boxes share more may take each other's face."""

CROSSING_EVERY = 2
"""Of tracks in view that cross, every so many frames' faces are detected and matched instead of followed."""

MOST_UNCONFIRMED = 3
"""A track whose place was searched so often in vain is followed no further."""

MOST_WAIT = 2
"""Frames to wait at most between searches of unexplained changes that found nothing new."""

MOVING_SHARE = 0.5
"""Where more of the picture changed, the camera or the light did, and that explains it."""

SOONER = 4
"""After a search that found a new face the next one comes in this part of ``detect_every``, and then ever later."""

LOST_AT = frozenset({0, 2, 5, 10})
"""Frames after it was last seen at which a lost track is looked for around its place."""

WHOLE_SHARE = 0.7
"""From this share of the picture on, it is searched as a whole."""

HEAD = (0.5, 0.7)
"""How far beside and above a face, in its widths and heights, its head explains a change."""

BODY = 1.2
"""How far beside a face, in its widths, its body explains a change, from the chin down."""

AROUND = 0.7
"""What is searched around a place where a face should be, in sizes of the face on each side."""

LEAST_CELLS = 3
"""Fewer cells that changed without explanation are no face."""

_NO_VECTORS: Float32 = np.empty((0, 0), np.float32)

Timed = Callable[[str], AbstractContextManager[None]]
"""Measures a step of the path, by its name, while the context lasts."""


@dataclass(frozen=True, slots=True, eq=False)
class Follow:
    """Boxes (M, 4) px of an image, RGB uint8 (H, W, 3), about faces that the last network shall see again."""

    image: RGBImage
    boxes: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Faces of an image, RGB uint8 (H, W, 3), whose vectors (n, D) are wanted."""

    image: RGBImage
    faces: Sequence[Face]


Question = Search | Follow | Look
"""What the work on a frame waits for: faces (`Search`), one face per box (`Follow`), or vectors (`Look`)."""

Answer = list[Face] | Float32

_T = TypeVar("_T")
Steps = Generator[Question, Any, _T]
"""Work that stops at each question and goes on with its answer, so that several cameras' are answered at once."""

Describe = Callable[[Sequence[Face]], Float32]
"""Faces (n) of the frame at hand -> their vectors (n, D) of unit length."""


def untimed(step: str) -> AbstractContextManager[None]:
    """Nobody asks how long the step takes."""
    return nullcontext()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The faces of one frame with their tracks, and the tracks that are over."""

    ids: tuple[int, ...]
    faces: tuple[Face, ...]
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Trust:
    """What speaks against following a track: searches of its place in vain, and frames since it was last seen."""

    unconfirmed: int = 0
    lost: int = 0


class Watch:
    """Finds and follows the faces of one camera. Not for use by several threads at once."""

    def __init__(
        self,
        detector: Detector,
        tracker: Tracker,
        *,
        detect_every: int = 1,
        whole_every_s: float = 2.0,
        timed: Timed = untimed,
    ) -> None:
        """Without a `RefiningDetector` nothing can be followed, and every frame is searched.

        ``timed`` measures the steps ``detect`` and ``track`` while its contexts last.
        """
        if detect_every < 1 or whole_every_s <= 0.0:
            raise ValueError(
                f"detect_every must be at least 1 and whole_every_s above 0, got {detect_every} and {whole_every_s}"
            )
        self._timed = timed
        self._detector = detector
        self._refiner = detector if isinstance(detector, RefiningDetector) and detect_every > 1 else None
        self._tracker = tracker
        self._every = detect_every
        self._whole_every = timedelta(seconds=whole_every_s)
        self._motion = MotionMap()
        self._whole_at: datetime | None = None
        self._since_search = 0
        self._interval = detect_every
        self._in_vain = 0
        self._waited = 0
        self._crossed = 0
        self._trust: dict[int, _Trust] = {}

    def see(self, image: RGBImage, observed_at: datetime, *, describe: Describe | None = None) -> Seen:
        """Take the next frame: RGB uint8 (H, W, 3) and its time (aware UTC), and answer its questions one by one.

        ``describe`` gives vectors of faces; asked only where place alone does not tell who is who.
        """
        steps = self.steps(image, observed_at, looks=describe is not None)
        answer: Answer | None = None
        while True:
            try:
                question = steps.send(answer)
            except StopIteration as end:
                seen: Seen = end.value
                return seen
            answer = self._answer(question, describe)

    def steps(self, image: RGBImage, observed_at: datetime, *, looks: bool) -> Steps[Seen]:
        """The work on the next frame: RGB uint8 (H, W, 3) and its time (aware UTC).

        ``looks``: whether `Look` may be asked, where place alone does not tell who is who.
        """
        expected = self._tracker.expected(observed_at)
        frame = _Frame(image, observed_at, looks)
        if self._refiner is None:
            faces = yield from _find(image, [_whole(image)])
            return self._update(faces, (yield from self._match(faces, expected, frame)), observed_at)
        self._trust = {i: self._trust.get(i, _Trust()) for i in expected}
        unsure = self._unsure(expected)
        regions = self._regions(image, expected, unsure, observed_at)
        sight = _Sight(expected)
        found = yield from _find(image, regions)
        sight.add(found, (yield from self._match(found, expected, frame)))
        self._judge_search(regions, sight)
        for track_id, face in (yield from self._follow(image, sight.missing(unsure))).items():
            sight.add([face], [track_id])
        found = yield from _find(image, self._places_of_lost(image, sight.missing(unsure), regions))
        sight.add(found, (yield from self._match(found, sight.missing(()), frame)))
        for track_id, trust in self._trust.items():
            trust.lost = 0 if track_id in sight.ids else trust.lost + 1
        return self._update(sight.faces, sight.ids, observed_at)

    def _answer(self, question: Question, describe: Describe | None) -> Answer:
        match question:
            case Search():
                with self._timed("detect"):
                    return self._detector.search([question])[0]
            case Follow():
                assert self._refiner is not None
                with self._timed("detect"):
                    return self._refiner.refine(question.image, question.boxes)
            case Look():
                assert describe is not None
                return describe(question.faces)

    def _unsure(self, expected: Mapping[int, Float32]) -> set[int]:
        """Tracks that would take another's face if they were followed: in front of the lost ones stands somebody else,
        and those in view that cross are sure only if their faces are detected now and then."""
        if len(expected) < 2:
            self._crossed = 0
            return set()
        ids = list(expected)
        boxes = np.stack([expected[i] for i in ids])
        overlap = (iou_matrix(boxes, boxes) - np.eye(len(ids))) > CROSSING_IOU
        lost = np.array([self._trust[i].lost > 0 for i in ids])
        behind = lost & (overlap & ~lost[None]).any(axis=1)
        crossing = ~lost & (overlap & ~lost[None]).any(axis=1)
        self._crossed = self._crossed + 1 if crossing.any() else 0
        if self._crossed % CROSSING_EVERY:
            behind |= crossing
        return {ids[n] for n in np.flatnonzero(behind).tolist()}

    def _match(self, faces: Sequence[Face], among: Collection[int], frame: _Frame) -> Steps[list[int | None]]:
        unclear: list[int] = []
        if frame.looks:
            with self._timed("track"):
                unclear = self._tracker.unclear(faces, frame.observed_at, among=among)
        vectors: Float32 = (yield Look(frame.image, [faces[i] for i in unclear])) if unclear else _NO_VECTORS
        with self._timed("track"):
            describe = (lambda _: vectors) if unclear else None
            return self._tracker.match(faces, frame.observed_at, among=among, describe=describe)

    def _update(self, faces: Sequence[Face], ids: Sequence[int | None] | None, now: datetime) -> Seen:
        with self._timed("track"):
            update = self._tracker.update(faces, now, ids=ids)
        return Seen(update.ids, tuple(faces), update.ended)

    def _regions(
        self, image: RGBImage, expected: Mapping[int, Float32], unsure: Collection[int], now: datetime
    ) -> list[Region]:
        """What the detector shall search in this frame, and the notes that follow from it."""
        with self._timed("detect"):
            changed = self._motion.changed(image)
            unexplained = self._motion.unexplained(self._explained(expected, image.shape[0], changed.shape))
        self._since_search += 1
        around = {i: place for i, box in expected.items() if (place := _around(box, image)) is not None}
        if self._whole_at is None or now - self._whole_at >= self._whole_every:
            regions = [_whole(image)]
        elif self._since_search >= self._interval:
            regions = [*self._motion.regions(changed), *around.values()]
        else:
            stands = np.count_nonzero(changed) <= MOVING_SHARE * changed.size
            new = self._unexplained(changed & unexplained) if stands else []
            regions = [*new, *(around[i] for i in unsure if i in around and self._trust[i].lost == 0)]
        regions = _joined(regions, image)
        if regions == [_whole(image)]:
            self._whole_at = now
        if regions == [_whole(image)] or self._since_search >= self._interval:
            self._since_search = 0
        for region in regions:
            self._motion.searched(region)
        return regions

    def _explained(self, expected: Mapping[int, Float32], height: int, shape: tuple[int, ...]) -> Mask:
        """The cells in which tracked people's heads and bodies explain a change."""
        explained: Mask = np.zeros(shape, np.bool_)
        for x1, y1, x2, y2 in (box.tolist() for box in expected.values()):
            wide, high = x2 - x1, y2 - y1
            head = (x1 - HEAD[0] * wide, y1 - HEAD[1] * high, x2 + HEAD[0] * wide, y2)
            body = (x1 - BODY * wide, y2, x2 + BODY * wide, height)
            explained[self._motion.cells(head)] = True
            explained[self._motion.cells(body)] = True
        return explained

    def _unexplained(self, cells: Mask) -> list[Region]:
        """Where something may be new; after searches in vain only on every second and then every third frame."""
        regions = self._motion.regions(cells, least_cells=LEAST_CELLS)
        if not regions:
            self._in_vain = self._waited = 0
            return []
        if self._waited < self._in_vain:
            self._waited += 1
            return []
        self._waited = 0
        self._in_vain = min(self._in_vain + 1, MOST_WAIT)
        return regions

    def _judge_search(self, regions: Sequence[Region], sight: _Sight) -> None:
        """A track that was found is trusted, one searched in vain is less; after a new face the next search is soon."""
        if None in sight.ids:
            self._in_vain, self._interval = 0, -(-self._every // SOONER)
        elif regions and self._since_search == 0:
            self._interval = min(self._interval + 1, self._every)
        for track_id, box in sight.expected.items():
            if track_id in sight.ids:
                self._trust[track_id].unconfirmed = 0
            elif any(_holds(region, box) for region in regions):
                self._trust[track_id].unconfirmed += 1

    def _follow(self, image: RGBImage, expected: Mapping[int, Float32]) -> Steps[dict[int, Face]]:
        """The faces that the last network alone sees where tracks should be, surest first."""
        ids = [i for i in expected if self._trust[i].unconfirmed < MOST_UNCONFIRMED]
        if not ids:
            return {}
        boxes = np.stack([expected[i] for i in ids])
        faces: list[Face] = yield Follow(image, boxes)
        overlap = iou_matrix(np.stack([face.box for face in faces]), boxes).diagonal()
        kept = [n for n, face in enumerate(faces) if face.score >= FOLLOWED_SCORE and overlap[n] >= FOLLOWED_IOU]
        return {ids[n]: faces[n] for n in sorted(kept, key=lambda n: -overlap[n])}

    def _places_of_lost(
        self, image: RGBImage, missing: Mapping[int, Float32], searched: Sequence[Region]
    ) -> list[Region]:
        """Around tracks that were lost just now or some frames ago, where this frame was not searched already."""
        due = [box for i, box in missing.items() if self._trust[i].lost in LOST_AT]
        places = [_around(box, image) for box in due if not any(_holds(region, box) for region in searched)]
        return _joined([place for place in places if place is not None], image)


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """The frame at hand, and whether vectors of its faces may be asked for."""

    image: RGBImage
    observed_at: datetime
    looks: bool


class _Sight:
    """The faces of one frame so far and their tracks, each face once."""

    def __init__(self, expected: Mapping[int, Float32]) -> None:
        self.expected = expected
        self.faces: list[Face] = []
        self.ids: list[int | None] = []

    def add(self, faces: Sequence[Face], ids: Sequence[int | None]) -> None:
        """Take faces with their tracks (None: new), but those that are there already."""
        for face, track_id in zip(faces, ids, strict=True):
            known = [other.box for other in self.faces]
            if not known or iou_matrix(face.box[None], np.stack(known)).max() <= SAME_FACE_IOU:
                self.faces.append(face)
                self.ids.append(track_id)

    def missing(self, but: Collection[int]) -> dict[int, Float32]:
        """The tracks not seen yet, with where they should be, without those in ``but``."""
        return {i: box for i, box in self.expected.items() if i not in self.ids and i not in but}


def _find(image: RGBImage, regions: Sequence[Region]) -> Steps[list[Face]]:
    if not regions:
        return []
    faces: list[Face] = yield Search(image, regions)
    return faces


def _around(box: Float32, image: RGBImage) -> Region | None:
    """The part of the picture about a box, None where the box lies outside."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box.tolist()
    more = AROUND * max(x2 - x1, y2 - y1)
    left, top = max(int(x1 - more), 0), max(int(y1 - more), 0)
    right, bottom = min(int(x2 + more) + 1, width), min(int(y2 + more) + 1, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _joined(regions: list[Region], image: RGBImage) -> list[Region]:
    """Without overlaps; the whole picture where they are most of it."""
    found = disjoint(regions)
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in found)
    return [_whole(image)] if area >= WHOLE_SHARE * image.shape[0] * image.shape[1] else found


def _holds(region: Region, box: Float32) -> bool:
    """Whether the middle of the box lies in the region."""
    x, y = (box[:2] + box[2:]).tolist()
    return bool(region[0] <= x / 2 < region[2] and region[1] <= y / 2 < region[3])


def _whole(image: RGBImage) -> Region:
    return 0, 0, image.shape[1], image.shape[0]
