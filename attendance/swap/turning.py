"""A running kiosk keeps in step with which templates are in force: it loads the other model, and changes over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from attendance.errors import AttendanceError
from attendance.pipeline import CameraPath, FaceReader, FrameResult, TrackChange
from attendance.types import Frame
from attendance.watch import Steps

logger = logging.getLogger(__name__)

_JOIN_S = 10.0


class Recognition(Protocol):
    """All that recognises by the templates of one space: model, mirror and what follows the ledger."""

    @property
    def space(self) -> str:
        """The space of its templates."""

    @property
    def in_force(self) -> str:
        """The space that the ledger had in force when it was looked at last; empty: none was noted, or not yet seen."""

    def stop(self) -> None:
        """Follow the ledger no more."""


R = TypeVar("R", bound=Recognition)


class Turner(Generic[R]):
    """Holds what recognises at present, and another in its place when other templates are in force.

    ``load`` makes what recognises by a space, in this object's thread, while the present one goes on; it raises where
    the model or the key is not held here. Then the present one goes on with its own templates, ``tell`` is told why,
    and it is tried again every ``again_s`` seconds. `start` begins to look, every ``look_s`` seconds.
    """

    def __init__(
        self,
        first: R,
        load: Callable[[R, str], R],
        *,
        tell: Callable[[str], None],
        look_s: float = 0.5,
        again_s: float = 60.0,
    ) -> None:
        self._current = first
        self._load = load
        self._tell = tell
        self._look_s, self._again_s = look_s, again_s
        self._failed: tuple[str, float] = ("", 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="turner", daemon=True)

    @property
    def current(self) -> R:
        """What recognises now; from any thread."""
        return self._current

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the present one's following; may be called twice, and before `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._current.stop()

    def look(self) -> None:
        """Change over if other templates are in force, and they can be loaded."""
        present = self._current
        wanted = present.in_force
        if wanted in ("", present.space):
            return
        space, tried_at = self._failed
        if space == wanted and time.monotonic() - tried_at < self._again_s:
            return
        try:
            other = self._load(present, wanted)
        except AttendanceError as error:
            self._failed = wanted, time.monotonic()
            logger.error("templates of %s are in force, this kiosk goes on with %s: %s", wanted, present.space, error)
            self._tell(f"templates of {wanted} are in force, and this kiosk goes on with {present.space}: {error}")
            return
        self._current = other
        present.stop()
        logger.warning("templates of %s are in force, changed over from %s", wanted, present.space)
        self._tell(f"changed over from {present.space} to {wanted}")

    def _run(self) -> None:
        while not self._stop.wait(self._look_s):
            try:
                self.look()
            except Exception:
                logger.exception("the change to other templates met something unforeseen and is tried again")


class TurningPath(Generic[R]):
    """The path of one camera, made anew between two frames when something else recognises.

    Whoever is in view then is decided by what was seen so far, with the former templates, and seen anew with the
    others: vectors of one model never meet templates of another.
    """

    def __init__(self, turner: Turner[R], make: Callable[[R], CameraPath]) -> None:
        """``make`` makes a path; all paths of a camera share a tracker, so that no track's number comes twice."""
        self._turner = turner
        self._make = make
        self._present = turner.current
        self._path = make(self._present)
        self._ended: list[TrackChange] = []

    @property
    def reader(self) -> FaceReader:
        """Who answers the next frame's questions; asked before it, and the moment to change over."""
        if self._turner.current is not self._present:
            self._ended += self._path.finish()
            self._present = self._turner.current
            self._path = self._make(self._present)
        return self._path.reader

    def steps(self, frame: Frame) -> Steps[FrameResult]:
        """See `LivePath`."""
        result = yield from self._path.steps(frame)
        ended, self._ended = self._ended, []
        return replace(result, changes=(*ended, *result.changes)) if ended else result

    def finish(self) -> tuple[TrackChange, ...]:
        """See `LivePath`."""
        ended, self._ended = self._ended, []
        return (*ended, *self._path.finish())
