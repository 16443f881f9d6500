"""Between the cameras and the one thread that looks at their frames: a bounded queue for each camera.

A live camera's queue holds one frame, and a newer one takes its place: what is looked at is never older than it must
be. A recording's queue holds a few, read ahead, and its reader waits while it is full: every frame counts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from attendance.types import Frame

READ_AHEAD = 4
"""Frames of a recording that wait at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame, the moment it left its camera (`time.monotonic`), and how many were dropped since the one before."""

    frame: Frame
    captured_s: float
    dropped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """What one round of vision takes: at most one frame a camera, by its place, and which cameras are over."""

    frames: tuple[tuple[int, Captured], ...]
    ended: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Queue:
    room: threading.Condition
    waiting: deque[Captured] = field(default_factory=deque)
    bound: int = READ_AHEAD
    is_over: bool = False
    is_taken_over: bool = False
    replaced: int = 0
    highest: int = 0


class FrameQueues:
    """The queues of ``cameras`` cameras, which are named by their place. Safe to use from any thread."""

    def __init__(self, cameras: int) -> None:
        # One lock, and a condition for each who waits, so that a frame wakes vision alone.
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._queues = [_Queue(threading.Condition(self._lock)) for _ in range(cameras)]
        self._is_closed = False

    def put(self, place: int, captured: Captured, *, is_live: bool) -> bool:
        """Leave a camera's next frame; False when nobody wants one any more.

        A live camera's frame takes the place of one that still waits. A recording's waits here for room.
        """
        queue = self._queues[place]
        with self._lock:
            queue.bound = 1 if is_live else READ_AHEAD
            if is_live and queue.waiting:
                older = queue.waiting.popleft()
                queue.replaced += 1
                captured = replace(captured, dropped=captured.dropped + older.dropped + 1)
            queue.room.wait_for(lambda: self._is_closed or len(queue.waiting) < queue.bound)
            if self._is_closed:
                return False
            queue.waiting.append(captured)
            queue.highest = max(queue.highest, len(queue.waiting))
            self._news.notify()
            return True

    def end(self, place: int) -> None:
        """A camera has no more frames than those that wait."""
        with self._lock:
            self._queues[place].is_over = True
            self._news.notify()

    def take(self) -> Turn | None:
        """Wait for frames, and take the oldest of each camera that has one; None when all cameras are over, or closed.

        A camera's end is told once, after its last frame.
        """
        with self._lock:
            self._news.wait_for(self._has_news)
            if self._is_closed or all(queue.is_taken_over for queue in self._queues):
                return None
            found = tuple((at, queue.waiting.popleft()) for at, queue in enumerate(self._queues) if queue.waiting)
            over = [at for at, q in enumerate(self._queues) if q.is_over and not q.waiting and not q.is_taken_over]
            for at in over:
                self._queues[at].is_taken_over = True
            for at, _ in found:
                self._queues[at].room.notify()
            return Turn(found, tuple(over))

    def _has_news(self) -> bool:
        return (
            self._is_closed
            or any(queue.waiting or (queue.is_over and not queue.is_taken_over) for queue in self._queues)
            or all(queue.is_taken_over for queue in self._queues)
        )

    def close(self) -> None:
        """Nothing more is looked at: frames that wait are dropped, and nobody waits here any longer."""
        with self._lock:
            self._is_closed = True
            for queue in self._queues:
                queue.waiting.clear()
                queue.room.notify_all()
            self._news.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether frames are wanted no more."""
        return self._is_closed

    def depth(self, place: int) -> int:
        """How many frames of a camera wait."""
        return len(self._queues[place].waiting)

    def bound(self, place: int) -> int:
        """How many frames of a camera may wait."""
        return self._queues[place].bound

    def replaced(self, place: int) -> int:
        """How many frames of a camera a newer one took the place of."""
        return self._queues[place].replaced

    def highest(self) -> Sequence[int]:
        """The most frames that ever waited, for each camera."""
        return [queue.highest for queue in self._queues]
