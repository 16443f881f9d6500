"""The port to whatever decodes video, and OpenCV behind it."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod

import cv2
import numpy as np

from attendance.errors import SourceError
from attendance.types import RGBImage

_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET


class Capture(ABC):
    """One open connection to a device, stream or file."""

    @abstractmethod
    def read(self) -> RGBImage | None:
        """The next picture, RGB uint8 (H, W, 3); None at the end of the file or when the connection is lost.

        May block, in the worst case for ever. Raises SourceError when a picture came that cannot be used.
        """

    @property
    @abstractmethod
    def position_ms(self) -> float:
        """Time of the last picture since the file's start in milliseconds; NaN where there is none."""

    @property
    @abstractmethod
    def fps(self) -> float:
        """Pictures per second as the source states it; NaN where it does not."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """How many pictures the source says it has; 0 where it does not."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it. Called once, by whoever reads."""


class OpenCvCapture(Capture):
    """A `cv2.VideoCapture`."""

    def __init__(self, target: str | int, *, backend: int, params: tuple[int, ...] = ()) -> None:
        """Open ``target``, a device index, path or address, with ``params`` as OpenCV's property, value pairs.

        Raises SourceError without saying why: OpenCV does not know.
        """
        silence_decoders()
        try:
            self._video = cv2.VideoCapture(target, backend, list(params))
        except cv2.error as error:
            raise SourceError("the decoder failed to open it") from error
        if not self._video.isOpened():
            self._video.release()
            raise SourceError("the decoder could not open it")

    def read(self) -> RGBImage | None:
        try:
            succeeded, picture = self._video.read()
            if not succeeded or picture is None:
                return None
            if picture.dtype != np.uint8:
                raise SourceError(f"expected 8 bits a channel, got {picture.dtype}: set the camera to a colour format")
            grey = picture.ndim == 2 or picture.shape[2] == 1
            rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
        except cv2.error as error:
            raise SourceError("the decoder failed on a picture") from error
        return np.asarray(rgb, np.uint8)

    @property
    def position_ms(self) -> float:
        return float(self._video.get(cv2.CAP_PROP_POS_MSEC))

    @property
    def fps(self) -> float:
        stated = float(self._video.get(cv2.CAP_PROP_FPS))
        return stated if stated > 0 else math.nan

    @property
    def frame_count(self) -> int:
        stated = float(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        return int(stated) if 0 < stated < 2**53 else 0

    def close(self) -> None:
        self._video.release()


def silence_decoders() -> None:
    """Keep OpenCV and FFmpeg off stderr, where our own one line stands; their own variables still turn them up."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
