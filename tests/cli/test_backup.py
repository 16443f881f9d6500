"""`backup` and `restore` as an operator types them: there and back, and every way in which it must not be done."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from attendance.backup.keys import read_key_file
from attendance.backup.reading import read_backup
from attendance.config import Settings
from tests.cli.conftest import BLUE, GREEN, RED, Run, open_ledger, punch
from tests.fakes import person
from tests.ledger.server import fresh_database, stop_shared_server
from tests.ledger.test_schema import version_1

KEY = "ATTENDANCE_BACKUP__KEY_FILE"
REPORTS = [("--by", by, "--format", form) for by in ("punch", "day", "person") for form in ("csv", "json")]
NOBODY = 65534

Reports = Callable[..., list[str]]


@pytest.fixture(scope="module", autouse=True)
def _stopped_at_the_end() -> Iterator[None]:
    yield
    stop_shared_server()


@pytest.fixture
def key(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key of ours, configured by the environment."""
    path = tmp_path / "backup.key"
    made = run("backup", "--make-key", path)
    assert made.code == 0, made.err
    monkeypatch.setenv(KEY, str(path))
    return path


@pytest.fixture
def filled(store: Path) -> Path:
    """A store with three people, one of them deactivated and one of them gone, and their punches."""
    with open_ledger(store) as ledger:
        for each in (person("red", RED, name="Rot é"), person("green", GREEN), person("blue", BLUE, RED)):
            assert ledger.insert_person(each)
        for number in range(200):
            punch(ledger, number, ("red", "green", "blue")[number % 3], 97.0 * number)
        assert ledger.remove_person("blue", version=1)
    return store


@pytest.fixture
def reports(run: Run) -> Reports:
    """Every report of a store, byte by byte."""

    def ask(store: Path, *flags: object) -> list[str]:
        made = [run("report", *words, "--store", store, *flags, with_store=False) for words in REPORTS]
        assert [each.code for each in made] == [0] * len(made), made[0].err
        return [each.out for each in made]

    return ask


def on_server(tmp_path: Path, url: str) -> tuple[str, Path]:
    """The flags that put the ledger on a server."""
    path = tmp_path / "server.yaml"
    path.write_text(yaml.safe_dump({"ledger": {"url": url}}), encoding="utf-8")
    return "--config", path


def test_there_and_back_every_report_is_the_same(
    run: Run, filled: Path, key: Path, tmp_path: Path, reports: Reports
) -> None:
    model = filled / "models" / "own"
    model.mkdir(parents=True)
    (model / "card.yaml").write_text("id: own\n", encoding="utf-8")
    (model / "weights.onnx").write_bytes(os.urandom(300_000))
    (filled / "models" / "made-again").mkdir()
    (filled / "models" / "made-again" / "weights.safetensors").write_bytes(b"x")
    (filled / "secrets").mkdir()
    (filled / "secrets" / "kiosk.key").write_text("AGE-SECRET-KEY-1OTHER", encoding="utf-8")
    copy, back = tmp_path / "copy.age", tmp_path / "back"
    made = run("backup", copy, "--json", "-")
    assert made.code == 0, made.err
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    told = made.json
    assert (told["people"], told["templates"], told["punches"], told["kind"]) == (2, 2, 200, "sqlite")
    assert (told["models"], told["verified"], told["bytes"]) == (["own"], True, copy.stat().st_size)

    checked = run("restore", copy, "--check", "--store", back, "--json", "-", with_store=False)
    assert (checked.code, checked.json["restored"], back.exists()) == (0, False, False)
    restored = run("restore", copy, "--store", back, "--json", "-", with_store=False)
    assert restored.code == 0, restored.err
    assert (restored.json["gallery_templates"], restored.json["gallery_fault"]) == (2, None)
    assert reports(back) == reports(filled)
    assert run("gallery", "verify", "--store", back, with_store=False).code == 0
    assert (back / "models" / "own" / "weights.onnx").read_bytes() == (model / "weights.onnx").read_bytes()
    found = {str(file.relative_to(back)) for file in back.rglob("*") if file.is_file()}
    assert not [name for name in found if "secrets" in name or "made-again" in name or "part" in name]
    assert {stat.S_IMODE(file.stat().st_mode) for file in back.iterdir() if file.is_file()} == {0o600}


def test_it_names_the_model_in_force_and_not_the_configured_one(
    run: Run, filled: Path, key: Path, tmp_path: Path
) -> None:
    assert run("backup", tmp_path / "never-noted.age", "--json", "-").json["model"] == Settings().model.id
    with open_ledger(filled) as ledger:
        assert ledger.put_in_force("colours@0123456789abcdef", expected="")
    assert run("backup", tmp_path / "noted.age", "--json", "-").json["model"] == "colours"
    assert read_backup(tmp_path / "noted.age", read_key_file(key)).model == "colours"


def test_it_holds_what_is_listed_and_no_secret(run: Run, filled: Path, key: Path, tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text("cameras:\n  - {id: c, source: 'rtsp://admin:hidden@10.0.0.5/s'}\n", encoding="utf-8")
    assert run("backup", tmp_path / "copy.age", "--config", config).code == 0
    folder = tmp_path / "content"
    manifest = read_backup(tmp_path / "copy.age", read_key_file(key), folder)
    assert [entry.path for entry in manifest.files] == ["ledger.sqlite", "configuration.yaml"]
    kept = yaml.safe_load((folder / "configuration.yaml").read_text("utf-8"))
    assert kept["cameras"][0]["id"] == "c"
    assert "hidden" not in str(kept)
    assert b"red" not in (tmp_path / "copy.age").read_bytes()


def test_a_file_goes_to_a_server_and_back(run: Run, filled: Path, key: Path, tmp_path: Path, reports: Reports) -> None:
    server = on_server(tmp_path, fresh_database(tmp_path))
    there, back = tmp_path / "there", tmp_path / "back"
    before = reports(filled)
    first, second = tmp_path / "first.age", tmp_path / "second.age"
    assert run("backup", first).code == 0
    restored = run("restore", first, *server, "--store", there, with_store=False)
    assert restored.code == 0, restored.err
    assert reports(there, *server) == before
    again = run("restore", first, *server, "--store", there, with_store=False)
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert "an empty database, got one with people" in again.err
    made = run("backup", second, *server, "--store", there, "--json", "-", with_store=False)
    assert made.code == 0, made.err
    assert made.json["kind"] == "mongodb"
    restored = run("restore", second, "--store", back, with_store=False)
    assert restored.code == 0, restored.err
    assert reports(back) == before


def test_a_backup_of_schema_version_1_restores(run: Run, key: Path, tmp_path: Path) -> None:
    old, back = tmp_path / "old", tmp_path / "back"
    version_1(old / "ledger.sqlite")
    made = run("backup", tmp_path / "old.age", "--store", old, "--json", "-", with_store=False)
    assert (made.code, made.json["schema"]) == (0, 1), made.err
    restored = run("restore", tmp_path / "old.age", "--store", back, with_store=False)
    # The fixture's templates are of a model that is not ours: all but the gallery is back.
    assert (restored.code, restored.err.count("\n")) == (1, 1)
    assert "everything is restored but the gallery" in restored.err
    with open_ledger(back) as ledger:
        assert [each.identity_id for each in ledger.people()] == ["person-01", "person-02"]
        assert len(ledger.punches()) == 3
    assert not list(back.glob("*before*"))


def test_without_a_key_nothing_is_written(run: Run, filled: Path, tmp_path: Path) -> None:
    made = run("backup", tmp_path / "copy.age")
    assert (made.code, made.err.count("\n")) == (2, 1)
    assert "there is no default key" in made.err
    assert not (tmp_path / "copy.age").exists()


def test_a_key_is_never_overwritten_and_is_the_owners(run: Run, key: Path) -> None:
    content = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = run("backup", "--make-key", key)
    assert (again.code, again.err.count("\n"), key.read_bytes()) == (2, 1, content)


def test_a_public_key_backs_up_and_does_not_restore(
    run: Run, filled: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = tmp_path / "public"
    public.write_text(key.read_text("ascii").splitlines()[0].removeprefix("# public key: "), encoding="ascii")
    monkeypatch.setenv(KEY, str(public))
    made = run("backup", tmp_path / "copy.age", "--json", "-")
    assert (made.code, made.json["verified"]) == (0, False), made.err
    refused = run("restore", tmp_path / "copy.age", "--check")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "private key" in refused.err
    monkeypatch.setenv(KEY, str(key))
    assert run("restore", tmp_path / "copy.age", "--check").code == 0


def test_what_is_there_is_never_overwritten(run: Run, filled: Path, key: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.age"
    assert run("backup", copy).code == 0
    content = copy.read_bytes()
    for target, told in ((copy, "is there already"), (tmp_path, "got the folder"), (tmp_path / "no" / "f", "make it")):
        refused = run("backup", target)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert told in refused.err
    assert copy.read_bytes() == content
    with open_ledger(filled) as ledger:
        before = ledger.digest("punches")
    refused = run("restore", copy)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "a store without a ledger" in refused.err
    with open_ledger(filled) as ledger:
        assert ledger.digest("punches") == before


def test_a_log_left_behind_is_not_mixed_with_a_restored_ledger(
    run: Run, filled: Path, key: Path, tmp_path: Path
) -> None:
    assert run("backup", tmp_path / "copy.age").code == 0
    back = tmp_path / "back"
    back.mkdir()
    (back / "ledger.sqlite-wal").write_bytes(b"old")
    refused = run("restore", tmp_path / "copy.age", "--store", back, with_store=False)
    assert (refused.code, "ledger.sqlite-wal" in refused.err) == (1, True)


def test_another_model_of_the_same_name_stays(run: Run, filled: Path, key: Path, tmp_path: Path) -> None:
    for folder, content in ((filled, b"one"), (tmp_path / "back", b"other")):
        (folder / "models" / "own").mkdir(parents=True)
        (folder / "models" / "own" / "card.yaml").write_bytes(content)
    assert run("backup", tmp_path / "copy.age").code == 0
    refused = run("restore", tmp_path / "copy.age", "--store", tmp_path / "back", with_store=False)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "another file than the backup's" in refused.err
    assert not (tmp_path / "back" / "ledger.sqlite").exists()


@pytest.mark.parametrize("source", ["missing", "."])
def test_a_backup_that_is_not_there_is_wrong_use(run: Run, key: Path, tmp_path: Path, source: str) -> None:
    refused = run("restore", tmp_path / source)
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("words", [("backup",), ("backup", "f", "--make-key", "k"), ("backup", "f.age")])
def test_wrong_use_is_one_line(run: Run, key: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The last of them because there is no ledger."""
    refused = run(*(tmp_path / word if word in ("f", "k", "f.age") else word for word in words))
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A limit on the size of files stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [50_000, 600_000])
def test_a_full_disk_leaves_no_half_file(run: Run, filled: Path, key: Path, tmp_path: Path, size: int) -> None:
    """First there is no room for the ledger's copy, then for the backup."""
    (filled / "models" / "own").mkdir(parents=True)
    (filled / "models" / "own" / "card.yaml").write_bytes(os.urandom(1_000_000))
    copy = tmp_path / "copy.age"
    before = sorted(filled.rglob("*"))
    with files_no_larger_than(size):
        made = run("backup", copy)
    assert (made.code, made.err.count("\n")) == (1, 1)
    assert "disk" in made.err or "room" in made.err
    assert sorted(tmp_path.glob("*.age*")) == sorted(tmp_path.glob(".*")) == []
    assert [each for each in sorted(filled.rglob("*")) if each.name != "backup.lock"] == before
    assert run("backup", copy).code == 0
    back = tmp_path / "back"
    with files_no_larger_than(size):
        refused = run("restore", copy, "--store", back, with_store=False)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert [each.name for each in back.iterdir()] == ["backup.lock"]
    assert run("restore", copy, "--store", back, with_store=False).code == 0


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """A folder that anybody can reach; root goes on as nobody until the test is over."""
    folder = Path(tempfile.mkdtemp(prefix="attendance-"))
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def test_without_permission_it_is_one_line(
    run: Run, filled: Path, key: Path, everybodys_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, everybodys_folder / "store")
    (everybodys_folder / "key").write_bytes(key.read_bytes())
    monkeypatch.setenv(KEY, str(everybodys_folder / "key"))
    locked = everybodys_folder / "locked"
    locked.mkdir()
    for path in (everybodys_folder, *everybodys_folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, -1)
    locked.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    store = everybodys_folder / "store"
    denied = run("backup", locked / "copy.age", "--store", store, with_store=False)
    assert (denied.code, denied.err.count("\n")) == (1, 1), denied.err
    assert "ermission" in denied.err
    assert [each.name for each in store.iterdir() if "part" in each.name] == []
    copy = everybodys_folder / "copy.age"
    assert run("backup", copy, "--store", store, with_store=False).code == 0
    denied = run("restore", copy, "--store", locked, with_store=False)
    assert (denied.code, denied.err.count("\n")) == (1, 1), denied.err
    copy.chmod(0)
    denied = run("restore", copy, "--check", "--store", store, with_store=False)
    assert (denied.code, denied.err.count("\n")) == (2, 1), denied.err
