"""The window of a run: the newest picture of each camera, drawn by the thread that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from attendance.pipeline import FrameResult, TrackView
from attendance.stream import Lane
from attendance.types import Frame, RGBImage
from attendance.window import Window, draw, tiled

_NO_PICTURE: RGBImage = np.zeros((9, 16, 3), np.uint8)


class Screen:
    """Takes what vision sees in `note` from any thread, and shows it in `show` from the window's own."""

    def __init__(self, lanes: Sequence[Lane], window: Window | None, *, name_of: Callable[[str], str]) -> None:
        """``name_of``: identity id to the name to show. Without a window nothing is kept and nothing shown."""
        self._ids = [lane.station.camera_id for lane in lanes]
        self._window = window
        self._name_of = name_of
        self._newest: dict[str, tuple[Frame, tuple[TrackView, ...]]] = {}
        self._drawn: dict[str, tuple[Frame, RGBImage]] = {}

    def note(self, lane: Lane, frame: Frame, result: FrameResult) -> None:
        """Keep a camera's newest frame with what was seen in it."""
        if self._window is not None:
            self._newest[lane.station.camera_id] = frame, result.views

    def show(self) -> bool:
        """Show the newest pictures; False when the user closed the window."""
        if self._window is None or not self._newest:
            return True
        # A camera without a picture yet has its tile, so that the window keeps its shape.
        return self._window.show(tiled([self._picture(camera_id) for camera_id in self._ids]))

    def _picture(self, camera_id: str) -> RGBImage:
        newest, drawn = self._newest.get(camera_id), self._drawn.get(camera_id)
        if newest is None:
            return _NO_PICTURE
        frame, views = newest
        if drawn is None or drawn[0] is not frame:
            drawn = self._drawn[camera_id] = frame, draw(frame.image, views, self._name_of)
        return drawn[1]
