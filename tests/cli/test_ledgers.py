"""``ledger copy|rebuild`` as a user runs them, wrong use included."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attendance.cli.main import main
from attendance.ledger.port import Setting
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Consent, Person

WHEN = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with SqliteLedger(tmp_path / "store" / "ledger.sqlite", cooldown_s=300.0, time_zones={}) as ledger:
        consent = Consent(policy="attested", version="1", at=WHEN, by="operator")
        ledger.insert_person(Person("person-01", "ref-01", version=1, created_at=WHEN, consent=consent))
        ledger.put_setting(Setting("key", 1, {"n": 1}))
    return tmp_path / "store"


def test_copy_says_what_it_copied(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = store.parent / "copy.sqlite"
    assert main(["ledger", "copy", str(store / "ledger.sqlite"), str(target), "--json", "-", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["people"], said["punches"], said["settings"], said["written"]) == (1, 0, 1, 2)
    with SqliteLedger(target, cooldown_s=300.0, time_zones={}) as ledger:
        assert [person.identity_id for person in ledger.people()] == ["person-01"]


def test_rebuild_counts_the_rows(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "rebuild", "--store", str(store), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == {"attendance": 0}


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("missing.sqlite", "b.sqlite", "FROM must be a ledger that exists"),
        ("mongodb://someone:hidden@host/db", "b.sqlite", "@FILE"),
        ("@missing", "b.sqlite", "ledger.url_file"),
        ("a.sqlite", "a.sqlite", "the same twice"),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    source: str,
    target: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sqlite").touch()
    assert main(["ledger", "copy", source, target]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "hidden" not in error
    assert not (tmp_path / "b.sqlite").exists()
