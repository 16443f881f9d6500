"""Commands run in this process as a user types them, with networks that need no weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from attendance.app import App
from attendance.cli.main import main
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Direction, Punch
from tests.building import FakeApp, Site, colour_of, photo
from tests.fakes import MORNING, person

RED, GREEN, BLUE = (colour_of(number) for number in (0, 1, 2))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left: exit code, both outputs."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


Run = Callable[..., Ran]


def exit_code_of(command: Callable[[], int]) -> int:
    """What the process would end with."""
    try:
        return command()
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def run(store: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``python -m attendance WORDS... --store STORE``."""

    def call(*words: object, make_app: Callable[..., App] = FakeApp, with_store: bool = True) -> Ran:
        flags = ["--store", str(store)] if with_store else []
        capsys.readouterr()
        code = exit_code_of(lambda: main([*map(str, words), *flags], make_app=make_app))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return call


@pytest.fixture(scope="session")
def red_and_green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``store``, in which red and green are enrolled from ``red.png`` and ``green.png`` beside it."""
    folder = tmp_path_factory.mktemp("enrolled")
    for name, colour in (("red", RED), ("green", GREEN)):
        words = ["enrol", name, str(photo(folder / f"{name}.png", colour)), "--store", str(folder / "store"), "--quiet"]
        assert exit_code_of(lambda words=words: main(words, make_app=FakeApp)) == 0  # type: ignore[misc]
    return folder


@pytest.fixture
def enrolled(run: Run, red_and_green: Path, store: Path, tmp_path: Path) -> Run:
    """The same, with red and green enrolled from a photo each: a copy, since enrolling takes longer than most tests."""
    shutil.copytree(red_and_green, tmp_path, dirs_exist_ok=True)
    assert store.is_dir()
    return run


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two people with two photos each."""
    site = Site(tmp_path)
    for name, colour in (("p1/a.png", RED), ("p1/b.png", RED), ("p2/a.png", GREEN), ("p2/b.png", GREEN)):
        site.photo(name, colour)
    return site


def open_ledger(store: Path, *, zone: str = "UTC") -> SqliteLedger:
    """The store's ledger, as a test fills it."""
    return SqliteLedger(store / "ledger.sqlite", cooldown_s=300.0, time_zones={"main": ZoneInfo(zone)})


def insert_people(store: Path, *identity_ids: str, **details: Any) -> None:
    """People without templates."""
    from dataclasses import replace

    with open_ledger(store) as ledger:
        for identity_id in identity_ids:
            assert ledger.insert_person(replace(person(identity_id), **details))


def punch(ledger: SqliteLedger, number: int, who: str, seconds: float, *, site: str = "main") -> None:
    """One punch of somebody, so many seconds into the morning."""
    when = MORNING + timedelta(seconds=seconds)
    ledger.record(
        Punch(
            event_id=f"event-{number:03d}", subject_ref=f"ref-{who}", journal_id="journal", journal_counter=number,
            observed_at=when, recorded_at=when, site=site, camera_id="camera-1", direction=Direction.IN, method="face",
            similarity=0.99, runner_up_ref=None, runner_up_similarity=None, margin=None, threshold=0.95,
            card_id="colours", template_revision=1, track_id=1,
        )
    )  # fmt: skip
