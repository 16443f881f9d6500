"""Kiosks on one ledger: their configuration, cameras and health, and several cameras in one process."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from attendance.app import App
from attendance.cli.realtime import main
from attendance.detect.port import Detector
from attendance.kept_mirror import load_kept
from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Setting
from attendance.ledger.registry import Register
from attendance.types import Face, RGBImage
from tests.building import BrightDetector, FakeApp
from tests.cli.conftest import BLUE, GREEN, RED, Ran, Run, exit_code_of, open_ledger
from tests.cli.test_realtime import ROOT, START, film, lines
from tests.ledger.server import Server


@pytest.fixture
def live(enrolled: Run, hall: Run) -> Run:
    """Run the kiosk named hall with red and green enrolled."""
    return hall


@pytest.fixture
def hall(store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the kiosk named hall."""
    monkeypatch.setenv("ATTENDANCE_KIOSK__ID", "hall")

    def call(*words: object, make_app: Callable[..., App] = FakeApp) -> Ran:
        capsys.readouterr()
        code = exit_code_of(lambda: main([*map(str, words), "--store", str(store), "--headless"], make_app=make_app))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


def test_cameras_and_settings_of_the_ledger_are_a_kiosks_and_its_own_file_beats_them(
    live: Run, run: Run, store: Path, tmp_path: Path
) -> None:
    source = film(tmp_path / "film.avi", RED)
    assert run("sites", "set", "berlin", "--time-zone", "Europe/Berlin").code == 0
    words = ("--kiosk", "hall", "--source", source, "--site", "berlin", "--direction", "in")
    assert run("cameras", "set", "door", *words).code == 0
    assert run("cameras", "set", "else", "--kiosk", "gate", "--source", "97").code == 0
    assert run("kiosks", "set", "*", "decide.margin", "0.5").code == 0
    assert run("kiosks", "set", "hall", "decide.margin", "0.01").code == 0
    ran = live("--start", "2026-03-02T08:00:00", "--json", "-")
    assert (ran.code, ran.json["first_frame_at"]) == (0, "2026-03-02T07:00:00.000Z")
    assert "margin 0.010" in ran.err
    with open_ledger(store) as ledger:
        [punch] = ledger.punches()
        [health] = ledger.registered(Register.HEALTH)
    assert (punch.camera_id, punch.site, str(punch.direction)) == ("door", "berlin", "in")
    assert (health.key, health.value["punches"], health.value["not_recorded"]) == ("hall", 1, 0)
    assert health.value["ended_at"] is not None
    assert [(each["id"], each["state"], each["frames"]) for each in health.value["cameras"]] == [("door", "ended", 25)]
    assert "red" not in str(health.value)
    own = tmp_path / "own.yaml"
    sites = "sites: [{id: berlin, time_zone: Europe/Berlin}]"
    cameras = f"cameras: [{{id: mine, source: '{source}', site: berlin}}]"
    own.write_text(f"{cameras}\n{sites}\ndecide: {{margin: 0.04}}\n", "utf-8")
    ran = live("--config", own, "--events", tmp_path / "events.jsonl", "--start", START)
    assert ran.code == 0 and "margin 0.040" in ran.out
    assert [event["camera_id"] for event in lines(tmp_path / "events.jsonl")] == ["mine"]
    [listed] = [each for each in json.loads(run("kiosks", "list", "--json", "-").out) if each["id"] == "hall"]
    assert (listed["state"], listed["cameras"][0]["id"]) == ("ended", "mine")
    # The site's days are cut alike by a program whose file names no site.
    assert run("report", "--json", "-").json[0]["day"] == "2026-03-02"


@pytest.mark.parametrize(("value", "told"), [
    ({"decide": {"margin": 7}}, "the ledger's settings kiosk/hall: decide.margin: Input should be less than"),
    ({"decide": {"nothing": 7}}, "decide.nothing: unknown key; known here: target_fpir, threshold, margin, got 7"),
    ({"ledger": {"url": "mongodb://x"}}, "ledger.url: the ledger holds no such key: it is needed to reach the ledger"),
    ({"search": {"url": "http://x"}}, "search.url: addresses, files and secrets are the machine's own"),
    ({"store": {"path": "x"}}, "store.path: the ledger holds no such key"),
    ({"attendance": {"cooldown_s": 1}}, "every program on the ledger must count alike"),
    ({"service": {"token": "x"}}, "it is not a kiosk's"),
], ids=str)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_key_and_that_the_ledger_holds_it(
    hall: Run, store: Path, tmp_path: Path, value: dict[str, Any], told: str
) -> None:
    with open_ledger(store) as ledger:
        assert ledger.put_setting(Setting("kiosk/hall", 1, value))
    ran = hall("--source", film(tmp_path / "film.avi", None))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err and "the ledger's settings kiosk/hall" in ran.err


@pytest.mark.parametrize(("words", "told"), [
    (("kiosks", "set", "hall", "decide.margin", "7"), "less than or equal to 2, got 7"),
    (("kiosks", "set", "*", "track.min_frames", "20"), "max_frames 10 must not be below min_frames 20"),
    (("kiosks", "set", "hall", "store.path", "x"), "store.path: the ledger holds no such key"),
    (("kiosks", "set", "a/b", "decide.margin", "0.1"), "KIOSK must be a kiosk's id"),
    (("kiosks", "unset", "hall", "decide.margin"), "decide.margin is not set for hall"),
    (("cameras", "set", "door", "--kiosk", "hall"), "name the kiosk that runs it and its source"),
    (("cameras", "set", "door", "--kiosk", "hall", "--source", "rtsp://u:p@x/1"), "holds no password"),
    (("cameras", "set", "a b", "--kiosk", "hall", "--source", "0"), "id: String should match"),
    (("cameras", "remove", "none"), "cameras has no none"),
    (("sites", "set", "main", "--time-zone", "Mars"), "expected an IANA time zone"),
], ids=str)  # fmt: skip
def test_wrong_use_of_the_register_is_one_line(run: Run, store: Path, words: tuple[str, ...], told: str) -> None:
    store.mkdir()
    ran = run(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err
    assert told in ran.err


def test_the_register_is_listed_changed_and_emptied(run: Run, store: Path) -> None:
    assert run("cameras", "set", "door", "--kiosk", "hall", "--source", "0").code == 0
    assert run("cameras", "set", "door", "--direction", "out").code == 0
    expected = {"id": "door", "kiosk": "hall", "source": "0", "site": "main", "direction": "out"}
    assert run("cameras", "list", "--json", "-").json == [expected]
    assert run("sites", "set", "main", "--time-zone", "Asia/Tokyo").code == 0
    assert run("sites", "list", "--json", "-").json == [{"id": "main", "time_zone": "Asia/Tokyo"}]
    assert "camera door stands at site main" in run("sites", "remove", "main").err
    assert run("kiosks", "set", "*", "follow", "1").code == 2
    assert run("kiosks", "set", "*", "search.follow_s", "2.5").code == 0
    shown = run("kiosks", "show", "hall", "--json", "-").json
    assert shown["registered_cameras"] == [expected]
    assert (shown["settings"], shown["health"]["state"]) == ({"*": {"search.follow_s": 2.5}}, "never seen")
    emptied = [("kiosks", "unset", "*", "search.follow_s"), ("cameras", "remove", "door"), ("sites", "remove", "main")]
    assert [run(*words).code for words in emptied] == [0, 0, 0]
    assert run("cameras", "list", "--json", "-").json == []
    assert run("kiosks", "show", "*", "--json", "-").json["settings"] == {}


def two_cameras(folder: Path, one: Path, other: str) -> Path:
    config = folder / "two.yaml"
    config.write_text(
        f"cameras: [{{id: a, source: '{one}', direction: in}}, {{id: b, source: '{other}', direction: out}}]", "utf-8"
    )
    return config


def test_several_cameras_run_in_one_process_and_share_what_they_write_to(
    live: Run, store: Path, tmp_path: Path
) -> None:
    config = two_cameras(tmp_path, film(tmp_path / "a.avi", RED, BLUE, None), str(film(tmp_path / "b.avi", GREEN, RED)))
    ran = live("--config", config, "--start", START, "--events", tmp_path / "events.jsonl", "--json", "-")
    assert ran.code == 0, ran.err
    assert ran.json["events"] == {"punch": 3, "repeat": 0, "unknown": 1, "ambiguous": 0, "refused": 0}
    assert (ran.json["frames"], len(ran.json["recorded"])) == (125, 3)
    assert [each["identity_id"] for each in ran.json["recorded"]][-1] == "red"
    assert [(each["camera_id"], each["frames"], each["error"]) for each in ran.json["cameras"]] == [
        ("a", 75, None), ("b", 50, None),
    ]  # fmt: skip
    assert "camera" not in ran.json
    seen = sorted((event["camera_id"], event["identity_id"] or "") for event in lines(tmp_path / "events.jsonl"))
    assert seen == [("a", ""), ("a", "red"), ("b", "green"), ("b", "red")]
    with open_ledger(store) as ledger:
        assert len({punch.journal_id for punch in ledger.punches()}) == 2
        [health] = ledger.registered(Register.HEALTH)
    assert [each["id"] for each in health.value["cameras"]] == ["a", "b"]


def test_a_signal_ends_every_camera_well(live: Run, store: Path, tmp_path: Path) -> None:
    class Signalling(BrightDetector):
        frames = 0

        def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
            self.frames += 1
            if self.frames == 30:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().detect(images)

    class SignallingApp(FakeApp):
        @cached_property
        def detector(self) -> Detector:
            return Signalling()

    long = [None] * 8
    config = two_cameras(tmp_path, film(tmp_path / "a.avi", RED, *long), str(film(tmp_path / "b.avi", GREEN, *long)))
    ran = live("--config", config, "--start", START, "--json", "-", make_app=SignallingApp)
    assert (ran.code, ran.json["frames"] < 450) == (0, True), ran.err
    with open_ledger(store) as ledger:
        [health] = ledger.registered(Register.HEALTH)
    assert health.value["ended_at"] is not None


def test_a_camera_that_fails_stops_no_other_and_is_a_failure(live: Run, tmp_path: Path) -> None:
    config = two_cameras(tmp_path, film(tmp_path / "a.avi", RED), str(tmp_path / "none.mp4"))
    ran = live("--config", config, "--start", START, "--json", "-")
    assert (ran.code, ran.json["events"]["punch"]) == (1, 1)
    [_, failed] = ran.json["cameras"]
    assert (failed["camera_id"], failed["camera"], failed["frames"]) == ("b", None, 0)
    assert "none.mp4" in failed["error"]
    assert "camera b failed" in ran.err
    config = two_cameras(tmp_path, tmp_path / "nothing.mp4", str(tmp_path / "none.mp4"))
    ran = live("--config", config)
    assert ran.code == 2 and "nothing.mp4" in ran.err


def test_a_ledger_that_goes_away_and_comes_back_delays_nobody(
    run: Run, live: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the second of four people, started again before the fourth."""
    server, events = Server(tmp_path / "mongo"), tmp_path / "events.jsonl"
    url = server.url("attendance", options="?serverSelectionTimeoutMS=300")

    def settled(count: int) -> None:
        """Wait until what was seen so far is on record: the camera itself waits for no ledger."""
        begun = time.monotonic()
        while not events.exists() or len(lines(events)) < count:
            assert time.monotonic() - begun < 30
            time.sleep(0.01)

    class Killing(BrightDetector):
        frames = 0

        def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
            self.frames += 1
            if self.frames == 24:
                settled(1)
                server.kill()
            if self.frames == 74:
                settled(3)
                server.start()
                time.sleep(1.0)
            return super().detect(images)

    class KillingApp(FakeApp):
        @cached_property
        def detector(self) -> Detector:
            return Killing()

    assert run("ledger", "copy", store / "ledger.sqlite", url).code == 0
    monkeypatch.setenv("ATTENDANCE_LEDGER__URL", url)
    monkeypatch.setenv("ATTENDANCE_SEARCH__FOLLOW_S", "0.05")
    source = film(tmp_path / "film.avi", RED, GREEN, RED, GREEN)
    try:
        ran = live("--source", source, "--start", START, "--events", events, "--json", "-", make_app=KillingApp)
    finally:
        server.stop()
    assert (ran.code, ran.json["frames"], ran.json["not_recorded"]) == (1, 100, 2), ran.err
    assert [(event["kind"], event["identity_id"]) for event in lines(events)] == [
        ("punch", "red"), ("refused", "green"), ("refused", "red"), ("punch", "green"),
    ]  # fmt: skip
    assert ran.err.count("the ledger is away") == 1
    assert ran.err.count("the ledger is back") == 1


def test_a_kiosk_that_starts_while_the_ledger_is_away_recognises_from_its_last_mirror(
    run: Run, live: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "mongo")
    url = server.url("attendance", options="?serverSelectionTimeoutMS=300")
    try:
        assert run("ledger", "copy", store / "ledger.sqlite", url).code == 0
        monkeypatch.setenv("ATTENDANCE_LEDGER__URL", url)
        assert run("kiosks", "set", "hall", "decide.margin", "0.01").code == 0
        source = film(tmp_path / "film.avi", RED, GREEN)
        ran = live("--source", source, "--start", START, "--json", "-")
        assert (ran.code, ran.json["events"]["punch"]) == (0, 2), ran.err
        kept = store / "mirror" / "last.npz"
        assert (stat.S_IMODE(kept.parent.stat().st_mode), stat.S_IMODE(kept.stat().st_mode)) == (0o700, 0o600)
    finally:
        server.kill()
    long = film(tmp_path / "long.avi", RED, GREEN, RED)
    ran = live("--source", long, "--start", START, "--json", "-")
    assert (ran.code, ran.json["not_recorded"], ran.json["frames"]) == (1, 3, 75), ran.err
    assert "margin 0.010" in ran.err and "recognising from the mirror on disk" in ran.err
    assert [*ran.json["reasons"]] == ["not_recorded"]
    found = load_kept(store / "mirror")
    assert found is not None
    assert (set(found.people), found.people["red"].consent.by) == ({"red", "green"}, "")
    kept.write_bytes(kept.read_bytes()[:-50])
    ran = live("--source", long)
    assert (ran.code, ran.err.count("\n")) == (1, 1) and "delete it" in ran.err
    kept.unlink()
    ran = live("--source", long)
    assert (ran.code, ran.err.count("\n")) == (1, 1) and "cannot be reached" in ran.err


def test_a_kiosk_that_was_killed_plays_again_and_nobody_counts_twice_or_is_lost(
    run: Run, enrolled: Run, store: Path, tmp_path: Path
) -> None:
    """Two kiosks see red and green in another order; the first is killed once it has recorded red."""
    server = Server(tmp_path / "mongo")
    url = server.url("attendance")
    films = {"hall": film(tmp_path / "hall.avi", RED, GREEN, RED), "gate": film(tmp_path / "gate.avi", GREEN, RED)}
    events = {kiosk: tmp_path / f"{kiosk}.jsonl" for kiosk in films}

    def start(kiosk: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "ATTENDANCE_KIOSK__ID": kiosk, "ATTENDANCE_LEDGER__URL": url}
        command = [sys.executable, "-m", "tests.cli.unhurried", "--headless", "--quiet", "--source", films[kiosk],
                   "--start", START, "--store", tmp_path / kiosk, "--events", events[kiosk]]  # fmt: skip
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment)

    try:
        assert run("ledger", "copy", store / "ledger.sqlite", url).code == 0
        running = {kiosk: start(kiosk) for kiosk in films}
        begun = time.monotonic()
        while not (events["hall"].exists() and events["hall"].stat().st_size):
            assert running["hall"].poll() is None and time.monotonic() - begun < 60
            time.sleep(0.01)
        running["hall"].kill()
        assert running["hall"].wait() < 0
        running["hall"] = start("hall")
        assert [process.wait(timeout=60) for process in running.values()] == [0, 0]
        with MongoLedger(url, cooldown_s=300.0, time_zones={}) as ledger:
            punches, counted = ledger.punches(), ledger.attendance()
    finally:
        server.stop()
    # Red is seen first by hall at 0.4 s, green first by gate; all later sights of them lie within the cooldown.
    assert sorted(row.identity_id or "" for row in counted) == ["green", "red"]
    assert {(row.observed_at - punches[0].observed_at).total_seconds() for row in counted} == {0.0}
    written = [event for path in events.values() for event in lines(path)]
    assert {event["event_id"] for event in written} <= {punch.event_id for punch in punches}
    assert len({event["event_id"] for event in written}) == len(written) >= 6
