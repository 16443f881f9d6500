"""What every camera is: frames one after another, and a health that can be read at any time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Self

from attendance.types import Frame

# How long a wait for the next frame lasts before the caller may look at something else.
_POLL_S = 0.2


class CameraState(StrEnum):
    """Where a camera stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Health:
    """A camera as it is now.

    ``frames`` were read, ``dropped`` of them were replaced by a newer one before anybody took them (live sources),
    ``skipped`` files could not be decoded (folders). ``last_frame_at`` is aware UTC; ``last_error`` names no password.
    """

    state: CameraState
    frames: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    last_frame_at: datetime | None = None
    last_error: str | None = None


class Camera(ABC):
    """An open source of frames: iterate it, ask `next_frame`, or poll with `frames`; close it, or use ``with``.

    ``source`` is what it was opened from, without passwords. ``is_live`` tells a webcam or stream, where the newest
    frame wins, from a recording, where every frame counts.
    """

    def __init__(self, *, camera_id: str, source: str, is_live: bool) -> None:
        self.camera_id = camera_id
        self.source = source
        self.is_live = is_live

    @property
    @abstractmethod
    def health(self) -> Health:
        """The health at this moment. May be asked from any thread."""

    @abstractmethod
    def next_frame(self, timeout_s: float) -> Frame | None:
        """The next frame, or None when none came within ``timeout_s`` or none will come any more.

        A recording does not wait: its next frame is there at once.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the source and wake whoever waits for a frame. Safe to call again, and from a signal handler.

        A live camera may be closed by any thread, a recording by the one that reads it.
        """

    @property
    def has_ended(self) -> bool:
        """Whether no frame will come any more."""
        return self.health.state is CameraState.ENDED

    def frames(self, *, keep_going: Callable[[], bool]) -> Iterator[Frame]:
        """Frames until the source ends or ``keep_going`` says no.

        ``keep_going`` is asked before every frame and, while a live source is silent, several times a second: so a
        signal, a time limit or a closed window is noticed in front of a dead camera too.
        """
        while keep_going():
            frame = self.next_frame(_POLL_S)
            if frame is not None:
                yield frame
            elif self.has_ended:
                return

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(keep_going=lambda: True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
