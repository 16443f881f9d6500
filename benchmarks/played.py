"""A camera whose frames are made by code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from attendance.camera import Camera, CameraState, Health
from attendance.types import Frame


class Played(Camera):
    """Gives the frames of an iterator, every one, like a recording."""

    def __init__(self, frames: Iterator[Frame], *, camera_id: str) -> None:
        super().__init__(camera_id=camera_id, source="code", is_live=False)
        self._frames = frames
        self._count = 0
        self._last_frame_at: datetime | None = None
        self._state = CameraState.LIVE

    @property
    def health(self) -> Health:
        return Health(self._state, frames=self._count, last_frame_at=self._last_frame_at)

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame = next(self._frames, None)
        if frame is None:
            self._state = CameraState.ENDED
        else:
            self._count += 1
            self._last_frame_at = frame.observed_at
        return frame

    def close(self) -> None:
        self._state = CameraState.ENDED
