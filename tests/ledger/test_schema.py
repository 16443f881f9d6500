"""Schema versions: a released one never changes, an older file moves up whole, a newer one is refused."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import SchemaError
from attendance.ledger import connection, schema
from attendance.ledger.registry import Register, Registered
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Punch

NOW = datetime(2026, 2, 1, tzinfo=UTC)
VERSION_1 = Path(__file__).with_name("schema_1.sql")
ADDED = (*schema.MIGRATIONS, ("ALTER TABLE people ADD COLUMN badge TEXT NOT NULL DEFAULT ''",))
BROKEN = (*ADDED, ("CREATE TABLE more (a TEXT)", "CREATE TABLE people (a TEXT)"))


def version_1(path: Path) -> Path:
    """A file of schema version 1 with two people, as the first release wrote it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1.read_text("utf-8"))
    return path


def upgraded(path: Path, migrations: schema.Migrations) -> int:
    with closing(connection.connect(path, busy_timeout_s=1.0)) as db:
        return schema.upgrade(db, path, now=NOW, migrations=migrations)


def versions(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT version FROM schema ORDER BY version")]


def test_a_file_of_version_1_opens(sqlite_path: Path) -> None:
    with SqliteLedger(version_1(sqlite_path), cooldown_s=300.0, time_zones={}) as ledger:
        first, second = ledger.people()
        assert (first.identity_id, first.name, first.active_to) == ("person-01", "Name é", date(2026, 12, 31))
        assert first.templates[0].vector.tolist() == [0.5, -0.25, 1.0, 3.0]
        assert second.templates == ()
        assert [punch.event_id for punch in ledger.punches()] == ["event-1", "event-2", "event-3"]
        assert [(row.event_id, row.identity_id) for row in ledger.attendance()] == [
            ("event-1", "person-01"),
            ("event-3", None),
        ]
        assert ledger.template_revision().revision == 1


@pytest.mark.parametrize(("version", "sha256"), [
    (1, "b544a2362839cd74d36f6e9affbfebd68a8c4da215f43dc7f58169070df109aa"),
    (2, "6d1d575206071aa378865f1ac4df7bd799e0fc1fa73b4391ba6626bce7c66983"),
    (3, "2f0e816e3cc82ca65ca670b3c6936d694b9ba85205c384594b68f2ae9992c1d0"),
    (4, "178c5b0705832ecda4a109116cadf1d150ebf5ebc96a86d95a1fb08f6e7eb2fd"),
])  # fmt: skip
def test_a_version_stays_as_it_was_released(version: int, sha256: str) -> None:
    assert hashlib.sha256("\n".join(schema.MIGRATIONS[version - 1]).encode()).hexdigest() == sha256


def test_version_2_makes_room_for_the_registry_and_forgets_no_rule(
    sqlite_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SqliteLedger(version_1(sqlite_path), cooldown_s=300.0, time_zones={}) as ledger:
        assert ledger.zones() == {"main": "Europe/Berlin"}
        assert [ledger.registered(register) for register in Register] == [[], [], []]
        assert ledger.put_registered(Register.SITES, Registered("main", 1, {"time_zone": "Europe/Berlin"}))
        assert [row.rules for row in ledger.attendance()] == ["v1 cooldown=300 zone=Europe/Berlin"] * 2
    assert versions(sqlite_path) == [1, 2, 3, 4]
    assert versions(sqlite_path.with_name("ledger.sqlite.before-v4")) == [1]
    assert "counted anew" not in caplog.text


def test_version_3_lets_one_photo_have_templates_of_two_models(sqlite_path: Path) -> None:
    with SqliteLedger(version_1(sqlite_path), cooldown_s=300.0, time_zones={}) as ledger:
        first, _ = ledger.people()
        mine = first.templates[0]
        assert ledger.put_in_force(mine.card_id, expected="")
        other = replace(mine, card_id="other", vector=np.array([1.0, 0.0], np.float32))
        assert ledger.replace_person(replace(first, version=first.version + 1, shelved=(other,)))
        found = ledger.people()[0]
        assert [t.card_id for t in found.templates] == [mine.card_id]
        assert [(t.template_id, t.vector.tolist()) for t in found.shelved] == [(mine.template_id, [1.0, 0.0])]


def test_an_older_file_moves_up_and_leaves_a_copy(sqlite_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    version_1(sqlite_path)
    with caplog.at_level(logging.WARNING):
        assert upgraded(sqlite_path, ADDED) == 1
    copy = sqlite_path.with_name("ledger.sqlite.before-v5")
    assert (versions(sqlite_path), versions(copy)) == ([1, 2, 3, 4, 5], [1])
    assert str(copy) in caplog.text
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(sqlite_path)) as db:
        assert db.execute("SELECT identity_id, badge FROM people").fetchall() == [("person-01", ""), ("person-02", "")]
    assert upgraded(sqlite_path, ADDED) == 5


def test_a_new_file_takes_every_step_and_leaves_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    assert upgraded(path, ADDED) == 0
    assert versions(path) == [1, 2, 3, 4, 5]
    assert [file.name for file in tmp_path.iterdir()] == ["new.sqlite"]


def test_a_step_that_fails_leaves_the_older_version_whole(sqlite_path: Path) -> None:
    version_1(sqlite_path)
    with pytest.raises(sqlite3.OperationalError):
        upgraded(sqlite_path, BROKEN)
    assert versions(sqlite_path) == [1]
    with SqliteLedger(sqlite_path, cooldown_s=300.0, time_zones={}) as ledger:
        assert len(ledger.people()) == 2


def test_a_newer_file_is_refused_and_left_alone(sqlite_path: Path, make_punch: Callable[..., Punch]) -> None:
    version_1(sqlite_path)
    upgraded(sqlite_path, ADDED)
    content = sqlite_path.read_bytes()
    with pytest.raises(SchemaError, match=r"version 4 or lower, got 5: .*install that release") as caught:
        SqliteLedger(sqlite_path, cooldown_s=300.0, time_zones={})
    assert "\n" not in str(caught.value)
    assert sqlite_path.read_bytes() == content
