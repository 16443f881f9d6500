"""The MongoDB ledger and its server: killed, away, hanging, with TLS, with rights, and addresses that lead nowhere."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from attendance.errors import ConfigError, LedgerError, LedgerUnavailableError
from attendance.ledger.registry import Register
from attendance.types import AttendanceRow, Person, Punch
from tests.ledger.conftest import START
from tests.ledger.server import Server
from tests.ledger.test_crashes import check
from tests.ledger.test_mongo import opened
from tests.ledger.writer import punch as punch_number
from tools import mongodb_roles

MakePunch = Callable[..., Punch]
MakePerson = Callable[..., Person]
Expect = Callable[..., list[AttendanceRow]]


def test_a_server_killed_in_the_middle_of_writes_loses_nothing_acknowledged(
    own_server: Server, make_punch: MakePunch, expected_rows: Expect
) -> None:
    url = own_server.url("kill")
    opened(url).close()
    acknowledged: list[str] = []
    refused: list[str] = []

    def work() -> None:
        with opened(url, timeout_s=4.0) as ledger:
            for number in range(2000):
                try:
                    ledger.record(punch_number(number))
                except LedgerError as error:
                    refused.append(str(error))
                    return
                acknowledged.append(f"event-{number:05d}")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        while len(acknowledged) < 25:
            time.sleep(0.01)
        own_server.kill()
        running.result()
    assert len(refused) == 1 and "\n" not in refused[0]
    own_server.start()
    with opened(url) as ledger:
        check(ledger, set(acknowledged), expected_rows)
        again = punch_number(len(acknowledged))
        ledger.record(again)
        assert not ledger.record(again).inserted


def test_a_ledger_goes_on_when_its_server_is_back(own_server: Server, make_punch: MakePunch) -> None:
    with opened(own_server.url("back"), timeout_s=4.0) as ledger:
        ledger.record(make_punch(1))
        own_server.stop()
        with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
            ledger.record(make_punch(2, 1000.0))
        own_server.start()
        ledger.record(make_punch(2, 1000.0))
        assert len(ledger.attendance()) == 2


def test_a_server_that_hangs_is_given_up(own_server: Server, make_punch: MakePunch) -> None:
    with opened(own_server.url("hang"), timeout_s=1.0) as ledger:
        own_server.pause()
        try:
            with pytest.raises(LedgerUnavailableError):
                ledger.record(make_punch(1))
        finally:
            own_server.go_on()
        assert ledger.record(make_punch(1)).counted


def test_a_standalone_server_is_enough(tmp_path: Path, make_punch: MakePunch, make_person: MakePerson) -> None:
    server = Server(tmp_path / "alone", ["--standalone"])
    try:
        with opened(server.url("")) as ledger:
            ledger.insert_person(make_person(1, templates=1))
            assert ledger.record(make_punch(1)).counted
            assert [row.identity_id for row in ledger.attendance()] == ["person-01"]
        with MongoClient[dict[str, Any]](server.url("")) as client:
            assert "punches" in client["attendance"].list_collection_names()
    finally:
        server.stop()


def test_tls_is_used_where_asked_and_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("missing program: openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    server = Server(tmp_path / "tls", ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)])
    try:
        opened(server.url("tls", options=f"?tls=true&tlsCAFile={certificate}")).close()
        with pytest.raises(LedgerUnavailableError, match="certificate"):
            opened(server.url("tls", options="?tls=true"), timeout_s=4.0)
        with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
            opened(server.url("tls"), timeout_s=4.0)
    finally:
        server.stop()


def test_tls_on_a_server_without_is_refused(own_server: Server) -> None:
    with pytest.raises(LedgerUnavailableError, match="cannot be reached") as caught:
        opened(own_server.url("tls", options="?tls=true"), timeout_s=3.0)
    assert "\n" not in str(caught.value)


def test_nobody_there_is_said_without_the_password() -> None:
    with pytest.raises(
        LedgerUnavailableError, match=r"mongodb://\*\*\*@127.0.0.1:1/x\?\*\*\* cannot be reached"
    ) as caught:
        opened("mongodb://someone:hidden@127.0.0.1:1/x?authSource=admin", timeout_s=2.0)
    assert "hidden" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["mongodb://someone:hid/den@host:x/db", "mongodb://", "mongodb://host/?tls=hidden"])
def test_an_address_that_is_none_is_said_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ledger\.url must be") as caught:
        opened(url)
    assert "hid/den" not in str(caught.value) and "\n" not in str(caught.value)


# Rights


HEALTH = {
    "run": "run-1",
    "release": "1.0",
    "started_at": START,
    "seen_at": START,
    "ended_at": None,
    "card_id": "card-1",
    "template_revision": 0,
    "not_recorded": 0,
    "cameras": [],
}


def allowed(command: dict[str, Any]) -> tuple[str, set[str]]:
    """The collection that a command goes to, and the actions that MongoDB demands for it."""
    name = next(iter(command))
    wanted = {"find": {"find"}, "aggregate": {"find"}, "insert": {"insert"}, "delete": {"remove"}, "update": {"update"}}
    actions = set(wanted[name])
    if name == "update" and any(each.get("upsert") for each in command["updates"]):
        actions.add("insert")
    return command[name], actions


def test_a_kiosk_needs_no_more_than_its_role(
    tmp_path: Path, make_punch: MakePunch, make_person: MakePerson, heard: list[dict[str, Any]]
) -> None:
    server = Server(tmp_path / "auth")
    password = tmp_path / "password"
    password.write_text("p w/@:ä\n", "utf-8")
    admin = tmp_path / "admin"
    admin.write_text(server.url("", user=""), "utf-8")
    with MongoClient[dict[str, Any]](server.url("admin")) as client:
        client["admin"].command("createUser", "root", pwd="root", roles=["root"])
    with opened(server.url("rights")) as ledger:
        ledger.insert_person(make_person(1, templates=1))
    users = ["--user", "kiosk", "kiosk-1", f"@{password}", "--user", "reader", "reader-1", f"@{password}"]
    apply = ["--admin", f"@{admin}", "--database", "rights", *users]
    assert mongodb_roles.main(apply) == 0
    server.stop()
    server.options.append("--auth")
    server.start()
    try:
        admin.write_text(server.url("", user="root:root"), "utf-8")
        assert mongodb_roles.main(apply) == 0, "running it again brings it up to date"
        secret = "p%20w%2F%40%3A%C3%A4"
        heard.clear()
        with opened(server.url("rights", user=f"kiosk-1:{secret}")) as kiosk:
            assert kiosk.record(make_punch(2, 100.0)).counted
            assert kiosk.record(make_punch(1)).counted
            assert not kiosk.record(make_punch(1)).inserted
            assert [row.identity_id for row in kiosk.attendance()] == ["person-01"]
            assert len(kiosk.punches()) == 2 and len(kiosk.people()) == 1
            assert kiosk.template_revision().revision == 0
            assert kiosk.settings() == []
            assert kiosk.registered(Register.CAMERAS) == kiosk.registered(Register.SITES) == []
            for punches in (1, 2):
                assert kiosk.register(Register.HEALTH, "kiosk-1", {**HEALTH, "punches": punches}).version == punches
        assert any(command.get("update") == "health" for command in heard)
        role = mongodb_roles.ROLES["attendance_kiosk"]
        for collection, actions in map(allowed, heard):
            assert actions <= set(role[collection]), f"{actions} on {collection}"
        with MongoClient[dict[str, Any]](server.url("rights", user=f"reader-1:{secret}")) as reader:
            assert reader["rights"]["attendance"].count_documents({}) == 1
            with pytest.raises(OperationFailure):
                reader["rights"]["attendance"].delete_many({})
        for user in ("kiosk-1:wrong", "nobody:wrong"):
            with pytest.raises(LedgerUnavailableError, match="refused the user or the password") as caught:
                opened(server.url("rights", user=user))
            assert "wrong" not in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(LedgerError, match="lets this user not do that"):
            opened(server.url("rights"))
    finally:
        server.stop()


def test_a_kiosks_role_changes_no_person_and_no_punch() -> None:
    role = mongodb_roles.ROLES["attendance_kiosk"]
    assert set(role["people"]) == set(role["settings"]) == set(role["sites"]) == set(role["cameras"]) == {"find"}
    assert set(role["punches"]) == {"find", "insert"}
    assert mongodb_roles.EVERY_COLLECTION not in role
