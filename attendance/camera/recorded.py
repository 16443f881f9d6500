"""Recordings: a video file with its own clock, and a folder of images with a given one. Every frame is delivered."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from attendance.camera.base import Camera, CameraState, Health
from attendance.camera.capture import Capture
from attendance.errors import ImageError, SourceError
from attendance.types import Frame, RefusalReason, RGBImage, require_utc

_log = logging.getLogger(__name__)

# Containers estimate how many frames they hold; only a file that lacks more than this is called cut short.
_MISSING_SHARE = 0.05
_MISSING_FRAMES = 3


class VideoFile(Camera):
    """Every frame of a video; ``observed_at`` is ``start`` plus the frame's own time, and always rises."""

    def __init__(
        self, capture: Capture, *, camera_id: str, source: str, start: datetime, fps: float | None = None
    ) -> None:
        """Read the first frame. ``fps`` replaces the file's own clock.

        Raises SourceError when there is no frame, or neither a rate nor ``fps``.
        """
        super().__init__(camera_id=camera_id, source=source, is_live=False)
        require_utc("VideoFile.start", start)
        self._capture: Capture | None = capture
        self._start = start
        self._fixed_fps = fps
        self._rate = capture.fps if fps is None else fps
        self._expected = capture.frame_count
        self._frames = 0
        self._elapsed_s = 0.0
        self._last_frame_at: datetime | None = None
        self._last_error: str | None = None
        if not self._rate > 0:
            self.close()
            raise SourceError(f"{source} states no frame rate: give one with --fps")
        self._next: Frame | None = self._read()
        if self._next is None:
            raise SourceError(f"expected a video, but not one frame of {source} can be decoded: is the file complete?")

    @property
    def health(self) -> Health:
        state = CameraState.ENDED if self._capture is None and self._next is None else CameraState.LIVE
        return Health(state, frames=self._frames, last_frame_at=self._last_frame_at, last_error=self._last_error)

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame, self._next = self._next, None
        if frame is None:
            frame = self._read()
        if frame is not None:
            self._frames += 1
            self._last_frame_at = frame.observed_at
        return frame

    def close(self) -> None:
        self._next = None
        self._release()

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def _read(self) -> Frame | None:
        # Held here too, because a signal handler may close the camera at any line.
        capture, index = self._capture, self._frames
        if capture is None:
            return None
        try:
            image = capture.read()
        except SourceError as error:
            image, self._last_error = None, str(error)
        if image is None:
            self._note_early_end()
            self._release()
            return None
        self._elapsed_s = self._time_of(index, capture.position_ms / 1000)
        moment = self._start + timedelta(seconds=self._elapsed_s)
        return Frame(image=image, observed_at=moment, index=index, camera_id=self.camera_id)

    def _time_of(self, index: int, position_s: float) -> float:
        """Seconds since the start; where the file's clock stands still or jumps back, one frame after the last."""
        if self._fixed_fps is not None:
            return index / self._fixed_fps
        if index == 0:
            return position_s if math.isfinite(position_s) and position_s > 0 else 0.0
        if math.isfinite(position_s) and position_s > self._elapsed_s:
            return position_s
        return self._elapsed_s + 1 / self._rate

    def _note_early_end(self) -> None:
        missing = self._expected - self._frames
        if self._frames and missing > max(_MISSING_FRAMES, _MISSING_SHARE * self._expected):
            self._last_error = f"the file ends after {self._frames} of {self._expected} frames"
            _log.warning("camera %s: %s", self.camera_id, self._last_error)


def read_still(path: Path) -> RGBImage:
    """One image file as RGB uint8 (H, W, 3), upright. Raises ImageError when it cannot be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                return np.asarray(upright.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, Image.DecompressionBombError) as error:
        raise ImageError(RefusalReason.UNREADABLE, f"cannot decode {path.name}") from error


class ImageFolder(Camera):
    """The given images in order, one every 1 / ``fps`` seconds from ``start`` on.

    A file that cannot be decoded is skipped, keeps its place in time, and is counted.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        camera_id: str,
        source: str,
        start: datetime,
        fps: float,
        read_image: Callable[[Path], RGBImage] = read_still,
    ) -> None:
        """``read_image`` returns RGB uint8 or raises ImageError. Raises SourceError when no image can be decoded."""
        super().__init__(camera_id=camera_id, source=source, is_live=False)
        require_utc("ImageFolder.start", start)
        self._paths = list(paths)
        self._start = start
        self._fps = fps
        self._read_image = read_image
        self._position = 0
        self._frames = 0
        self._skipped = 0
        self._last_frame_at: datetime | None = None
        self._last_error: str | None = None
        self._next = self._read()
        if self._next is None:
            raise SourceError(f"expected images in {source}, but none of {len(self._paths)} can be decoded")

    @property
    def health(self) -> Health:
        return Health(
            CameraState.ENDED if self._next is None else CameraState.LIVE,
            frames=self._frames,
            skipped=self._skipped,
            last_frame_at=self._last_frame_at,
            last_error=self._last_error,
        )

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame = self._next
        if frame is not None:
            self._frames += 1
            self._last_frame_at = frame.observed_at
            self._next = self._read()
        return frame

    def close(self) -> None:
        self._paths = []
        self._next = None

    def _read(self) -> Frame | None:
        while self._position < len(self._paths):
            index = self._position
            self._position += 1
            try:
                image = self._read_image(self._paths[index])
            except ImageError as error:
                self._skipped += 1
                self._last_error = error.detail
                _log.warning("camera %s: an image is skipped: %s", self.camera_id, error.detail)
                continue
            moment = self._start + timedelta(seconds=index / self._fps)
            return Frame(image=image, observed_at=moment, index=index, camera_id=self.camera_id)
        return None
