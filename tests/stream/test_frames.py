"""The queues between cameras and vision, called by one thread or by two that meet."""

from __future__ import annotations

import threading

import pytest

from attendance.stream import READ_AHEAD, Captured, FrameQueues
from attendance.types import Frame
from tests.fakes import at, picture

IMAGE = picture(size=(9, 16))


def captured(index: int, *, dropped: int = 0) -> Captured:
    return Captured(Frame(IMAGE, at(index), index, "camera"), float(index), dropped)


def taken(frames: FrameQueues) -> list[tuple[int, int]]:
    turn = frames.take()
    assert turn is not None
    return [(place, found.frame.index) for place, found in turn.frames]


def test_a_round_takes_one_frame_of_each_camera_however_many_one_has() -> None:
    frames = FrameQueues(3)
    for index in range(READ_AHEAD):
        frames.put(0, captured(index), is_live=False)
    frames.put(2, captured(0), is_live=True)
    assert taken(frames) == [(0, 0), (2, 0)]
    frames.put(1, captured(0), is_live=False)
    assert taken(frames) == [(0, 1), (1, 0)]
    assert taken(frames) == [(0, 2)]


def test_of_a_live_camera_the_newest_frame_waits_and_what_it_replaced_is_counted() -> None:
    frames = FrameQueues(1)
    for index in range(5):
        frames.put(0, captured(index, dropped=1 if index == 2 else 0), is_live=True)
    turn = frames.take()
    assert turn is not None
    [(_, newest)] = turn.frames
    assert (newest.frame.index, newest.dropped, newest.captured_s) == (4, 5, 4.0)
    assert (frames.replaced(0), frames.depth(0), frames.bound(0), frames.highest()) == (4, 0, 1, [1])


def test_a_recording_is_read_a_few_frames_ahead_and_then_waited_for() -> None:
    frames = FrameQueues(1)
    full = threading.Event()

    def read() -> None:
        for index in range(READ_AHEAD + 2):
            if index == READ_AHEAD:
                full.set()
            frames.put(0, captured(index), is_live=False)
        frames.end(0)

    reader = threading.Thread(target=read)
    reader.start()
    full.wait()
    assert frames.depth(0) == READ_AHEAD
    seen = []
    while (turn := frames.take()) is not None:
        seen += [found.frame.index for _, found in turn.frames]
    reader.join()
    assert seen == list(range(READ_AHEAD + 2))
    assert frames.highest() == [READ_AHEAD]


def test_the_end_of_a_camera_is_told_once_after_its_last_frame() -> None:
    frames = FrameQueues(2)
    frames.put(0, captured(0), is_live=False)
    frames.put(0, captured(1), is_live=False)
    frames.end(0)
    frames.end(0)
    turns = [frames.take(), frames.take()]
    assert [turn.ended for turn in turns if turn is not None] == [(), (0,)]
    frames.end(1)
    last = frames.take()
    assert last is not None and (last.frames, last.ended) == ((), (1,))
    assert frames.take() is None


@pytest.mark.parametrize("is_live", [False, True])
def test_closing_drops_what_waits_and_wakes_whoever_waits(is_live: bool) -> None:
    frames = FrameQueues(1)
    answers: list[bool] = []

    def read() -> None:
        while not answers or answers[-1]:
            answers.append(frames.put(0, captured(len(answers)), is_live=is_live))

    reader = threading.Thread(target=read)
    reader.start()
    assert frames.take() is not None
    frames.close()
    reader.join()
    assert answers[-1] is False
    assert (frames.take(), frames.depth(0), frames.is_closed) == (None, 0, True)
