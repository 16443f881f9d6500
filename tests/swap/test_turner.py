"""What holds the place of what recognises: it changes over when it can, and goes on when it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from attendance.errors import ModelError
from attendance.pipeline import FaceReader, FrameResult, TrackChange
from attendance.swap.turning import Turner, TurningPath
from attendance.types import Frame
from attendance.watch import Steps
from tests.fakes import ColourEmbedder, PatchDetector, at, colour_card, face_at


@dataclass(eq=False)
class Present:
    """Something that recognises; ``seen`` is what its follower saw last."""

    space: str
    seen: str = ""
    stopped: int = 0

    @property
    def in_force(self) -> str:
        return self.seen

    def stop(self) -> None:
        self.stopped += 1


@dataclass(eq=False)
class OneTrack:
    """A path that ends one track with the space it was made for."""

    space: str
    reader: FaceReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = FaceReader(PatchDetector(), ColourEmbedder(colour_card(self.space)))

    def steps(self, frame: Frame) -> Steps[FrameResult]:
        yield from ()
        return FrameResult((), (self._change(frame.index),))

    def finish(self) -> tuple[TrackChange, ...]:
        return (self._change(99),)

    def _change(self, number: int) -> TrackChange:
        return TrackChange(number, face_at(0, 0, 50), at(0), None, 0, self.space)


def loads(present: Present, space: str) -> Present:
    if space == "missing":
        raise ModelError("there are no weights")
    return Present(space, space)


def turner_at(first: Present, *, again_s: float = 60.0) -> tuple[Turner[Present], list[str]]:
    said: list[str] = []
    return Turner(first, loads, tell=said.append, again_s=again_s), said


def step(path: TurningPath[Present], index: int) -> list[tuple[int, str]]:
    """One frame, as the loop takes it: the reader is asked for first."""
    assert path.reader is not None
    run = path.steps(Frame(np.zeros((9, 9, 3), np.uint8), at(index), index, "camera-1"))
    try:
        next(run)
    except StopIteration as end:
        return [(change.track_id, change.card_id) for change in end.value.changes]
    raise AssertionError("this path asks nothing")


def test_nothing_changes_until_something_else_is_in_force() -> None:
    first = Present("a")
    turner, said = turner_at(first)
    for seen in ("", "a"):
        first.seen = seen
        turner.look()
    assert (turner.current, first.stopped, said) == (first, 0, [])


def test_it_changes_over_and_lets_the_former_go() -> None:
    first = Present("a", "b")
    turner, said = turner_at(first)
    turner.look()
    assert (turner.current.space, first.stopped, said) == ("b", 1, ["changed over from a to b"])


def test_what_cannot_be_loaded_is_told_and_tried_again_later() -> None:
    first = Present("a", "missing")
    turner, said = turner_at(first)
    for _ in range(3):
        turner.look()
    assert (turner.current, first.stopped, len(said)) == (first, 0, 1)
    assert "goes on with a: there are no weights" in said[0]
    eager, again = turner_at(Present("a", "missing"), again_s=0.0)
    eager.look()
    eager.look()
    assert len(again) == 2
    # Another space is tried at once.
    first.seen = "b"
    turner.look()
    assert turner.current.space == "b"


def test_tracks_in_view_are_ended_by_the_former_path() -> None:
    first = Present("a", "a")
    turner, _ = turner_at(first)
    path = TurningPath(turner, lambda present: OneTrack(present.space))
    assert step(path, 1) == [(1, "a")]
    first.seen = "b"
    turner.look()
    assert step(path, 2) == [(99, "a"), (2, "b")]
    assert step(path, 3) == [(3, "b")]
    assert [change.card_id for change in path.finish()] == ["b"]
