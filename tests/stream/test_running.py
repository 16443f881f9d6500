"""Runs of several cameras with real threads, and every part of them failing or hanging; nothing here waits for time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

from attendance.errors import AttendanceError, SourceError
from attendance.pipeline import FrameResult
from attendance.stream import READ_AHEAD, Lane
from attendance.types import EventKind, Frame
from tests.fakes import BLUE, GREEN, RED
from tests.stream.conftest import Endless, Played, Site, WatchedDetector, passing

PATIENCE_S = 60.0
"""A test that waits so long has failed; none waits at all where all is well."""

OnResult = Callable[[Lane, Frame, FrameResult], None]


def fail(*_: object) -> NoReturn:
    raise ZeroDivisionError("a test's fault")


def waiting_for(*moments: threading.Event) -> Callable[[], bool]:
    """Goes on until all of these happened."""
    return lambda: not all(moment.is_set() for moment in moments)


def at_frame(camera_id: str, index: int, moment: threading.Event) -> OnResult:
    """Tells when vision is done with this frame."""

    def note(lane: Lane, frame: Frame, result: FrameResult) -> None:
        if (lane.station.camera_id, frame.index) == (camera_id, index):
            moment.set()

    return note


def events_of(site: Site) -> list[tuple[str, str, str | None]]:
    lines = site.events_path.read_text(encoding="utf-8").splitlines()
    return [(e["camera_id"], e["kind"], e["identity_id"]) for e in map(json.loads, lines)]


def test_recordings_are_looked_at_frame_by_frame_and_each_camera_tells_in_order(site: Site) -> None:
    order: dict[str, list[int]] = {"a": [], "b": []}

    def note(lane: Lane, frame: Frame, result: FrameResult) -> None:
        order[lane.station.camera_id].append(frame.index)

    frames = {"a": passing(RED, BLUE, GREEN), "b": passing(GREEN, RED, camera_id="b")}
    found = site.run({name: Played(mine) for name, mine in frames.items()}, on_result=note)
    assert order == {name: list(range(len(mine))) for name, mine in frames.items()}
    assert [event for event in events_of(site) if event[0] == "a"] == [
        ("a", "punch", "red"), ("a", "unknown", None), ("a", "punch", "green"),
    ]  # fmt: skip
    assert [event for event in events_of(site) if event[0] == "b"] == [("b", "punch", "green"), ("b", "punch", "red")]
    assert [each.frames for each in found.values()] == [24, 16]
    assert site.stream is not None and site.stream.fault is None
    assert not [each for each in threading.enumerate() if each.name in ("vision", "ledger", "read-a", "read-b")]


def test_a_slow_store_delays_no_frame(site: Site) -> None:
    """The ledger stores nothing before vision has seen the last frame; all of it is on record in the end."""
    last = threading.Event()

    def slow() -> None:
        assert last.wait(PATIENCE_S)

    site.ledger.before = slow
    found = site.run({"a": Played(passing(RED, GREEN, RED))}, on_result=at_frame("a", 23, last))
    assert (found["a"].kinds, found["a"].failed) == ({EventKind.PUNCH: 3}, False)
    assert len(site.ledger.attendance()) == 3


def test_a_recording_drops_no_frame_and_its_end_waits_until_all_is_written_however_long_that_takes(site: Site) -> None:
    """All five results wait when the film ends, and together they take longer than ``end_s``, which each is given."""
    last = threading.Event()
    site.limits = replace(site.limits, end_s=0.6)

    def slow() -> None:
        assert last.wait(PATIENCE_S)
        time.sleep(0.2)

    site.ledger.before = slow
    film = passing(RED, GREEN, RED, GREEN, RED)
    found = site.run({"a": Played(film)}, on_result=at_frame("a", len(film) - 1, last))["a"]
    assert site.stream is not None
    assert (found.frames, site.stream.frames.replaced(0)) == (len(film), 0)
    assert (found.kinds, found.failed, found.events_lost) == ({EventKind.PUNCH: 5}, False, 0)
    assert (len(site.ledger.attendance()), len(events_of(site))) == (5, 5)


def test_results_without_room_are_lost_loudly_and_the_others_kept(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """One is in the ledger's hands, one waits, two find no room."""
    begun, last = threading.Event(), threading.Event()
    site.limits = replace(site.limits, results=1)

    def slow() -> None:
        begun.set()
        assert last.wait(PATIENCE_S)

    def after_the_first(index: int) -> None:
        if index == 8:
            assert begun.wait(PATIENCE_S)

    site.ledger.before = slow
    camera = Played(passing(RED, GREEN, RED, GREEN), before=after_the_first)
    found = site.run({"a": camera}, on_result=at_frame("a", 31, last))["a"]
    assert (found.frames, found.not_recorded, found.events_lost, found.failed) == (32, 2, 2, True)
    assert [event[2] for event in events_of(site)] == ["red", "green"]
    assert caplog.text.count("what a camera saw is not on record") == 2


def test_a_store_that_hangs_for_ever_ends_nothing_and_what_it_held_is_counted_as_lost(site: Site) -> None:
    site.limits = replace(site.limits, end_s=0.0)
    site.ledger.before = site.hang
    found = site.run({"a": Played(passing(RED, BLUE, GREEN))})["a"]
    assert (found.frames, found.not_recorded, found.events_lost) == (24, 2, 3)
    assert found.kinds == {EventKind.REFUSED: 2, EventKind.UNKNOWN: 1}
    assert (events_of(site), site.said, found.recorded) == ([], [], [])


def test_a_second_signal_ends_the_wait_for_the_store(site: Site) -> None:
    site.limits = replace(site.limits, end_s=PATIENCE_S)
    site.ledger.before = site.hang
    assert site.run({"a": Played(passing(RED))}, hurry=lambda: True)["a"].not_recorded == 1


def test_a_store_that_fails_in_a_way_nobody_foresaw_ends_the_run_with_its_error(site: Site) -> None:
    site.ledger.before = fail
    found = site.run({"a": Endless(passing(RED, GREEN))})["a"]
    assert found.not_recorded >= 1 and found.failed
    assert site.stream is not None
    with pytest.raises(AttendanceError, match=r"something unforeseen: ZeroDivisionError\(.a test's fault.\)"):
        site.stream.raise_fault()


@pytest.mark.parametrize(
    ("error", "raised"), [(ZeroDivisionError, AttendanceError), (BrokenPipeError, BrokenPipeError)]
)
def test_when_nobody_can_be_told_the_run_ends_and_the_punch_is_on_record(
    site: Site, error: type[Exception], raised: type[Exception]
) -> None:
    def tell() -> None:
        raise error

    site.announced = tell
    found = site.run({"a": Endless(passing(RED))})["a"]
    assert found.recorded[0][0] == "red" and not found.failed
    assert len(site.ledger.attendance()) == len(found.recorded)
    assert site.stream is not None
    with pytest.raises(BrokenPipeError if error is BrokenPipeError else AttendanceError):
        site.stream.raise_fault()


def test_vision_that_fails_ends_the_run_and_what_it_had_found_is_on_record(site: Site) -> None:
    looks = 0

    def count() -> None:
        nonlocal looks
        looks += 1
        if looks == 12:
            fail()

    site.detector = WatchedDetector(count)
    found = site.run({"a": Endless(passing(RED))})["a"]
    assert (found.frames, [who for who, _ in found.recorded]) == (11, ["red"])
    assert site.stream is not None
    with pytest.raises(AttendanceError, match="ZeroDivisionError"):
        site.stream.raise_fault()


def test_vision_that_hangs_ends_with_the_run_and_what_it_had_found_is_on_record(site: Site) -> None:
    hangs = threading.Event()
    looks = 0

    def count() -> None:
        nonlocal looks
        looks += 1
        if looks == 12:
            hangs.set()
            site.hang()

    site.detector = WatchedDetector(count)
    site.limits = replace(site.limits, end_s=0.0)
    said = threading.Event()
    site.announced = said.set
    found = site.run({"a": Endless(passing(RED))}, attend=waiting_for(hangs, said))["a"]
    assert [who for who, _ in found.recorded] == ["red"]
    assert site.stream is not None
    with pytest.raises(AttendanceError, match="not finished in time"):
        site.stream.raise_fault()


@pytest.mark.parametrize("is_live", [False, True])
def test_a_camera_whose_read_never_returns_stops_neither_the_others_nor_the_end(
    site: Site, caplog: pytest.LogCaptureFixture, is_live: bool
) -> None:
    site.limits = replace(site.limits, close_s=0.0)
    stuck = Played(passing(RED), is_live=is_live, before=lambda index: site.hang() if index == 3 else None)
    last = threading.Event()
    others = Played(passing(GREEN, camera_id="b"))
    found = site.run({"a": stuck, "b": others}, attend=waiting_for(last), on_result=at_frame("b", 7, last))
    assert (found["b"].frames, [who for who, _ in found["b"].recorded]) == (8, ["green"])
    assert found["a"].frames <= 3
    assert "camera a: a read does not return and is left behind" in caplog.text


def test_a_camera_whose_opening_never_returns_stops_neither_the_others_nor_the_end(site: Site) -> None:
    def stuck() -> NoReturn:
        site.hang()
        raise SourceError("too late")

    site.limits = replace(site.limits, close_s=0.0)
    last = threading.Event()
    camera = Played(passing(GREEN, camera_id="b"))
    found = site.run({"a": stuck, "b": camera}, attend=waiting_for(last), on_result=at_frame("b", 7, last))
    assert (found["a"].frames, found["b"].frames) == (0, 8)


@pytest.mark.parametrize("fault", [SourceError, ZeroDivisionError])
def test_a_camera_that_fails_in_the_middle_is_noted_and_the_others_go_on(site: Site, fault: type[Exception]) -> None:
    def break_down(index: int) -> None:
        if index == 5:
            raise fault("unplugged")

    broken = Played(passing(RED), before=break_down)
    found = site.run({"a": broken, "b": Played(passing(GREEN, RED, camera_id="b"))})
    assert (found["a"].frames, found["b"].frames) == (5, 16)
    assert [who for who, _ in found["a"].recorded] == ["red"]
    assert site.stream is not None and site.stream.fault is None
    assert "unplugged" in str(site.stream.stations[0].error)


def test_cameras_that_cannot_be_opened_at_all_are_told_by_the_firsts_error(site: Site) -> None:
    def closed(name: str) -> Callable[[], NoReturn]:
        def refuse() -> NoReturn:
            raise SourceError(f"{name} is away")

        return refuse

    with pytest.raises(SourceError, match="door is away"):
        site.run({"a": closed("door"), "b": closed("gate")})


def test_a_recording_without_end_or_pause_leaves_a_live_camera_its_turn(site: Site) -> None:
    """Of the live camera's frames every one is seen: its next comes only when the last was looked at."""
    seen = threading.Semaphore(1)
    busy, live = Endless(passing(RED)), Played(passing(GREEN, camera_id="b"), is_live=True, before=lambda _: take(seen))
    last = threading.Event()

    def note(lane: Lane, frame: Frame, result: FrameResult) -> None:
        if lane.station.camera_id == "b":
            seen.release()
            if frame.index == 7:
                last.set()

    found = site.run({"a": busy, "b": live}, attend=waiting_for(last), on_result=note)
    assert (found["b"].frames, [who for who, _ in found["b"].recorded]) == (8, ["green"])
    assert found["a"].frames >= 8 - READ_AHEAD


def take(seen: threading.Semaphore) -> None:
    assert seen.acquire(timeout=PATIENCE_S)


def test_a_run_that_is_stopped_still_decides_who_is_in_view(site: Site) -> None:
    """After two good frames, of which a decision needs three."""
    second, stopping = threading.Event(), threading.Event()

    def before(index: int) -> None:
        if index == 2:
            assert stopping.wait(PATIENCE_S)

    def attend() -> bool:
        if second.is_set():
            stopping.set()
        return not second.is_set()

    camera = Played(passing(RED), before=before)
    found = site.run({"a": camera}, attend=attend, on_result=at_frame("a", 1, second))["a"]
    assert [who for who, _ in found.recorded] == ["red"]


def test_a_window_that_fails_ends_every_thread_and_is_told(site: Site) -> None:
    with pytest.raises(ZeroDivisionError):
        site.run({"a": Endless(passing(RED))}, attend=fail)
    assert not [each for each in threading.enumerate() if each.name in ("vision", "ledger", "read-a")]


def test_a_run_lasts_so_many_seconds_of_each_cameras_clock(site: Site) -> None:
    site.limits = replace(site.limits, max_seconds=0.5)
    found = site.run({"a": Played(passing(RED)), "b": Played(passing(GREEN, camera_id="b"))})
    assert [each.frames for each in found.values()] == [5, 5]


def test_queues_and_ways_to_a_punch_are_told_to_prometheus(site: Site) -> None:
    site.run({"a": Played(passing(RED))})

    def value(name: str, **labels: str) -> float | None:
        return site.telemetry.registry.get_sample_value(f"attendance_{name}", labels)

    assert value("queue_depth", queue="frames", camera="a") == 0
    assert value("queue_bound", queue="frames", camera="a") == READ_AHEAD
    assert (value("queue_depth", queue="results", camera=""), value("queue_bound", queue="results", camera="")) == (
        0,
        1000,
    )
    assert value("frames_total", camera="a") == 8
    assert value("capture_to_punch_seconds_count") == 1
    assert value("time_to_record_seconds_count") == 1
    assert value("stage_seconds_count", stage="camera") == 8
