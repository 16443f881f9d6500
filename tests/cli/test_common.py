"""What holds for every command: flags, help, precedence, exit codes, one-line errors, pure JSON, a quick start."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from attendance.app import App
from attendance.cli.main import build_parser
from attendance.images import normalise_identity
from attendance.ledger.schema import MIGRATIONS
from tests.building import FakeApp, photo
from tests.cli.conftest import RED, Run, insert_people

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def commands(parser: argparse.ArgumentParser | None = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group as the words that call it, the program itself as no words."""
    parser = build_parser() if parser is None else parser
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_has_an_example_and_the_common_flags(run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words, "--help", with_store=False)
    assert ran.code == 0
    for text in ("--config FILE", "--store DIR", "--json FILE", "--quiet", "--version", "example:"):
        assert text in ran.out
    example = ran.out.split("example:\n")[1].strip()
    assert example.startswith(" ".join(("python -m attendance", *words)))
    parsed = build_parser().parse_args(example.split()[3:])
    assert callable(parsed.command)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_version_is_told_everywhere(run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words, "--version", with_store=False)
    assert (ran.code, ran.out.count("\n")) == (0, 1)


@pytest.mark.parametrize("program", ["build_database.py", "realtime_attendance.py"])
def test_the_programs_help_has_an_example_and_the_common_flags(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / program), run_name="__main__")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for text in ("--config FILE", "--store DIR", "--json FILE", "--quiet", "--version", f"python {program}"):
        assert text in shown


def test_common_flags_hold_before_and_after_a_commands_name(run: Run, store: Path) -> None:
    insert_people(store, "red")
    for words in (
        ("--store", store, "--json", "-", "people", "list"),
        ("people", "--store", store, "--json", "-", "list"),
        ("people", "list", "--store", store, "--json", "-"),
    ):
        ran = run(*words, with_store=False)
        assert [row["identity_id"] for row in ran.json] == ["red"], words


def test_flag_beats_environment_beats_file(
    run: Run, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_people(store, "of-the-flag")
    for name in ("file", "environment"):
        insert_people(tmp_path / name, f"of-the-{name}")
    config = tmp_path / "site.yaml"
    config.write_text(f"store: {{path: {tmp_path / 'file'}}}\n", encoding="utf-8")

    def who(*flags: object) -> str:
        rows = run("people", "list", "--config", config, "--json", "-", *flags, with_store=False).json
        return str(rows[0]["identity_id"])

    assert who() == "of-the-file"
    monkeypatch.setenv("ATTENDANCE_STORE__PATH", str(tmp_path / "environment"))
    assert who() == "of-the-environment"
    assert who("--store", store) == "of-the-flag"


def test_json_on_stdout_is_alone_there_and_quiet_silences_the_rest(run: Run, store: Path, tmp_path: Path) -> None:
    insert_people(store, "red", name="Zoë 明")
    loud = run("people", "list", "--json", "-")
    assert loud.json[0]["name"] == "Zoë 明"
    assert "red" in loud.err
    quiet = run("people", "list", "--json", tmp_path / "list.json", "--quiet")
    assert (quiet.out, quiet.err) == ("", "")
    assert json.loads((tmp_path / "list.json").read_text(encoding="utf-8")) == loud.json


def test_a_terminal_without_the_letters_of_a_name_ends_nothing(store: Path) -> None:
    insert_people(store, "red", name="明")
    command = [sys.executable, "-m", "attendance", "people", "list", "--store", str(store)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    assert rb"\u660e" in shown
    data = subprocess.run([*command, "--json", "-"], cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    assert json.loads(data)[0]["name"] == "明"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "COMMAND"),
        (("people",), "COMMAND"),
        (("peple",), "invalid choice: 'peple'"),
        (("people", "list", "--sight", "x"), "--sight"),
        (("people", "list", "--sit", "x"), "--sit"),
        (("people", "list", "--config", "none.yaml"), "none.yaml: cannot be read"),
        (("people", "list"), "there is no store at"),
        (("report",), "there is no store at"),
        (("identify", "photo.jpg"), "there is no store at"),
        (("gallery", "verify"), "there is no store at"),
        (("gallery", "rebuild"), "there is no store at"),
        (("people", "add", "red", "--active-from", "soon"), "--active-from expects a date as YYYY-MM-DD, got 'soon'"),
        (("people", "add", "red", "--active-from", "2026-02-01", "--active-to", "2026-01-01"), "lies before"),
        (("people", "add", "a\nb"), "control characters"),
        (("people", "add", "red", "--name", "a\x1b[31m"), "control characters"),
        (("people", "add", "x" * 201), "1 to 200 characters"),
        (("enrol", "red"), "photos or --from-camera"),
        (("enrol", "red", "a.png", "--from-camera"), "photos or --from-camera"),
        (("enrol", "red", "none.png"), "none.png: there is no such photo"),
        (("enrol", "red", "a.png", "--source", "0"), "--from-camera"),
        (("enrol", "red", "--from-camera", "--source", "none.mp4"), "none.mp4"),
        (("enrol", "red", "--from-camera", "--camera", "door"), "--camera door"),
        (("verify", "a.jpg", "b.jpg"), "a.jpg: there is no such photo"),
        (("verify", "."), "the following arguments are required: B"),
        (("people", "list", "--json", "none/list.json"), "there is no folder"),
        (("people", "list", "--json", "."), "it is a folder"),
    ],
    ids=str,
)
def test_wrong_use_is_one_line_and_exit_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("python -m attendance")
    assert told in ran.err


@pytest.mark.parametrize("words", [
    ("people", "show", "nobody"), ("people", "edit", "nobody", "--name", "x"), ("people", "deactivate", "nobody"),
    ("people", "remove", "nobody", "--yes"), ("report", "--from", "yesterday"),
    ("report", "--from", "2026-02-01", "--to", "2026-01-01"), ("identify", "none.jpg"), ("identify", "."),
    ("identify", "none.jpg", "--top-k", "0"), ("people", "edit", "red"), ("people", "remove", "red"),
    ("people", "add", "red"),
], ids=" ".join)  # fmt: skip
def test_wrong_use_of_a_store_is_one_line_and_exit_code_2(run: Run, store: Path, words: tuple[str, ...]) -> None:
    insert_people(store, "red")
    ran = run(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)


def broken_stores(folder: Path) -> dict[str, tuple[Path, int, str]]:
    """Stores that cannot be used: path, exit code, what is told."""
    file = folder / "file"
    file.write_text("", encoding="utf-8")
    corrupt = folder / "corrupt"
    corrupt.mkdir()
    (corrupt / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    text = folder / "text"
    text.mkdir()
    (text / "ledger.sqlite").write_text("these are not the bytes of a database" * 50, encoding="utf-8")
    newer = folder / "newer"
    insert_people(newer, "red")
    db = sqlite3.connect(newer / "ledger.sqlite")
    db.execute("UPDATE schema SET version = ?1 WHERE version = ?1 - 1", (len(MIGRATIONS) + 1,))
    db.commit()
    db.close()
    return {
        "a file": (file, 2, "is a file"),
        "corrupt": (corrupt, 1, "undamaged SQLite file"),
        "text": (text, 1, "undamaged SQLite file"),
        "newer": (newer, 1, "newer"),
    }


@pytest.mark.parametrize("kind", ["a file", "corrupt", "text", "newer"])
@pytest.mark.parametrize("words", [("people", "list"), ("report",), ("people", "add", "blue")], ids=" ".join)
def test_a_store_that_cannot_be_used_is_one_line(run: Run, tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    path, code, told = broken_stores(tmp_path)[kind]
    ran = run(*words, "--store", path, with_store=False)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert told in ran.err


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that is everybody's; root goes on as nobody until the test is over, since root may do everything."""
    # Not below pytest's folder, which is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="attendance-"))
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def test_without_permission_it_is_one_line(run: Run, nobodys_folder: Path) -> None:
    store, config, result = (nobodys_folder / name for name in ("store", "secret.yaml", "result.json"))
    insert_people(store, "red")
    for path in (config, result):
        path.write_text("{}", encoding="utf-8")
    nobodys_folder.chmod(0o755)
    for path in (store, config, result):
        path.chmod(0)
    assert normalise_identity("red") == "red"
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    for words, code, told in (
        (("people", "list", "--store", store), 1, "ermission"),
        (("people", "list", "--config", config), 2, "cannot be read (Permission denied)"),
        (("people", "list", "--json", result), 2, "may not be written"),
        (("people", "add", "blue", "--store", nobodys_folder / "other"), 1, "ermission"),
    ):
        ran = run(*words, with_store=False)
        assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran.err
        assert told in ran.err


def test_another_model_than_the_gallerys_is_refused_with_the_way_out(enrolled: Run, tmp_path: Path) -> None:
    class OtherApp(FakeApp):
        @property
        def card(self):  # type: ignore[no-untyped-def]
            from tests.fakes import colour_card

            return colour_card("other")

    for words in (("identify", photo(tmp_path / "r.png", RED)), ("gallery", "verify"), ("people", "deactivate", "red")):
        ran = enrolled(*words, make_app=OtherApp)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "model.id" in ran.err


def test_a_gallery_held_by_another_process_says_by_whom(
    enrolled: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attendance.search import lock

    monkeypatch.setenv("ATTENDANCE_SEARCH__LOCK_WAIT_S", "0")
    with lock.hold(store / "chroma.lock", wait_s=0):
        for words in (("people", "deactivate", "red"), ("gallery", "verify"), ("gallery", "rebuild")):
            ran = enrolled(*words)
            assert (ran.code, ran.err.count("\n")) == (1, 1)
            assert f"held by process {os.getpid()}" in ran.err


def test_commands_without_a_model_load_neither_torch_nor_opencv(store: Path) -> None:
    insert_people(store, "red")
    code = """
import sys
from attendance.cli.main import build_parser, main
build_parser()
light = {"torch", "cv2", "numba", "scipy", "chromadb", "PIL", "onnxruntime"} & set(sys.modules)
assert not light, light
for words in (["report"], ["people", "list"], ["people", "show", "red"], ["people", "add", "blue"], ["check-config"],
              ["people", "edit", "red", "--name", "x"], ["gallery", "verify"], ["gallery", "rebuild"]):
    assert main([*words, "--quiet", "--store", sys.argv[1]]) == 0, words
    heavy = {"torch", "numba", "scipy", "onnxruntime"} | ({"cv2"} if words != ["check-config"] else set())
    assert not heavy & set(sys.modules), (words, heavy & set(sys.modules))
    if words[0] == "check-config":
        sys.modules.pop("cv2", None)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(store)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_an_interruption_is_one_line(run: Run, store: Path) -> None:
    insert_people(store, "red")

    class Interrupted(App):
        @property
        def ledger(self):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    ran = run("people", "list", make_app=Interrupted)
    assert (ran.code, ran.err) == (1, "python -m attendance: interrupted; run it again to go on\n")
