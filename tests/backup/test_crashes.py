"""Backups and restores that are killed, interrupted or raced: nothing half done is ever taken for whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attendance.backup.keys import Keys, make_key, read_key_file
from attendance.backup.reading import read_backup
from attendance.backup.restoring import restore_file, restore_server
from attendance.backup.snapshot import copy_file, copy_server, counts_of
from attendance.backup.writing import Contents, write_backup
from attendance.errors import BackupError, LedgerError, LockHeldError
from attendance.ledger.port import Ledger
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Person
from tests.fakes import BLUE, GREEN, RED, person
from tests.ledger.writer import punch

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def opened(path: Path) -> SqliteLedger:
    return SqliteLedger(path, cooldown_s=300.0, time_zones={})


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    make_key(tmp_path / "key")
    return read_key_file(tmp_path / "key")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with opened(tmp_path / "store" / "ledger.sqlite") as ledger:
        for each in (person("red", RED), person("green", GREEN), person("blue", BLUE)):
            ledger.insert_person(each)
        for number in range(50):
            ledger.record(punch(number))
    return tmp_path / "store"


def contents(store: Path) -> Contents:
    return Contents(lambda target: copy_file(store / "ledger.sqlite", target), "sqlite", "m", "", store / "models")


@pytest.fixture
def copy(tmp_path: Path, store: Path, keys: Keys) -> Path:
    write_backup(tmp_path / "copy.age", contents(store), keys=keys, store=store, now=NOW)
    return tmp_path / "copy.age"


KILLED = """
import os, signal, sys
from pathlib import Path
from attendance.backup import archive, keys, restoring, writing
from attendance.backup.archive import Stream
from tests.backup.test_crashes import NOW, contents

store, target, key, moment = Path(sys.argv[1]), Path(sys.argv[2]), keys.read_key_file(Path(sys.argv[3])), sys.argv[4]

class Dying(keys.Keys):
    def encrypt(self, source, target):
        def half():
            yield source.read(20_000)
            target.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        key.encrypt(Stream(half()), target)

    def decrypt(self, source, target):
        key.decrypt(source, target)
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)

dying = Dying(recipients=key.recipients, identities=key.identities)
if moment == "backup":
    writing.write_backup(target, contents(store), keys=dying, store=store, now=NOW)
else:
    restoring.restore_file(target, keys=dying, store=store)
"""


def killed(*arguments: object) -> None:
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_backup_is_no_backup_and_the_next_clears_up(tmp_path: Path, store: Path, keys: Keys) -> None:
    target = tmp_path / "copy.age"
    killed(store, target, tmp_path / "key", "backup")
    assert not target.exists()
    left = [file for file in (*tmp_path.iterdir(), *store.iterdir()) if "part" in file.name]
    assert {file.name for file in left} == {".copy.age.part", "backup.part"}
    written = write_backup(target, contents(store), keys=keys, store=store, now=NOW)
    assert (written.manifest.people, written.manifest.punches, written.verified) == (3, 50, True)
    assert not any(file.exists() for file in left)
    assert read_backup(target, keys) == written.manifest


def test_a_killed_restore_leaves_the_store_empty_and_the_next_one_finishes(
    tmp_path: Path, store: Path, keys: Keys, copy: Path
) -> None:
    back = tmp_path / "back"
    killed(back, copy, tmp_path / "key", "restore")
    assert not list(back.glob("ledger*"))
    restore_file(copy, keys=keys, store=back)
    assert not (back / "restore.part").exists()
    with opened(back / "ledger.sqlite") as one, opened(store / "ledger.sqlite") as other:
        assert one.digest("punches") == other.digest("punches")
        assert one.digest("attendance") == other.digest("attendance")


class Failing(SqliteLedger):
    """A server that goes away after it took the people, for which a file stands in."""

    def import_people(self, people: Sequence[Person]) -> int:
        super().import_people(people)
        raise LedgerError("away")


def test_a_restore_into_a_server_goes_on_where_it_was(tmp_path: Path, store: Path, keys: Keys, copy: Path) -> None:
    server, here = tmp_path / "server.sqlite", tmp_path / "here"

    def restore(backup: Path, target: Ledger, place: str = "one") -> int:
        with target:
            _, copied = restore_server(
                backup, keys=keys, store=here, open_file=opened, server=target, place=place
            )  # fmt: skip
            return copied.people + copied.punches

    def fail() -> None:
        restore(copy, Failing(server, cooldown_s=300.0, time_zones={}))

    with pytest.raises(LedgerError, match="away"):
        fail()
    other = tmp_path / "other.age"
    write_backup(other, contents(store), keys=keys, store=store, now=datetime(2026, 3, 2, tzinfo=UTC))
    for backup, place in ((other, "one"), (copy, "two")):
        with pytest.raises(BackupError, match="an empty database, got one with people"):
            restore(backup, opened(server), place)
    assert restore(copy, opened(server)) == 53
    assert sorted(file.name for file in here.iterdir()) == ["backup.lock", "restored-configuration.yaml"]
    with pytest.raises(BackupError, match="an empty database"):
        restore(copy, opened(server))


def test_two_at_once_take_turns(tmp_path: Path, store: Path, keys: Keys) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slowly(target: Path) -> None:
        copy_file(store / "ledger.sqlite", target)
        inside.set()
        assert go_on.wait(30)

    slow = Contents(slowly, "sqlite", "m", "", None)
    first = threading.Thread(
        target=lambda: write_backup(tmp_path / "one.age", slow, keys=keys, store=store, now=NOW)
    )  # fmt: skip
    first.start()
    assert inside.wait(30)
    with pytest.raises(LockHeldError, match="another backup or restore is at work"):
        write_backup(tmp_path / "two.age", contents(store), keys=keys, store=store, now=NOW)
    go_on.set()
    first.join()
    assert [file.name for file in tmp_path.glob("*.age")] == ["one.age"]


@pytest.mark.parametrize("way", ["file", "server"])
def test_what_was_stored_before_is_in_it_while_others_write(tmp_path: Path, store: Path, way: str) -> None:
    """Punches that come meanwhile are in the copy or not, each whole, and all that were acknowledged before are."""
    target, stop, stored = tmp_path / "copy.sqlite", threading.Event(), [49]

    def write() -> None:
        with opened(store / "ledger.sqlite") as ledger:
            while not stop.is_set():
                number = stored[0] + 1
                ledger.record(punch(number))
                stored[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while stored[0] < 60:
            stop.wait(0.01)
        for _ in range(3):
            target.unlink(missing_ok=True)
            before = stored[0] + 1
            if way == "file":
                copy_file(store / "ledger.sqlite", target)
            else:
                with opened(store / "ledger.sqlite") as source:
                    copy_server(source, target, opened)
            held = counts_of(target)
            assert before <= held.punches <= stored[0] + 2
            with opened(target) as ledger:
                numbers = {each.journal_counter for each in ledger.punches()}
                assert numbers >= set(range(before))
                assert len(ledger.attendance()) == held.attendance
    finally:
        stop.set()
        writer.join()


def test_a_damaged_ledger_is_not_backed_up(tmp_path: Path, store: Path, keys: Keys) -> None:
    path = store / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:16384] = os.urandom(8192)
    path.write_bytes(data)
    with pytest.raises(LedgerError) as caught:
        write_backup(tmp_path / "copy.age", contents(store), keys=keys, store=store, now=NOW)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*copy*"))
