"""`make secrets`: each file once, for its readers only, and every address with the password of its user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pymongo.uri_parser import parse_uri

from attendance.config.service import token_fault
from tools.container_secrets import ADDRESSES, PASSWORDS, main

ROOT = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def contents(root: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (root / "secrets").iterdir()}


def test_it_writes_everything_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kiosk-host", "db.example.org"], root=tmp_path) == 0
    first = contents(tmp_path)
    assert set(first) == {*PASSWORDS, *ADDRESSES}
    printed = capsys.readouterr().out
    assert not any(text in printed for text in first.values())
    assert [line.rpartition("/")[2] for line in printed.splitlines()] == [*PASSWORDS, *ADDRESSES, "wrote .env"]

    assert main([], root=tmp_path) == 0
    assert contents(tmp_path) == first
    assert capsys.readouterr().out == "secrets: all there, nothing changed\n"


def test_nobody_else_gets_in(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    main([], root=tmp_path)
    assert mode(tmp_path / "secrets") == 0o700
    # What is mounted is read by other users inside the containers; the folder keeps other users out on this machine.
    assert {mode(tmp_path / "secrets" / name) for name in PASSWORDS} == {0o444}
    assert mode(tmp_path / "secrets" / "kiosk_ledger_url") == 0o600


def test_two_runs_make_different_secrets_and_long_ones(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        main([], root=tmp_path / name)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    drawn = [values[name] for values in (one, two) for name in PASSWORDS]
    assert len(set(drawn)) == len(drawn)
    assert all(len(value) >= 43 for value in drawn)
    assert token_fault(one["service_token"]) is None


def test_the_addresses_reach_their_servers_as_their_users(tmp_path: Path) -> None:
    # A password of somebody's own, with every letter that means something in an address.
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mongo_kiosk_password").write_text("p@ss/w:rd %?#&", encoding="utf-8")
    main(["--kiosk-host", "db.example.org"], root=tmp_path)
    held = contents(tmp_path)
    for name, (password, user, database, leaves) in ADDRESSES.items():
        address = parse_uri(held[name])
        assert (address["username"], address["password"]) == (user, held[password]), name
        assert address["database"] == database
        assert address["nodelist"] == [("db.example.org" if leaves else "mongo", 27017)]
        assert ("tls" in address["options"]) == leaves
    assert unquote(urlsplit(held["kiosk_ledger_url"]).password or "") == "p@ss/w:rd %?#&"


def test_with_tls_the_containers_ask_for_it_too(tmp_path: Path) -> None:
    main(["--mongo-tls"], root=tmp_path)
    held = contents(tmp_path)
    for name in ("mongo_admin_url", "ledger_url"):
        assert held[name].endswith("?tls=true&tlsCAFile=/run/secrets/mongo_ca")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mongo_kiosk_password", "", "mongo_kiosk_password is empty: delete it"),
        ("ledger_url", "mongodb://service:old@mongo:27017/attendance", "another password than mongo_service_password"),
    ],
)
def test_what_does_not_fit_is_named_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, expected: str
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / name).write_text(text, encoding="utf-8")
    assert main([], root=tmp_path) == 1
    error = capsys.readouterr().err
    assert expected in error
    assert "old" not in error
    assert (tmp_path / "secrets" / name).read_text(encoding="utf-8") == text


def test_a_changed_password_needs_its_file_and_address_deleted(tmp_path: Path) -> None:
    main([], root=tmp_path)
    before = contents(tmp_path)
    for name in ("mongo_kiosk_password", "kiosk_ledger_url"):
        (tmp_path / "secrets" / name).unlink()
    assert main([], root=tmp_path) == 0
    after = contents(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"mongo_kiosk_password", "kiosk_ledger_url"}


def test_env_keeps_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ATTENDANCE_PORT=9000", encoding="utf-8")
    main([], root=tmp_path)
    main([], root=tmp_path)
    text = (tmp_path / ".env").read_text(encoding="utf-8")
    assert text == "ATTENDANCE_PORT=9000\nATTENDANCE_SECRETS=./secrets\n"


def test_secrets_reach_neither_git_nor_an_image() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/secrets/", "/.env"} <= set(ignored)
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert not any(line.startswith(("!secrets", "!.env", "!store")) for line in lines)


def test_a_server_without_the_environment_can_run_it() -> None:
    code = "import sys; sys.path.insert(0, '.'); import tools.container_secrets; print('ok')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ok\n"
