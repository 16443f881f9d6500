"""The path: detect, track, align, quality, embed, search, decide. Only this file knows the order.

`FaceReader` is the path's still half, for photos: images to faces to vectors. `LivePath` is the whole path for the
frames of one camera: it follows each face, fuses its good frames into one vector, and reports a track when what is
known of it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from attendance.align import align, quality_chips
from attendance.decide import Rule, decide
from attendance.detect.port import Detector, RefiningDetector, Search
from attendance.embed.port import Embedder
from attendance.quality import Limits, judge
from attendance.rejected import RejectedOf, beside_rejected, nobody_rejected
from attendance.search.port import Gallery
from attendance.track import Tracker
from attendance.types import Decision, Face, Float32, Frame, Outcome, RGBImage
from attendance.watch import Answer, Follow, Look, Question, Steps, Timed, Watch, untimed

_KINDS = (Search, Follow, Look)
"""In the order in which the work on a frame asks."""

_RANK = {Outcome.UNKNOWN: 0, Outcome.AMBIGUOUS: 1, Outcome.KNOWN: 2}


class FaceReader:
    """Images to faces, faces to vectors: what enrolment, the kiosk and the lab share."""

    def __init__(self, detector: Detector, embedder: Embedder, *, timed: Timed = untimed) -> None:
        self.detector = detector
        self.embedder = embedder
        self.timed = timed

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        """The faces of each image (RGB uint8 (H, W, 3)), best score first."""
        with self.timed("detect"):
            return self.detector.detect(images)

    def embed(self, images: Sequence[RGBImage], faces: Sequence[Sequence[Face]]) -> list[Float32]:
        """Vectors of the given faces of each image: one float32 (n_i, D) of unit length per image, one batch for all.

        ``faces`` holds one sequence per image, which may be empty.
        """
        alignment = self.embedder.card.alignment
        with self.timed("align"):
            chips = [align(image, found, alignment) for image, found in zip(images, faces, strict=True) if found]
        size = alignment.size_px
        stacked = np.concatenate(chips) if chips else np.empty((0, size, size, 3), np.uint8)
        with self.timed("embed"):
            vectors = self.embedder.embed(stacked)
        bounds = np.cumsum([len(found) for found in faces])[:-1]
        return list(np.split(vectors, bounds)) if len(faces) > 0 else []

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """The answers to questions of one kind about the frames of several cameras, by one call."""
        searches = [question for question in questions if isinstance(question, Search)]
        follows = [question for question in questions if isinstance(question, Follow)]
        looks = [question for question in questions if isinstance(question, Look)]
        if looks:
            return self.embed([look.image for look in looks], [look.faces for look in looks])
        with self.timed("detect"):
            if searches:
                return self.detector.search(searches)
            if not isinstance(self.detector, RefiningDetector):
                raise TypeError(f"expected a detector that follows faces, got {self.detector.name}")
            return self.detector.refine_each([f.image for f in follows], [f.boxes for f in follows])


@dataclass(frozen=True, slots=True, eq=False)
class TrackView:
    """A face in the present frame, for the window: the latest decision on its track, None while undecided."""

    track_id: int
    face: Face
    decision: Decision | None


@dataclass(frozen=True, slots=True, eq=False)
class TrackChange:
    """What is known of a track changed: it was decided, or decided anew.

    ``decision`` is None when the track ended without one good frame; ``frames`` counts the frames fused. ``card_id`` is
    the model's that its vectors are of; empty: the kiosk's.
    """

    track_id: int
    face: Face
    observed_at: datetime
    decision: Decision | None
    frames: int
    card_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one frame brought: every face in view, and the tracks whose state changed (ended ones included)."""

    views: tuple[TrackView, ...]
    changes: tuple[TrackChange, ...]


@dataclass(slots=True)
class _Track:
    """What the path remembers of one face while it is in view."""

    face: Face
    seen_at: datetime
    seen: int = 0
    weights: list[float] = field(default_factory=list)
    vectors: list[Float32] = field(default_factory=list)
    decision: Decision | None = None
    reported: Outcome | None = None

    def wants(self, weight: float, max_frames: int) -> bool:
        """Whether a good frame of this weight would add to what is known; a recognised face is embedded no further."""
        if self.reported is Outcome.KNOWN:
            return False
        return len(self.weights) < max_frames or weight > 1.1 * min(self.weights)

    def add(self, weight: float, vector: Float32, max_frames: int) -> None:
        """Keep the best ``max_frames`` good frames."""
        if len(self.weights) >= max_frames:
            weakest = int(np.argmin(self.weights))
            del self.weights[weakest], self.vectors[weakest]
        self.weights.append(weight)
        self.vectors.append(vector)

    def fused(self) -> Float32:
        """The weighted mean of the good frames' vectors, at unit length: float32 (D,)."""
        mean = np.average(np.stack(self.vectors).astype(np.float64), axis=0, weights=self.weights)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


class CameraPath(Protocol):
    """What is done with the frames of one camera: `LivePath`, or what puts one in the place of another."""

    @property
    def reader(self) -> FaceReader:
        """Who answers the questions of the next frame; asked once before its steps."""

    def steps(self, frame: Frame) -> Steps[FrameResult]:
        """See `LivePath`."""

    def finish(self) -> tuple[TrackChange, ...]:
        """See `LivePath`."""


class LivePath:
    """The path for one camera. Not for use by several threads at once."""

    def __init__(
        self,
        reader: FaceReader,
        gallery: Gallery,
        *,
        rule: Callable[[], Rule],
        tracker: Tracker,
        quality_level: str | Limits = "standard",
        judge_pictures: bool = False,
        min_frames: int = 5,
        max_frames: int = 10,
        detect_every: int = 1,
        whole_every_s: float = 2.0,
        rejected: RejectedOf = nobody_rejected,
    ) -> None:
        """``rule`` is asked at every decision, so a threshold that follows the gallery is always the present one.

        ``judge_pictures`` counts sharpness and light too, of the frames that a track still wants.
        ``detect_every`` and ``whole_every_s``: see `Watch`; 1 detects on every frame. ``rejected``: the faces of which
        was said that they are not a person's.
        """
        self.reader = reader
        self._gallery = gallery
        self._rule = rule
        self._tracker = tracker
        self._quality_level = quality_level
        self._judge_pictures = judge_pictures
        self._min_frames = min_frames
        self._max_frames = max_frames
        self._rejected = rejected
        self._watch = Watch(
            reader.detector, tracker, detect_every=detect_every, whole_every_s=whole_every_s, timed=reader.timed
        )
        self._tracks: dict[int, _Track] = {}

    def process(self, frame: Frame) -> FrameResult:
        """Take the camera's next frame."""
        return process_together([(self, frame)])[0]

    def steps(self, frame: Frame) -> Steps[FrameResult]:
        """The work on the camera's next frame; `process_together` answers its questions."""
        seen = yield from self._watch.steps(frame.image, frame.observed_at, looks=True)
        changes = [change for track_id in seen.ended if (change := self._end(track_id)) is not None]
        self._remember(seen.ids, seen.faces, frame.observed_at)
        fresh = yield from self._embed(frame.image, seen.ids, seen.faces)
        changes += [change for track_id in fresh if (change := self._decide(track_id)) is not None]
        views = tuple(TrackView(i, f, self._tracks[i].decision) for i, f in zip(seen.ids, seen.faces, strict=True))
        return FrameResult(views, tuple(changes))

    def finish(self) -> tuple[TrackChange, ...]:
        """End every track, as when the camera stops."""
        return tuple(change for track_id in self._tracker.finish() if (change := self._end(track_id)) is not None)

    def _remember(self, ids: Sequence[int], faces: Sequence[Face], observed_at: datetime) -> None:
        for track_id, face in zip(ids, faces, strict=True):
            track = self._tracks.setdefault(track_id, _Track(face, observed_at))
            track.face, track.seen_at = face, observed_at
            track.seen += 1

    def _embed(self, image: RGBImage, ids: Sequence[int], faces: Sequence[Face]) -> Steps[list[int]]:
        """Embed the good faces that their tracks still want, in one batch; the ids of those tracks."""
        wanted: list[tuple[int, float, Face]] = []
        for track_id, face in zip(ids, faces, strict=True):
            with self.reader.timed("quality"):
                weight = self._weight(image, track_id, face)
            if weight is not None:
                wanted.append((track_id, weight, face))
        if not wanted:
            return []
        vectors: Float32 = yield Look(image, [face for _, _, face in wanted])
        for (track_id, weight, _), vector in zip(wanted, vectors, strict=True):
            self._tracks[track_id].add(weight, vector, self._max_frames)
            self._tracker.describe(track_id, self._tracks[track_id].fused())
        return [track_id for track_id, _, _ in wanted]

    def _weight(self, image: RGBImage, track_id: int, face: Face) -> float | None:
        """How much a face counts; None where it is not good, or its track wants no such face."""
        size, level = (image.shape[0], image.shape[1]), self._quality_level
        quality = judge(face, size, level=level)
        if not (quality.good and self._tracks[track_id].wants(quality.weight, self._max_frames)):
            return None
        # The picture is looked at last: it costs as much as all the rest of the judgement.
        if self._judge_pictures and not judge(face, size, level=level, chip=quality_chips(image, [face])[0]).good:
            return None
        return quality.weight

    def _decide(self, track_id: int) -> TrackChange | None:
        """Decide a track that gained a frame. A match is reported at once, anything less when all frames are in."""
        track = self._tracks[track_id]
        if len(track.vectors) < self._min_frames:
            return None
        track.decision = self._decision(track)
        settled = track.decision.outcome is Outcome.KNOWN or len(track.vectors) >= self._max_frames
        return self._report(track_id, track) if settled else None

    def _end(self, track_id: int) -> TrackChange | None:
        """Decide a track that is over by what there is, unless that was reported before."""
        track = self._tracks.pop(track_id)
        if track.vectors and track.reported is None:
            track.decision = self._decision(track)
            return self._report(track_id, track)
        if not track.vectors and track.seen >= self._min_frames:
            return TrackChange(track_id, track.face, track.seen_at, None, 0, self.reader.embedder.card.id)
        return None

    def _report(self, track_id: int, track: _Track) -> TrackChange | None:
        assert track.decision is not None
        outcome = track.decision.outcome
        if track.reported is not None and _RANK[outcome] <= _RANK[track.reported]:
            return None
        track.reported = outcome
        card_id = self.reader.embedder.card.id
        return TrackChange(track_id, track.face, track.seen_at, track.decision, len(track.vectors), card_id)

    def _decision(self, track: _Track) -> Decision:
        rule = self._rule()
        with self.reader.timed("search"):
            fused = track.fused()
            candidates = beside_rejected(self._gallery.nearest(fused[None, :], k=2)[0], fused, self._rejected)
        with self.reader.timed("decide"):
            return decide(candidates, rule, frames=len(track.vectors))


def process_together(work: Sequence[tuple[CameraPath, Frame]]) -> list[FrameResult]:
    """The next frame of several cameras, each with its own path: one result per camera, in order.

    The results are those of each path by itself, up to rounding: what the paths of one reader ask for is answered
    together, in one call of its detector or embedder.

    Raises:
        ValueError: a path appears twice.
    """
    readers = [path.reader for path, _ in work]
    by_reader: dict[int, list[int]] = {}
    for index, reader in enumerate(readers):
        by_reader.setdefault(id(reader), []).append(index)
    if len({id(path) for path, _ in work}) < len(work):
        raise ValueError("expected each path once, got one with two frames: a camera's frames follow one another")
    found: dict[int, FrameResult] = {}
    for indices in by_reader.values():
        results = _in_step(readers[indices[0]], [work[i][0].steps(work[i][1]) for i in indices])
        found.update(zip(indices, results, strict=True))
    return [found[index] for index in range(len(work))]


def _in_step(reader: FaceReader, runs: Sequence[Steps[FrameResult]]) -> list[FrameResult]:
    """Run all to their ends. Of the questions that are open the first kind is answered, for all who ask it: those who
    are behind catch up, and the later kinds gather."""
    results: dict[int, FrameResult] = {}
    questions: dict[int, Question] = {}
    answers: dict[int, Answer | None] = dict.fromkeys(range(len(runs)))
    while answers:
        for index, answer in answers.items():
            try:
                questions[index] = runs[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
        kind = next((kind for kind in _KINDS if any(isinstance(q, kind) for q in questions.values())), None)
        asked = [index for index, question in questions.items() if kind is not None and isinstance(question, kind)]
        answers = dict(zip(asked, reader.answer([questions.pop(i) for i in asked]), strict=True)) if asked else {}
    return [results[index] for index in range(len(runs))]
