"""Several cameras at once: the same results as one by one, by fewer and larger calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from attendance.decide import Rule
from attendance.pipeline import FaceReader, FrameResult, LivePath, process_together
from attendance.search.exact import ExactGallery
from attendance.track import Tracker
from attendance.types import Float32, Frame, GalleryEntry, RGBImage
from tests.fakes import BLUE, GREEN, RED, ColourEmbedder, at, picture, vector_of
from tests.test_watch import PatchFollower

COUNT = 40
SIZES = [(240, 320), (240, 320), (200, 400), (240, 320)]


class CountingEmbedder(ColourEmbedder):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def embed(self, chips: RGBImage) -> Float32:
        self.calls += 1
        return super().embed(chips)


class CountingFollower(PatchFollower):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def detect(self, images: list[RGBImage]) -> list[list]:  # type: ignore[override,type-arg]
        self.calls += 1
        return super().detect(images)

    def refine_each(self, images: Sequence[RGBImage], boxes: Sequence[Float32]) -> list[list]:  # type: ignore[type-arg]
        self.calls += 1
        return super().refine_each(images, boxes)


def scene(camera: int, i: int) -> RGBImage:
    """One walker, two who cross, one who comes late, nobody."""
    patches = [
        [(RED, (10 + 5 * i, 60, 80))],
        [(BLUE, (230 - 5 * i, 64, 80)), (GREEN, (10 + 5 * i, 60, 84))],
        [(GREEN, (4 * i, 50, 90))] if i > 12 else [],
        [],
    ]
    return picture(*patches[camera], size=SIZES[camera])


def paths() -> tuple[list[LivePath], CountingFollower, CountingEmbedder]:
    detector, embedder = CountingFollower(), CountingEmbedder()
    gallery = ExactGallery("colours", 8)
    gallery.upsert([GalleryEntry("t-red", "red", vector_of(RED)), GalleryEntry("t-green", "green", vector_of(GREEN))])
    reader = FaceReader(detector, embedder)
    made = [
        LivePath(reader, gallery, rule=lambda: Rule(0.95, 0.02), tracker=Tracker(), min_frames=3, detect_every=8)
        for _ in SIZES
    ]
    return made, detector, embedder


def frames(i: int) -> list[Frame]:
    return [Frame(scene(camera, i), at(i / 25), i, f"camera-{camera}") for camera in range(len(SIZES))]


def told(result: FrameResult) -> tuple[object, ...]:
    views = [(v.track_id, v.face.box.tolist(), v.decision) for v in result.views]
    changes = [(c.track_id, c.frames, c.observed_at, c.decision) for c in result.changes]
    return views, changes


def test_cameras_together_give_what_each_gives_alone_in_fewer_calls() -> None:
    alone, detector_alone, embedder_alone = paths()
    together, detector, embedder = paths()
    known = set()
    for i in range(COUNT):
        expected = [path.process(frame) for path, frame in zip(alone, frames(i), strict=True)]
        found = process_together(list(zip(together, frames(i), strict=True)))
        assert [told(result) for result in found] == [told(result) for result in expected]
        known |= {
            (camera, change.decision.best.identity_id)
            for camera, result in enumerate(found)
            for change in result.changes
            if change.decision is not None and change.decision.best is not None
        }
    assert {(0, "red"), (1, "green"), (2, "green")} <= known
    assert (detector.pixels, detector.refined) == (detector_alone.pixels, detector_alone.refined)
    assert embedder.chips_seen == embedder_alone.chips_seen
    assert detector.calls < 0.7 * detector_alone.calls
    assert embedder.calls < embedder_alone.calls


def test_paths_of_different_readers_are_kept_apart() -> None:
    (one, *_), first, _ = paths()
    (other, *_), second, _ = paths()
    results = process_together([(one, frames(1)[0]), (other, frames(1)[1])])
    assert [len(result.views) for result in results] == [1, 2]
    assert (first.calls, second.calls) == (1, 1)


def test_no_cameras_give_nothing_and_a_camera_twice_is_refused() -> None:
    (path, *_), _, _ = paths()
    assert process_together([]) == []
    with pytest.raises(ValueError, match="each path once"):
        process_together([(path, frames(0)[0]), (path, frames(1)[0])])
