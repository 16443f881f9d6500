"""Walk-pasts are followed by colour: people of one strong colour walk, and their pixels tell where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from attendance.detect.mtcnn import MtcnnDetector
from attendance.errors import SourceError
from attendance.types import RGBImage
from demo.portraits import GRACE_HOPPER, load
from demo.style import Style
from demo.walkpast import PassSpec, WalkPast, one_after_another, render_pass, write_video

BOX = (60.0, 60.0, 140.0, 160.0)
GREEN, MAGENTA = (20, 230, 20), (230, 20, 230)
PLAIN = Style(gain=(1.0, 1.0), gamma=(1.0, 1.0), warmth=(0.0, 0.0), side_light=(0.0, 0.0), focus_px=(0.0, 0.0))


def painted(colour: tuple[int, int, int]) -> RGBImage:
    return np.full((220, 200, 3), colour, np.uint8)


def pixels_of(frame: RGBImage, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns, (N, 2), of what is nearer to this colour than to any grey or brown of a room."""
    distance = np.abs(frame.astype(np.int32) - np.array(colour)).sum(axis=2)
    return np.argwhere(distance < 220)


def test_the_same_seed_gives_the_same_frames_and_another_seed_others() -> None:
    first, again, other = (
        np.stack(list(render_pass(painted(GREEN), BOX, seed=seed, seconds=1.0))) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frames_can_be_asked_for_twice() -> None:
    walk = WalkPast([PassSpec("person-01", painted(GREEN), BOX, 3, seconds=0.5)], seed=3)
    assert np.array_equal(np.stack(list(walk.frames())), np.stack(list(walk.frames())))


@pytest.mark.parametrize(("size", "fps", "seconds"), [((640, 360), 12.0, 1.0), ((320, 240), 10.0, 0.8)])
def test_frames_are_rgb_of_the_size_and_number_asked_for(size: tuple[int, int], fps: float, seconds: float) -> None:
    frames = list(render_pass(painted(GREEN), BOX, seed=1, size=size, fps=fps, seconds=seconds))
    assert len(frames) == round(fps * seconds)
    assert {(f.shape, str(f.dtype)) for f in frames} == {((size[1], size[0], 3), "uint8")}


@pytest.mark.parametrize("leftward", [True, False])
def test_a_person_comes_nearer_and_crosses_the_picture(leftward: bool) -> None:
    walk = WalkPast([PassSpec("person-01", painted(GREEN), BOX, 4, leftward=leftward)], seed=4, style=PLAIN)
    truth = walk.truth[0]
    there = []
    for index, frame in enumerate(walk.frames()):
        found = pixels_of(frame, GREEN)
        seconds = index / walk.fps
        if not truth.from_s <= seconds <= truth.to_s:
            assert len(found) == 0, f"nobody is in the picture at {seconds:.2f} s"
        elif len(found) > 200:
            there.append((found[:, 1].mean(), len(found)))
    assert len(there) >= 15
    columns = np.array([column for column, _ in there[1:-2]])
    steps = np.diff(columns)
    assert (steps < 0).all() if leftward else (steps > 0).all()
    sizes = [size for _, size in there]
    assert max(sizes[len(sizes) // 2 :]) > 3 * np.median(sizes[:5])


def test_mirror_swaps_the_sides_of_the_photo() -> None:
    photo = np.concatenate([painted(GREEN)[:, :100], painted(MAGENTA)[:, 100:]], axis=1)

    def green_is_left(mirror: float) -> bool:
        style = replace(PLAIN, mirror=mirror)
        frame = list(render_pass(photo, BOX, seed=8, style=style))[17]
        green, magenta = pixels_of(frame, GREEN), pixels_of(frame, MAGENTA)
        assert len(green) > 300 and len(magenta) > 300
        return bool(green[:, 1].mean() < magenta[:, 1].mean())

    assert green_is_left(0.0) and not green_is_left(1.0)


def test_two_people_can_be_in_the_picture_at_once() -> None:
    passes = [
        PassSpec("person-01", painted(GREEN), BOX, 1, leftward=True),
        PassSpec("person-02", painted(MAGENTA), BOX, 2, start_s=0.2, leftward=False),
    ]
    frames = list(WalkPast(passes, seed=1, style=PLAIN).frames())
    both = [f for f in frames if len(pixels_of(f, GREEN)) > 300 and len(pixels_of(f, MAGENTA)) > 300]
    assert len(both) >= 5


def test_one_after_another_leaves_the_room_empty_in_between() -> None:
    people = [("person-01", painted(GREEN), BOX), ("person-02", painted(MAGENTA), BOX)]
    walk = WalkPast(one_after_another(people, seed=1, gap_s=1.5, seconds=1.0), seed=1, tail_s=1.5)
    first, second = walk.truth
    assert (first.identity_id, second.identity_id) == ("person-01", "person-02")
    assert first.from_s >= 1.5 and second.from_s - first.to_s >= 1.5 and walk.seconds - second.to_s >= 1.5


def test_written_video_reads_back_with_its_clock(tmp_path: Path) -> None:
    walk = WalkPast([PassSpec("person-01", painted(GREEN), BOX, 2, seconds=1.0)], seed=2)
    truth = write_video(tmp_path / "pass.mp4", walk)
    capture = cv2.VideoCapture(str(tmp_path / "pass.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    read = []
    while (got := capture.read())[0]:
        read.append(got[1][:, :, ::-1])
    capture.release()
    assert len(read) == 12 and truth == walk.truth
    for written, back in zip(walk.frames(), read, strict=True):
        assert np.abs(written.astype(np.float64) - back).mean() < 8.0


def test_video_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    walk = WalkPast([PassSpec("person-01", painted(GREEN), BOX, 2, seconds=0.2)], seed=2)
    with pytest.raises(SourceError, match=r"pass\.mp4"):
        write_video(tmp_path / "no-such-folder" / "pass.mp4", walk)


@pytest.mark.parametrize("box", [(10.0, 10.0, 11.0, 60.0), (300.0, 10.0, 360.0, 80.0)])
def test_a_box_without_a_face_in_it_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="face_box"):
        render_pass(painted(GREEN), box, seed=1)


def test_impossible_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="fps"):
        WalkPast([], seed=1, fps=0.0)
    with pytest.raises(ValueError, match="size"):
        WalkPast([], seed=1, size=(32, 32))


def test_the_detector_sees_the_person_where_the_truth_says_and_nobody_in_an_empty_room() -> None:
    detector = MtcnnDetector(min_face_px=40)
    walk = WalkPast([PassSpec("person-01", load(GRACE_HOPPER), GRACE_HOPPER.face_box, 1)], seed=1)
    truth = walk.truth[0]
    seen = []
    for index, faces in enumerate(detector.detect(list(walk.frames()))):
        inside = truth.from_s <= index / walk.fps <= truth.to_s
        assert inside or not faces
        seen += [face.width_px for face in faces]
    assert len(seen) >= 12
    assert np.median(seen[-4:]) > 1.6 * np.median(seen[:4])
