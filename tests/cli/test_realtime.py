"""``realtime_attendance.py``: from a film to punches, events and a summary, and every way in which it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import pytest

from attendance.app import App
from attendance.cli.realtime import main
from attendance.detect.port import Detector
from attendance.errors import LedgerUnavailableError, ModelError
from attendance.gallery import PersonChange, apply_changes, open_for_writing
from attendance.ledger.port import Ledger, Recorded
from attendance.ledger.sqlite import SqliteLedger
from attendance.search import lock
from attendance.search.chroma import ChromaStore
from attendance.types import Face, Punch, RGBImage
from tests.building import BrightDetector, FakeApp, photo
from tests.cli.conftest import BLUE, GREEN, RED, Ran, Run, exit_code_of, open_ledger
from tests.fakes import person, picture

ROOT = Path(__file__).resolve().parents[2]
START = "2026-03-02T08:00:00+01:00"
EVENT_KEYS = [
    "event_id", "observed_at", "kind", "identity_id", "similarity", "runner_up", "margin", "threshold", "reason", "box",
    "track_id", "camera_id", "site", "direction", "model",
]  # fmt: skip
SUMMARY_KEYS = [
    "frames", "first_frame_at", "last_frame_at", "events", "reasons", "recorded", "not_recorded", "events_lost",
    "model", "camera", "stats",
]  # fmt: skip

Walk = Sequence[tuple[int, int, int] | None]


def film(path: Path, *colours: tuple[int, int, int] | None, fps: int = 10) -> Path:
    """A face of each colour walks past for a second, then a second and a half nobody; None is nobody for a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 240))
    for colour in colours:
        for step in range(fps + (fps * 3) // 2):
            seen = colour is not None and step < fps
            patches = [(colour, (60 + 8 * step, 60, 110))] if seen and colour is not None else []
            writer.write(cv2.cvtColor(picture(*patches), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def live(enrolled: Run, store: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``realtime_attendance.py WORDS... --headless`` with red and green enrolled."""

    def call(*words: object, make_app: Callable[..., App] = FakeApp, headless: bool = True) -> Ran:
        flags = ["--store", str(store), *(["--headless"] if headless else [])]
        capsys.readouterr()
        code = exit_code_of(lambda: main([*map(str, words), *flags], make_app=make_app))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red, then nobody for longer than a test waits."""
    return film(tmp_path_factory.mktemp("film") / "film.avi", RED, *([None] * 40))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_walk_past_is_recorded_with_events_and_a_summary(live: Run, store: Path, tmp_path: Path) -> None:
    source, events = film(tmp_path / "film.avi", RED, BLUE, GREEN), tmp_path / "events.jsonl"
    ran = live("--source", source, "--start", START, "--events", events, "--json", "-")
    assert (ran.code, list(ran.json)) == (0, SUMMARY_KEYS)
    assert ran.json["events"] == {"punch": 2, "repeat": 0, "unknown": 1, "ambiguous": 0, "refused": 0}
    assert (ran.json["frames"], ran.json["first_frame_at"]) == (75, "2026-03-02T07:00:00.000Z")
    assert [row["identity_id"] for row in ran.json["recorded"]] == ["red", "green"]
    written = lines(events)
    assert [list(event) for event in written] == [EVENT_KEYS] * 3
    assert [event["identity_id"] for event in written] == ["red", None, "green"]
    assert [event["event_id"][14] for event in written] == ["7", "7", "7"]
    assert written[0]["observed_at"] < "2026-03-02T07:00:01"
    for text in ("07:00:00", "threshold", "75 frames; 2 punch", "2 people, 2 templates"):
        assert text in ran.err
    with open_ledger(store) as ledger:
        assert [row.identity_id for row in ledger.attendance()] == ["red", "green"]
    again = live("--source", source, "--start", "2026-03-02T08:01:00+01:00", "--events", events, "--json", "-")
    assert again.json["events"]["repeat"] == 2
    assert len(lines(events)) == 6


def test_time_is_the_sites_without_an_offset(live: Run, tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text("sites: [{id: main, time_zone: America/New_York}]\n", encoding="utf-8")
    flags = ("--source", film(tmp_path / "film.avi", None), "--config", config, "--json", "-")
    assert live(*flags, "--start", "2026-07-01T08:00:00").json["first_frame_at"] == "2026-07-01T12:00:00.000Z"
    assert live(*flags, "--start", "2026-07-01T08:00:00Z").json["first_frame_at"] == "2026-07-01T08:00:00.000Z"


def test_nobody_came_is_no_failure_and_max_seconds_ends_it(live: Run, tmp_path: Path) -> None:
    source = film(tmp_path / "film.avi", None, None)
    ran = live("--source", source, "--max-seconds", "1", "--json", "-")
    assert (ran.code, ran.json["frames"], ran.json["recorded"]) == (0, 10, [])


def test_a_folder_has_the_clock_of_fps_and_reads_what_enrolment_reads(live: Run, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for index in range(4):
        photo(folder / f"{index}.png", RED)
    sixteen = cv2.cvtColor(picture((RED, (20, 60, 100))), cv2.COLOR_RGB2BGR).astype("uint16") * 257
    cv2.imwrite(str(folder / "4.png"), sixteen)
    ran = live("--source", folder, "--fps", "2", "--start", START, "--json", "-")
    assert (ran.json["frames"], ran.json["last_frame_at"]) == (5, "2026-03-02T07:00:02.000Z")
    assert [row["identity_id"] for row in ran.json["recorded"]] == ["red"]


@pytest.mark.parametrize(("words", "told"), [
    (("--source", "none.mp4"), "none.mp4"), (("--source", "97"), "/dev/video97"), (("--source", "ftp://x"), "rtsp://"),
    (("--source", "text.mp4"), "cannot be decoded"), (("--source", "."), "found none"),
    (("--source", "film.avi", "--start", "soon"), "--start expects a time"),
    (("--source", "film.avi", "--fps", "0"), "--fps must be above 0"),
    (("--source", "film.avi", "--max-seconds", "nan"), "--max-seconds must be above 0"),
    (("--source", "film.avi", "--max-seconds", "-1"), "--max-seconds must be above 0"),
    (("--source", "film.avi", "--camera", "door"), "--camera door: the configuration has camera-1"),
    (("--source", "film.avi", "--events", "none/events.jsonl"), "--events none/events.jsonl: cannot be written"),
    (("--source", "film.avi", "--config", "two.yaml"), "name one with --camera"),
], ids=str)  # fmt: skip
def test_wrong_use_is_one_line_and_exit_code_2(
    live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    film(folder / "film.avi", None)
    (folder / "text.mp4").write_text("no film", encoding="utf-8")
    (folder / "two.yaml").write_text("cameras: [{id: a}, {id: b}]", encoding="utf-8")
    ran = live(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err
    assert told in ran.err


def test_one_of_several_cameras_is_run_by_its_name(live: Run, tmp_path: Path) -> None:
    config, events = tmp_path / "two.yaml", tmp_path / "events.jsonl"
    source = film(tmp_path / "film.avi", RED)
    config.write_text(f"cameras: [{{id: a}}, {{id: b, source: '{source}', direction: out}}]", encoding="utf-8")
    assert live("--config", config, "--camera", "b", "--events", events).code == 0
    assert [(event["camera_id"], event["direction"]) for event in lines(events)] == [("b", "out")]


def test_without_a_display_the_window_is_refused(live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    ran = live("--source", film(tmp_path / "film.avi", None), headless=False)
    assert (ran.code, ran.err.count("\n"), "--headless" in ran.err) == (2, 1, True)


class FullLedger(SqliteLedger):
    """A ledger on a full disk: it reads, and records nothing."""

    def record(self, punch: Punch) -> Recorded:
        raise LedgerUnavailableError("the disk is full: free space; nothing was stored")


class FullApp(FakeApp):
    """The app with such a ledger."""

    @cached_property
    def ledger(self) -> Ledger:
        ledger = FullLedger(self.store / "ledger.sqlite", cooldown_s=300.0, time_zones=self.settings.time_zones())
        self._exit.callback(ledger.close)
        return ledger


def test_a_punch_that_cannot_be_stored_is_told_and_a_failure(live: Run, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    flags = ("--source", film(tmp_path / "film.avi", RED), "--events", events, "--json", "-")
    ran = live(*flags, make_app=FullApp)
    assert (ran.code, ran.json["not_recorded"], ran.json["recorded"]) == (1, 1, [])
    assert [(event["kind"], event["reason"]) for event in lines(events)] == [("refused", "not_recorded")]
    assert "1 not recorded" in ran.err
    assert "(not_recorded)" in ran.err


def test_a_gallery_held_by_a_builder_is_not_waited_for(
    live: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attendance.app.READER_WAIT_S", 0.1)
    with lock.hold(store / "chroma.lock", wait_s=0):
        ran = live("--source", film(tmp_path / "film.avi", RED), "--json", "-")
    assert (ran.code, ran.json["events"]["punch"]) == (0, 1)
    assert "recognising from the ledger alone" in ran.err


def test_who_is_enrolled_while_it_runs_is_recognised(
    live: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blue walks past twice: unknown at first, enrolled by another in between, known then."""
    monkeypatch.setenv("ATTENDANCE_SEARCH__FOLLOW_S", "0.02")

    class Enrolling(BrightDetector):
        seen = 0

        def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
            self.seen += 1
            if self.seen == 24:
                with open_ledger(store) as other:
                    stored = ChromaStore(store / "chroma", "colours", 8)
                    with open_for_writing(other, stored) as gallery:
                        blue = replace(person("blue", BLUE), templates=person("blue", BLUE).templates)
                        assert apply_changes(other, gallery, [PersonChange(None, blue)]) == []
                time.sleep(0.5)
            return super().detect(images)

    class EnrollingApp(FakeApp):
        @cached_property
        def detector(self) -> Detector:
            return Enrolling()

    flags = ("--source", film(tmp_path / "film.avi", BLUE, BLUE), "--json", "-")
    ran = live(*flags, make_app=EnrollingApp)
    assert ran.json["events"] == {"punch": 1, "repeat": 0, "unknown": 1, "ambiguous": 0, "refused": 0}
    assert [row["identity_id"] for row in ran.json["recorded"]] == ["blue"]


def test_stats_are_a_table_without_names_and_a_part_of_the_json(live: Run, tmp_path: Path) -> None:
    flags = ("--source", film(tmp_path / "film.avi", RED, GREEN), "--start", START, "--quiet", "--json", "-")
    ran = live(*flags, "--stats")
    table = ran.err.splitlines()
    assert table[1].split() == ["camera", "frames/s", "frames", "dropped", "waiting"]
    assert (table[2].split()[0], table[2].split()[2:]) == ("camera-1", ["50", "0", "0/4"])
    assert re.fullmatch(r"vision busy \d+%, 1\.0 frames a round; results waiting 0/1000 \(most \d\)", table[3])
    steps = ["camera", "detect", "track", "align", "quality", "embed", "search", "decide", "ledger", "to", "punch"]
    assert (table[4].split(), table[5].split()[0], table[6].split()[0]) == (["ms", *steps], "mean", "p95")
    assert len(table) == 7
    assert "red" not in ran.err and "green" not in ran.err
    stats = ran.json["stats"]
    assert stats["warm_up_s"] > 0.0
    assert list(stats) == ["seconds", "warm_up_s", "cameras", "vision", "stages", "to_punch", "queues"]
    assert (stats["vision"]["rounds"], stats["vision"]["frames_per_round"]) == (50, 1.0)
    assert 0.0 < stats["vision"]["busy"] < 1.0
    assert [(each["camera_id"], each["frames"], each["dropped"]) for each in stats["cameras"]] == [("camera-1", 50, 0)]
    assert list(stats["stages"]) == steps[:-2]
    assert (stats["stages"]["camera"]["count"], stats["to_punch"]["count"]) == (50, 2)
    assert (stats["queues"]["frames"]["bound"], stats["queues"]["results"]["bound"]) == (4, 1000)
    assert live(*flags).err == ""


def test_networks_that_fail_end_the_run_with_its_summary_and_one_line(live: Run, store: Path, tmp_path: Path) -> None:
    class Failing(BrightDetector):
        frames = 0

        def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
            self.frames += 1
            if self.frames == 20:
                raise ModelError("the processor is on fire: put it out")
            return super().detect(images)

        def begin(self) -> None:
            self.frames = 0

    class FailingApp(FakeApp):
        @cached_property
        def detector(self) -> Failing:
            return Failing()

        def warm_up(self) -> float:
            seconds = super().warm_up()
            self.detector.begin()
            return seconds

    ran = live("--source", film(tmp_path / "film.avi", RED), "--json", "-", make_app=FailingApp)
    assert (ran.code, ran.json["frames"], ran.json["events"]["punch"]) == (1, 19, 1)
    assert ran.err.splitlines()[-1] == "realtime_attendance.py: the processor is on fire: put it out"
    assert "Traceback" not in ran.err
    with open_ledger(store) as ledger:
        assert len(ledger.attendance()) == 1


def test_a_ledger_that_hangs_delays_no_frame_and_no_end(
    live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTENDANCE_KIOSK__END_S", "0")
    over = threading.Event()

    class Hanging(SqliteLedger):
        def record(self, punch: Punch) -> Recorded:
            over.wait()
            return super().record(punch)

    class HangingApp(FakeApp):
        @cached_property
        def ledger(self) -> Ledger:
            ledger = Hanging(self.store / "ledger.sqlite", cooldown_s=300.0, time_zones=self.settings.time_zones())
            self._exit.callback(ledger.close)
            return ledger

    flags = ("--source", film(tmp_path / "film.avi", RED, GREEN), "--json", "-")
    try:
        ran = live(*flags, make_app=HangingApp)
    finally:
        over.set()
        for thread in threading.enumerate():
            if thread.name == "ledger":
                thread.join()
    assert (ran.code, ran.json["frames"], ran.json["not_recorded"], ran.json["events_lost"]) == (1, 50, 2, 2)
    assert "did not answer before the end" in ran.err


PROGRAM = """
import sys
from attendance.cli.realtime import main
import time
from functools import cached_property
from tests.building import BrightDetector, FakeApp
class Unhurried(BrightDetector):
    def detect(self, images):
        time.sleep(0.02)
        return super().detect(images)
class UnhurriedApp(FakeApp):
    @cached_property
    def detector(self):
        return Unhurried()
sys.exit(main(sys.argv[1:], make_app=UnhurriedApp))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(live: Run, store: Path, tmp_path: Path, long_film: Path, number: signal.Signals) -> None:
    """A film too long to wait for; the signal comes once the first event is written."""
    source, events = long_film, tmp_path / "events.jsonl"
    command = [sys.executable, "-c", PROGRAM, "--headless", "--source", source, "--start", START, "--events", events,
               "--store", store, "--json", tmp_path / "out.json"]  # fmt: skip
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        begun = time.monotonic()
        while not (events.exists() and events.stat().st_size):
            assert process.poll() is None and time.monotonic() - begun < 60
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    summary = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert 0 < summary["frames"] < 1025
    assert summary["events"]["punch"] == 1
    assert [event["identity_id"] for event in lines(events)] == ["red"]
    assert b"frames; 1 punch" in out


def test_logs_hold_no_names(live: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTENDANCE_LOG__LEVEL", "debug")
    ran = live("--source", film(tmp_path / "film.avi", RED, GREEN), "--quiet", make_app=FullApp)
    assert ran.code == 1
    logged = [line for line in ran.err.splitlines() if line.split(" ")[0] in ("DEBUG", "INFO", "WARNING", "ERROR")]
    assert any("attendance.kiosk" in line for line in logged)
    assert not [line for line in logged if " red" in line or "green" in line]


@pytest.mark.skipif(shutil.which("Xvfb") is None or shutil.which("xdotool") is None,
                    reason="missing system package: Xvfb and xdotool for a display without a screen")  # fmt: skip
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_the_window_shows_and_closes_by_key(live: Run, store: Path, tmp_path: Path, long_film: Path, key: str) -> None:
    read_end, write_end = os.pipe()
    # -noreset: without it the server starts anew whenever its last client leaves, as each xdotool does, and refuses
    # whoever connects at that moment.
    display = subprocess.Popen(["Xvfb", "-displayfd", str(write_end), "-screen", "0", "800x600x24", "-nolisten", "tcp",
                                "-noreset"], pass_fds=[write_end], stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        os.close(write_end)
        with os.fdopen(read_end) as told:
            environment = {**os.environ, "DISPLAY": f":{told.readline().strip()}"}
        source = long_film
        command = [sys.executable, "-c", PROGRAM, "--source", source, "--store", store, "--json", tmp_path / "out.json"]
        with subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
            begun = time.monotonic()
            while process.poll() is None:
                assert time.monotonic() - begun < 90
                subprocess.run(["xdotool", "search", "--name", "attendance", "key", key], env=environment,
                               capture_output=True, check=False)  # fmt: skip
                time.sleep(0.2)
        assert process.returncode == 0
        assert 0 < json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["frames"] < 1025
    finally:
        display.terminate()
        display.wait()
