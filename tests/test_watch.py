"""When faces are detected and when they are followed: nobody lost, nobody doubled, little looked at."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.detect.port import RefiningDetector
from attendance.track import Tracker
from attendance.types import Face, Float32, RGBImage
from attendance.watch import Seen, Watch
from tests.fakes import BLUE, GREEN, RED, PatchDetector, at, face_at, picture

Patch = tuple[tuple[int, int, int], tuple[int, int, int]]


class PatchFollower(PatchDetector, RefiningDetector):
    """Follows a patch by the one that covers most of the middle of the box; counts what it is asked to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = 0
        self.refined = 0
        self.blind = False

    def detect(self, images: list[RGBImage]) -> list[list[Face]]:  # type: ignore[override]
        self.pixels += sum(image.shape[0] * image.shape[1] for image in images)
        return super().detect(images)

    def refine(self, image: RGBImage, boxes: Float32) -> list[Face]:
        self.refined += len(boxes)
        faces = self._patches(image)
        return [self._nearest(faces, box) for box in boxes]

    def _patches(self, image: RGBImage) -> list[Face]:
        """As the base does, but soon, and no face of which more than a third is hidden."""
        numbers = image.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        found = []
        for number in np.unique(numbers[numbers > 0]).tolist():
            rows, columns = np.nonzero(numbers == number)
            x, y = int(columns.min()), int(rows.min())
            side = max(int(columns.max()) - x, int(rows.max()) - y) + 1
            if len(rows) >= max(100.0, 0.65 * side * side):
                found.append(face_at(float(x), float(y), float(side)))
        return found

    def _nearest(self, faces: list[Face], box: Float32) -> Face:
        middle = (box[:2] + box[2:]) / 2
        for face in faces:
            if not self.blind and (face.box[:2] <= middle).all() and (middle < face.box[2:]).all():
                return face
        return face_at(float(box[0]), float(box[1]), float(box[2] - box[0]), score=0.1)


def play(watch: Watch, frames: list[list[Patch]], *, start: int = 0) -> list[Seen]:
    return [watch.see(picture(*patches), at((start + i) / 25)) for i, patches in enumerate(frames)]


def watch_with(every: int = 8) -> tuple[Watch, PatchFollower]:
    detector = PatchFollower()
    return Watch(detector, Tracker(), detect_every=every), detector


def test_a_walker_is_followed_and_seldom_detected() -> None:
    watch, detector = watch_with()
    frames: list[list[Patch]] = [[(RED, (10 + 3 * i, 60, 70))] for i in range(60)]
    seen = play(watch, frames)
    assert all(s.ids == (1,) for s in seen)
    assert all(s.faces[0].box[0] == 10 + 3 * i for i, s in enumerate(seen))
    assert detector.refined > 40
    assert detector.pixels < 0.25 * 60 * 240 * 320


def test_every_frame_is_searched_whole_where_so_configured() -> None:
    watch, detector = watch_with(1)
    frames: list[list[Patch]] = [[(RED, (10 + 3 * i, 60, 70))] for i in range(10)]
    assert all(s.ids == (1,) for s in play(watch, frames))
    assert (detector.pixels, detector.refined) == (10 * 240 * 320, 0)


def test_a_detector_that_cannot_follow_searches_every_frame() -> None:
    detector = PatchDetector()
    watch = Watch(detector, Tracker(), detect_every=8)
    play(watch, [[(RED, (10, 60, 70))]] * 6)
    assert detector.images_seen == 6


def test_an_empty_scene_is_searched_now_and_then() -> None:
    watch, detector = watch_with()
    assert all(s.ids == () for s in play(watch, [[]] * 150))
    # At 0, 2 and 4 s of six.
    assert detector.pixels == 3 * 240 * 320


def test_somebody_who_comes_in_is_found_within_two_frames() -> None:
    watch, _ = watch_with()
    frames: list[list[Patch]] = [[] for _ in range(20)] + [[(RED, (20 + 3 * i, 60, 60))] for i in range(10)]
    seen = play(watch, frames)
    first = next(i for i, s in enumerate(seen) if s.ids)
    assert 20 <= first <= 21
    assert all(s.ids == (1,) for s in seen[first:])


def test_somebody_who_comes_in_beside_another_is_found_within_the_interval() -> None:
    watch, _ = watch_with()
    walker: list[Patch] = [(RED, (20 + 3 * i, 60, 70)) for i in range(40)]
    # Comes out right below the other's chin, where the other's body explains every change.
    frames = [[w, (GREEN, (w[1][0] + 20, 150, 60))] if i >= 20 else [w] for i, w in enumerate(walker)]
    seen = play(watch, frames)
    both = next(i for i, s in enumerate(seen) if len(s.ids) == 2)
    assert 20 <= both <= 28
    assert all(sorted(s.ids) == [1, 2] for s in seen[both:])


def test_somebody_who_comes_where_another_just_walked_is_found_within_two_frames() -> None:
    watch, _ = watch_with(30)
    walker: list[Patch] = [(RED, (5 + 4 * i, 60, 50)) for i in range(60)]
    # Where the red one's body was since the last search, but is not any more.
    frames = [[w, (GREEN, (98, 115, 30))] if i >= 46 else [w] for i, w in enumerate(walker)]
    seen = play(watch, frames)
    both = next(i for i, s in enumerate(seen) if len(s.ids) == 2)
    assert 46 <= both <= 48
    assert all(sorted(s.ids) == [1, 2] for s in seen[both:])


def test_a_face_hidden_for_some_frames_keeps_its_id() -> None:
    watch, _ = watch_with()
    frames: list[list[Patch]] = [[] if 20 <= i < 26 else [(RED, (10 + 3 * i, 60, 70))] for i in range(60)]
    seen = play(watch, frames)
    assert all(s.ids == (1,) for s in seen[:20])
    assert all(s.ids == () for s in seen[20:26])
    assert all(s.ids == (1,) for s in seen[28:])
    assert not any(s.ended for s in seen)


def test_one_who_stands_still_keeps_the_track_for_ever() -> None:
    watch, _ = watch_with()
    assert all(s.ids == (1,) for s in play(watch, [[(RED, (100, 60, 80))]] * 120))


def test_a_face_that_left_is_not_followed_any_more() -> None:
    watch, _ = watch_with()
    seen = play(watch, [[(RED, (100, 60, 80))]] * 10 + [[]] * 40)
    assert all(s.ids == () for s in seen[10:])
    assert [s.ended for s in seen if s.ended] == [(1,)]


def test_what_the_last_network_loses_is_detected_in_the_same_frame() -> None:
    watch, detector = watch_with()
    frames: list[list[Patch]] = [[(RED, (20 + 2 * i, 60, 70))] for i in range(30)]
    assert all(s.ids == (1,) for s in play(watch, frames[:10]))
    detector.blind = True
    seen = play(watch, frames[10:11], start=10)
    assert seen[0].ids == (1,)


def test_two_who_cross_keep_their_ids() -> None:
    watch, _ = watch_with()
    frames: list[list[Patch]] = []
    for i in range(60):
        # The red one is drawn last, so it hides the blue one for about ten frames.
        frames.append([(BLUE, (230 - 4 * i, 64, 56)), (RED, (10 + 4 * i, 60, 64))])
    seen = play(watch, frames)
    sizes = [{i: float(f.box[2] - f.box[0]) for i, f in zip(s.ids, s.faces, strict=True)} for s in seen]
    assert all(size == sizes[0][i] for found in sizes for i, size in found.items())
    assert sizes[-1] == sizes[0]
    assert min(len(found) for found in sizes) == 1


def test_no_face_is_reported_twice() -> None:
    watch, _ = watch_with()
    rng = np.random.default_rng(3)
    for i in range(40):
        patches: list[Patch] = [
            (colour, (int(x), int(y), 60))
            for colour, x, y in zip((RED, GREEN, BLUE), rng.integers(0, 250, 3), rng.integers(0, 170, 3), strict=True)
        ]
        seen = watch.see(picture(*patches), at(i / 25))
        assert len(set(seen.ids)) == len(seen.ids)
        assert len({face.box.tobytes() for face in seen.faces}) == len(seen.faces)


@pytest.mark.parametrize(("every", "whole"), [(0, 1.0), (8, 0.0)])
def test_wrong_settings_are_refused(every: int, whole: float) -> None:
    with pytest.raises(ValueError, match="detect_every must be at least 1"):
        Watch(PatchDetector(), Tracker(), detect_every=every, whole_every_s=whole)
