"""``realtime_attendance.py`` while templates change: it goes on, without a restart, each event by one model."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pytest

from attendance.cli.realtime import main
from attendance.config import Settings
from attendance.detect.port import Detector
from attendance.types import Face, RGBImage
from tests.building import BrightDetector, Site, colour_of
from tests.cli.test_realtime import film
from tests.swap.conftest import TINY, Run, SwapApp

CHANGE_AT = 30


class Turned(logging.Handler):
    """Told by the kiosk's log that it changed over."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "changed over" in record.getMessage():
            self.event.set()


class Interrupted(BrightDetector):
    """Puts other templates into force before a frame, and looks at it when the kiosk has changed over."""

    def __init__(self, site: Site, turned: Turned) -> None:
        self._site, self._turned, self.seen = site, turned, 0

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        self.seen += len(images)
        if self.seen == CHANGE_AT:
            with self._site.ledger() as ledger:
                assert ledger.put_in_force(TINY, expected="colours")
            assert self._turned.event.wait(20.0)
        return super().detect(images)


def test_a_switch_is_taken_up_while_it_runs(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("models", "swap", TINY, "--photos", site.people, "--prepare").code == 0
    monkeypatch.setenv("ATTENDANCE_SEARCH__FOLLOW_S", "0.1")
    turned = Turned()
    logger = logging.getLogger("attendance.swap.turning")
    logger.addHandler(turned)

    class KioskApp(SwapApp):
        @cached_property
        def detector(self) -> Detector:
            return Interrupted(site, turned)

    def make_app(settings: Settings) -> KioskApp:
        return KioskApp(settings)

    events, summary = tmp_path / "events.jsonl", tmp_path / "summary.json"
    source = film(tmp_path / "film.avi", colour_of(0), colour_of(1), colour_of(2))
    flags = ["--source", source, "--store", site.store, "--events", events, "--json", summary]
    try:
        code = main([*map(str, flags), "--headless"], make_app=make_app)
    finally:
        logger.removeHandler(turned)
    rows = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
    ended = json.loads(summary.read_text("utf-8"))
    assert (code, ended["frames"], ended["model"]) == (0, 75, TINY)
    # Whoever was in view at the change is seen by both, each by its own.
    assert [(row["kind"], row["identity_id"], row["model"]) for row in rows] == [
        ("punch", "ann-1", "colours"), ("punch", "bob-2", "colours"),
        ("repeat", "bob-2", TINY), ("punch", "cem-3", TINY),
    ]  # fmt: skip
