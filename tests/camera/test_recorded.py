"""Video files with their own clock and folders with a given one: every frame, in order, at the right time."""

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attendance.camera import CameraState, Capture, VideoFile, open_camera
from attendance.errors import ImageError, SourceError
from attendance.types import RGBImage

IndexOf = Callable[[RGBImage], int]


class RecordedCapture(Capture):
    """A file that states what the test says; each frame is a position in ms, "bad" a picture that cannot be used."""

    def __init__(
        self, positions: list[float], *, fps: float = math.nan, frame_count: int = 0, bad_at: int = -1
    ) -> None:
        self._positions = positions
        self._fps = fps
        self._frame_count = frame_count
        self._bad_at = bad_at
        self._read = 0
        self.closed = 0

    def read(self) -> RGBImage | None:
        if self._read == self._bad_at:
            raise SourceError("bad picture")
        if self._read >= len(self._positions):
            return None
        self._read += 1
        return np.zeros((4, 6, 3), np.uint8)

    @property
    def position_ms(self) -> float:
        return self._positions[self._read - 1]

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def frame_count(self) -> int:
        return self._frame_count

    def close(self) -> None:
        self.closed += 1


class TestVideo:
    @pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a:b.mkv", "mp4v")])
    def test_every_frame_at_the_files_own_time(
        self,
        tmp_path: Path,
        write_video: Callable[..., Path],
        start: datetime,
        index_of: IndexOf,
        name: str,
        codec: str,
    ) -> None:
        path = write_video(tmp_path / name, codec=codec)
        with open_camera(str(path), camera_id="door", start=start) as camera:
            assert not camera.is_live
            frames = list(camera)
            health = camera.health
        assert [index_of(frame.image) for frame in frames] == list(range(25))
        assert [frame.index for frame in frames] == list(range(25))
        assert {frame.camera_id for frame in frames} == {"door"}
        assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
        for index, frame in enumerate(frames):
            assert abs(frame.observed_at - start - timedelta(seconds=index / 12.5)) < timedelta(milliseconds=1)
        assert (health.state, health.frames, health.last_error) == (CameraState.ENDED, 25, None)
        assert health.last_frame_at == frames[-1].observed_at

    def test_colours_are_rgb(self, tmp_path: Path) -> None:
        Image.new("RGB", (32, 32), (200, 40, 10)).save(tmp_path / "frame.png")
        with open_camera(str(tmp_path / "frame.png"), camera_id="c") as camera:
            assert next(iter(camera)).image[0, 0].tolist() == [200, 40, 10]

    def test_colours_of_a_video_are_rgb(self, tmp_path: Path) -> None:
        import cv2

        writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        writer.write(np.full((48, 64, 3), (10, 40, 200), np.uint8))
        writer.release()
        with open_camera(str(tmp_path / "red.avi"), camera_id="c") as camera:
            red, green, blue = next(iter(camera)).image[24, 32].tolist()
        assert red > 180
        assert green < 70
        assert blue < 40

    def test_start_in_another_zone_and_default_start(
        self, tmp_path: Path, write_video: Callable[..., Path], start: datetime
    ) -> None:
        path = write_video(tmp_path / "a.avi", codec="MJPG", frames=2)
        local = start.astimezone(timezone(timedelta(hours=5, minutes=45)))
        with open_camera(str(path), camera_id="c", start=local) as camera:
            frame = next(iter(camera))
            assert frame.observed_at == start
            assert frame.observed_at.tzinfo is UTC
        with open_camera(str(path), camera_id="c", now=lambda: start) as camera:
            assert next(iter(camera)).observed_at == start

    def test_given_rate_replaces_the_files_clock(
        self, tmp_path: Path, write_video: Callable[..., Path], start: datetime
    ) -> None:
        path = write_video(tmp_path / "a.avi", codec="MJPG", frames=5)
        with open_camera(str(path), camera_id="c", start=start, fps=2) as camera:
            times = [(frame.observed_at - start).total_seconds() for frame in camera]
        assert times == [0.0, 0.5, 1.0, 1.5, 2.0]

    def test_a_clock_that_stands_or_jumps_back_still_rises(self, start: datetime) -> None:
        capture = RecordedCapture([math.nan, 40, 40, 10, 200, 190], fps=50)
        camera = VideoFile(capture, camera_id="c", source="x", start=start)
        times = [(frame.observed_at - start).total_seconds() for frame in camera]
        assert times == pytest.approx([0, 0.04, 0.06, 0.08, 0.2, 0.22])
        assert capture.closed == 1

    def test_without_any_clock_the_rate_counts(self, start: datetime) -> None:
        camera = VideoFile(RecordedCapture([math.nan] * 3), camera_id="c", source="x", start=start, fps=4)
        assert [(frame.observed_at - start).total_seconds() for frame in camera] == [0, 0.25, 0.5]
        capture = RecordedCapture([math.nan] * 3)
        with pytest.raises(SourceError, match="--fps"):
            VideoFile(capture, camera_id="c", source="x", start=start)
        assert capture.closed == 1

    def test_closing_early_ends_it(self, start: datetime) -> None:
        capture = RecordedCapture([0, 20, 40], fps=50)
        camera = VideoFile(capture, camera_id="c", source="x", start=start)
        frames = iter(camera)
        next(frames)
        camera.close()
        camera.close()
        assert list(frames) == []
        assert camera.has_ended
        assert capture.closed == 1

    def test_keep_going_is_asked_before_every_frame(self, start: datetime) -> None:
        camera = VideoFile(RecordedCapture([0, 20, 40], fps=50), camera_id="c", source="x", start=start)
        answers = iter([True, True, False])
        assert len(list(camera.frames(keep_going=lambda: next(answers)))) == 2
        camera.close()


class TestDamagedVideo:
    @pytest.mark.parametrize("content", [b"", b"just some text\n" * 200, b"\x00" * 5000])
    def test_what_is_no_video(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "film.mp4"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="expected a video file") as caught:
            open_camera(str(path), camera_id="c")
        assert "film.mp4" in str(caught.value)

    def test_an_mp4_that_lost_its_end(self, tmp_path: Path, write_video: Callable[..., Path]) -> None:
        path = write_video(tmp_path / "a.mp4", codec="mp4v")
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(SourceError, match="is it complete"):
            open_camera(str(path), camera_id="c")

    def test_a_cut_avi_gives_what_is_there_and_says_so(
        self, tmp_path: Path, write_video: Callable[..., Path], index_of: IndexOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write_video(tmp_path / "a.avi", codec="MJPG", frames=28)
        data = path.read_bytes()
        first = data.index(b"movi")
        path.write_bytes(data[: first + (len(data) - first) // 2])
        with caplog.at_level(logging.WARNING), open_camera(str(path), camera_id="door") as camera:
            frames = [index_of(frame.image) for frame in camera]
            health = camera.health
        assert 5 < len(frames) < 25
        assert frames == list(range(len(frames)))
        assert health.last_error == f"the file ends after {len(frames)} of 28 frames"
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_a_picture_that_cannot_be_used_ends_it_visibly(self, start: datetime) -> None:
        capture = RecordedCapture([0, 20, 40], fps=50, bad_at=2)
        camera = VideoFile(capture, camera_id="c", source="x", start=start)
        assert len(list(camera)) == 2
        assert camera.health.last_error == "bad picture"
        assert capture.closed == 1

    def test_a_container_without_a_frame(self, start: datetime) -> None:
        capture = RecordedCapture([], fps=25)
        with pytest.raises(SourceError, match="not one frame"):
            VideoFile(capture, camera_id="c", source="x", start=start)
        assert capture.closed == 1


def save(path: Path, grey: int, size: tuple[int, int] = (20, 10)) -> None:
    Image.new("RGB", size, (grey, grey, grey)).save(path)


class TestFolder:
    def test_sorted_by_name_one_a_second(self, tmp_path: Path, start: datetime) -> None:
        for name, grey in (("b.png", 20), ("a.JPG", 10), ("c.webp", 30), ("10.bmp", 0)):
            save(tmp_path / name, grey)
        (tmp_path / "notes.txt").write_text("x")
        save(tmp_path / ".hidden.png", 99)
        with open_camera(str(tmp_path), camera_id="c", start=start) as camera:
            frames = list(camera)
        assert [round(float(frame.image.mean()) / 10) for frame in frames] == [0, 1, 2, 3]
        assert [(frame.observed_at - start).total_seconds() for frame in frames] == [0, 1, 2, 3]
        assert camera.health.state is CameraState.ENDED

    def test_the_rate_is_the_clock(self, tmp_path: Path, start: datetime) -> None:
        for index in range(3):
            save(tmp_path / f"{index}.png", index)
        with open_camera(str(tmp_path), camera_id="c", start=start, fps=25) as camera:
            assert [(frame.observed_at - start).total_seconds() for frame in camera] == [0, 0.04, 0.08]

    def test_an_undecodable_image_is_skipped_and_keeps_its_place_in_time(
        self, tmp_path: Path, start: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        for index in range(4):
            save(tmp_path / f"{index}.jpg", 50)
        (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:300])
        (tmp_path / "3.jpg").write_text("text")
        with open_camera(str(tmp_path), camera_id="c", start=start) as camera:
            frames = list(camera)
            health = camera.health
        assert [(frame.observed_at - start).total_seconds() for frame in frames] == [0, 2]
        assert (health.frames, health.skipped, health.last_error) == (2, 2, "cannot decode 3.jpg")
        assert len(caplog.records) == 2

    def test_images_are_upright_and_may_differ_in_size(self, tmp_path: Path) -> None:
        save(tmp_path / "1.png", 5, (30, 10))
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (30, 10)).save(tmp_path / "2.jpg", exif=exif)
        with open_camera(str(tmp_path), camera_id="c") as camera:
            assert [frame.image.shape for frame in camera] == [(10, 30, 3), (30, 10, 3)]

    def test_another_reader_can_be_given(self, tmp_path: Path) -> None:
        (tmp_path / "a.heic").write_bytes(b"one")
        (tmp_path / "b.heic").write_bytes(b"two")

        def read_image(path: Path) -> RGBImage:
            if path.name == "a.heic":
                raise ImageError("no_decoder", "cannot")
            return np.full((2, 3, 3), 7, np.uint8)

        with open_camera(str(tmp_path), camera_id="c", read_image=read_image) as camera:
            assert [frame.image.shape for frame in camera] == [(2, 3, 3)]

    def test_no_images_or_only_broken_ones(self, tmp_path: Path) -> None:
        (tmp_path / "readme.txt").write_text("x")
        with pytest.raises(SourceError, match=r"expected images \(bmp, .*found none"):
            open_camera(str(tmp_path), camera_id="c")
        (tmp_path / "a.jpg").write_text("x")
        with pytest.raises(SourceError, match="none of 1 can be decoded"):
            open_camera(str(tmp_path), camera_id="c")
        with pytest.raises(SourceError, match="none of 1 can be decoded"):
            open_camera(str(tmp_path / "a.jpg"), camera_id="c")
