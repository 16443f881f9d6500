"""What is special to the SQLite file: its modes, its durability settings, damage, full disks, and forgetting."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from attendance.errors import LedgerError, LedgerUnavailableError
from attendance.ledger import rows, schema
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import Person, Punch

ROOT = Path(__file__).parents[2]
MakePerson = Callable[..., Person]
MakePunch = Callable[..., Punch]


def opened(path: Path, **options: float) -> SqliteLedger:
    return SqliteLedger(path, cooldown_s=300.0, time_zones={}, **options)


class SmallDisk(SqliteLedger):
    """A ledger whose file cannot grow beyond what it has at ``fill``, as on a full disk."""

    def _connect(self) -> sqlite3.Connection:
        self.last_connection = super()._connect()
        if not hasattr(self, "first_connection"):
            self.first_connection = self.last_connection
        return self.last_connection

    def fill(self) -> None:
        pages = self.first_connection.execute("PRAGMA page_count").fetchone()[0]
        self.first_connection.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        self.first_connection.execute("PRAGMA max_page_count = 1000000")


def test_a_new_file_and_folder_are_for_their_owner_alone(sqlite_path: Path, make_punch: MakePunch) -> None:
    with opened(sqlite_path) as ledger:
        ledger.record(make_punch(1))
        assert stat.S_IMODE(sqlite_path.parent.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in sqlite_path.parent.iterdir()}
    assert modes["ledger.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    opened(folder / "ledger.sqlite").close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_every_commit_reaches_the_disk(sqlite_path: Path) -> None:
    with SmallDisk(sqlite_path, cooldown_s=300.0, time_zones={}) as ledger:
        for db in (ledger.first_connection, ledger.last_connection):
            asked = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
            assert asked == ["wal", 2]
            assert [db.execute(f"PRAGMA {n}").fetchone()[0] for n in ("foreign_keys", "secure_delete")] == [1, 1]
    with closing(sqlite3.connect(sqlite_path)) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"ATTD", "big")


def test_columns_named_in_the_code_are_those_of_the_file(sqlite_path: Path) -> None:
    opened(sqlite_path).close()
    named = {
        "people": rows.PERSON,
        "templates": rows.TEMPLATE,
        "punches": rows.PUNCH,
        "attendance": rows.ATTENDANCE,
    }
    with closing(sqlite3.connect(sqlite_path)) as db:
        for table, columns in named.items():
            there = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            assert sorted(columns.replace(",", " ").split()) == sorted(there)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 FROM punches WHERE subject_ref = '' AND site = '' AND direction = '' AND observed_at > ''",
        "SELECT 1 FROM punches WHERE observed_at >= '' AND observed_at < ''",
        "SELECT 1 FROM punches WHERE site = '' AND observed_at >= ''",
        "SELECT 1 FROM punches WHERE camera_id = '' AND observed_at >= ''",
        "SELECT 1 FROM attendance WHERE observed_at >= '' AND observed_at < ''",
        "SELECT 1 FROM attendance WHERE local_day >= '' AND local_day <= ''",
        "SELECT 1 FROM attendance WHERE identity_id = '' AND local_day >= ''",
        "SELECT 1 FROM attendance WHERE site = '' AND observed_at >= ''",
        "SELECT 1 FROM attendance WHERE camera_id = '' AND observed_at >= ''",
        "SELECT 1 FROM people WHERE subject_ref = ''",
        "SELECT 1 FROM templates WHERE identity_id = ''",
    ],
)
def test_each_kind_of_question_has_its_index(sqlite_path: Path, query: str) -> None:
    opened(sqlite_path).close()
    with closing(sqlite3.connect(sqlite_path)) as db:
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "USING" in plan and "INDEX" in plan and "SCAN" not in plan


@pytest.mark.parametrize("content", [b"this is a text file, not a database\n" * 100, os.urandom(8192), b"short"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="must be an undamaged SQLite file") as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE people (name TEXT)")
    content = path.read_bytes()
    with pytest.raises(LedgerError, match="another program's database"):
        opened(path)
    assert path.read_bytes() == content


def test_a_folder_or_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "ledger.sqlite"):
        with pytest.raises(LedgerUnavailableError) as caught:
            opened(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_file_is_an_error_in_one_line(sqlite_path: Path, make_punch: MakePunch) -> None:
    with opened(sqlite_path) as ledger:
        for number in range(300):
            ledger.record(make_punch(number, 400.0 * number))
    whole = sqlite_path.read_bytes()
    sqlite_path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    damaged = sqlite_path.read_bytes()
    with pytest.raises(LedgerError, match="restore a backup") as caught, opened(sqlite_path) as ledger:
        ledger.punches()
    assert "\n" not in str(caught.value)
    assert sqlite_path.read_bytes() == damaged


def test_a_full_disk_refuses_and_loses_nothing(
    sqlite_path: Path, make_punch: MakePunch, make_person: MakePerson
) -> None:
    with SmallDisk(sqlite_path, cooldown_s=300.0, time_zones={}) as ledger:
        ledger.record(make_punch(0))
        ledger.fill()
        with pytest.raises(LedgerUnavailableError, match="full") as caught:
            ledger.insert_person(make_person(1, templates=200))
        assert "\n" not in str(caught.value)
        recorded = recorded_until_full(ledger, make_punch)
        assert len(recorded) < 500
        assert ledger.people() == []
        assert [punch.journal_counter for punch in ledger.punches()] == [0, *recorded]
        assert len(ledger.attendance()) == 1 + len(recorded)
        ledger.make_room()
        assert ledger.record(make_punch(len(recorded) + 1, 1e6)).inserted


def recorded_until_full(ledger: SqliteLedger, make_punch: MakePunch) -> list[int]:
    """Numbers of the punches that were acknowledged before the first that was refused, 500 at most."""
    recorded: list[int] = []
    for number in range(1, 501):
        try:
            ledger.record(make_punch(number, 400.0 * number))
        except LedgerUnavailableError:
            break
        recorded.append(number)
    return recorded


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from writer import punch
from attendance.errors import LedgerUnavailableError
from attendance.ledger.sqlite import SqliteLedger
with SqliteLedger(Path(sys.argv[1]), cooldown_s=300.0, time_zones={}) as ledger:
    ledger.record(punch(0))
    size = int(sys.argv[2])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    stored = 1
    try:
        for number in range(1, 2000):
            ledger.record(punch(number))
            stored += 1
    except LedgerUnavailableError as error:
        print(stored, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ledger.record(punch(5000)).inserted
"""


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_a_write_that_the_system_refuses_loses_nothing(sqlite_path: Path) -> None:
    done = run(LIMITED, sqlite_path, 600_000, Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    stored, message = done.stdout.split(maxsplit=1)
    assert "not available" in message and message.count("\n") == 1
    with opened(sqlite_path) as ledger:
        assert len(ledger.punches()) == int(stored) + 1


READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from writer import punch
from attendance.errors import LedgerUnavailableError
from attendance.ledger.sqlite import SqliteLedger
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with SqliteLedger(Path(sys.argv[1]), cooldown_s=300.0, time_zones={}) as ledger:
        ledger.record(punch(1))
except LedgerUnavailableError as error:
    print(error)
"""


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o555), (0o000, 0o755), (0o666, 0o555)])
def test_a_ledger_that_may_not_be_written_is_an_error_in_one_line(
    make_punch: MakePunch, file_mode: int, folder_mode: int
) -> None:
    # Not under tmp_path: its parents are closed to the user whom the process becomes when root runs the tests.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.sqlite"
        with opened(path) as ledger:
            ledger.record(make_punch(1))
        path.chmod(file_mode)
        Path(name).chmod(folder_mode)
        done = run(READ_ONLY, path, Path(__file__).parent)
        Path(name).chmod(0o700)
        path.chmod(0o600)
        assert done.returncode == 0, done.stderr
        assert str(path) in done.stdout and done.stdout.count("\n") == 1
        with opened(path) as ledger:
            assert len(ledger.punches()) == 1


def test_a_locked_ledger_is_an_error_after_the_busy_timeout(sqlite_path: Path, make_punch: MakePunch) -> None:
    with opened(sqlite_path, busy_timeout_s=0.1) as ledger, closing(sqlite3.connect(sqlite_path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError, match="another process keeps it locked"):
            ledger.record(make_punch(1))
        assert ledger.punches() == []
        other.execute("ROLLBACK")
        assert ledger.record(make_punch(1)).inserted


def test_a_value_that_is_no_number_is_refused(sqlite_path: Path, make_punch: MakePunch) -> None:
    with opened(sqlite_path) as ledger:
        for changes in ({"similarity": float("nan")}, {"track_id": 2**80}):
            with pytest.raises(LedgerError):
                ledger.record(make_punch(1, **changes))
        assert ledger.punches() == []


def test_a_removed_persons_vectors_are_in_no_file(sqlite_path: Path, make_person: MakePerson) -> None:
    person = make_person(1, templates=40, name="a name to forget")
    traces = [template.vector.tobytes()[:64] for template in person.templates] + [b"a name to forget"]
    with opened(sqlite_path) as ledger:
        ledger.insert_person(person)
        ledger.insert_person(make_person(2, templates=1))
        assert any(traces[0] in file.read_bytes() for file in sqlite_path.parent.iterdir())
        ledger.remove_person("person-01", version=1)
        for file in sqlite_path.parent.iterdir():
            content = file.read_bytes()
            assert not [trace for trace in traces if trace in content], file.name
        assert [p.identity_id for p in ledger.people()] == ["person-02"]


def test_the_application_id_reads_attd() -> None:
    assert schema.APPLICATION_ID.to_bytes(4, "big") == b"ATTD"
