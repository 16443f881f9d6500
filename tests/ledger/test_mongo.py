"""The MongoDB ledger alone: many writers, killed writers, a killed server, rights, faults and plans of its queries."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure, WriteError

from attendance.errors import ConfigError, LedgerError, LedgerUnavailableError, SchemaError
from attendance.ledger.mongo import MongoLedger, documents
from attendance.ledger.port import PunchQuery, Setting
from attendance.ledger.registry import Register
from attendance.types import AttendanceRow, Person, Punch
from tests.ledger.conftest import START, ZONES
from tests.ledger.server import Server
from tests.ledger.test_crashes import check, start
from tests.ledger.writer import punch as punch_number
from tools import mongodb_roles

MakePunch = Callable[..., Punch]
MakePerson = Callable[..., Person]
Expect = Callable[..., list[AttendanceRow]]
Raw = Any


def opened(url: str, *, timeout_s: float = 10.0, cooldown_s: float = 300.0) -> MongoLedger:
    return MongoLedger(url, cooldown_s=cooldown_s, time_zones=ZONES, timeout_s=timeout_s)


@pytest.fixture
def ledger(mongo_url: str) -> Iterator[MongoLedger]:
    with opened(mongo_url) as found:
        yield found


@pytest.fixture
def raw(mongo_url: str) -> Iterator[Raw]:
    """The database as anybody else sees it."""
    with MongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield client.get_default_database()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.stop()


class Heard(monitoring.CommandListener):
    """Every command that is sent while somebody listens."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.commands is not None and event.command_name in COLLECTION_COMMANDS:
            self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Not looked at."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Not looked at."""


COLLECTION_COMMANDS = ("find", "insert", "update", "delete", "aggregate", "distinct", "count", "findAndModify")
HEARD = Heard()
monitoring.register(HEARD)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    HEARD.commands = found
    yield found
    HEARD.commands = None


# Many writers


def test_eight_threads_recording_the_same_punches_store_each_once(
    ledger: MongoLedger, mongo_url: str, make_punch: MakePunch, expected_rows: Expect
) -> None:
    punches = [make_punch(i, 61.0 * (i % 12), subject_ref=f"ref-{i % 2}") for i in range(20)]

    def work(number: int) -> list[str]:
        with opened(mongo_url) as mine:
            return [p.event_id for p in random.Random(number).sample(punches, 20) if mine.record(p).inserted]

    with ThreadPoolExecutor(8) as pool:
        inserted = [event_id for found in pool.map(work, range(8)) for event_id in found]
    assert sorted(inserted) == [punch.event_id for punch in punches]
    assert ledger.attendance() == expected_rows(punches)


def test_three_processes_recording_the_same_punches_store_each_once(
    ledger: MongoLedger, mongo_url: str, expected_rows: Expect
) -> None:
    writers = [start(mongo_url, first=0, count=60, seed=seed) for seed in (1, 2, 3)]
    said = [dict(line.split() for line in writer.communicate(timeout=120)[0].splitlines()) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert all(sorted(words[event_id] for words in said) == ["known", "known", "new"] for event_id in said[0])
    assert check(ledger, set(said[0]), expected_rows) == 60


def test_a_killed_writer_loses_and_doubles_nothing(mongo_url: str, expected_rows: Expect) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    for kill in range(4):
        writer = start(mongo_url, first=100 * (kill // 2), count=300, seed=kill)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 15)):
            acknowledged.add(writer.stdout.readline().split()[0])
        time.sleep(chance.random() * 0.02)
        writer.kill()
        acknowledged.update(line.split()[0] for line in writer.stdout.read().splitlines(True) if line.endswith("\n"))
        writer.wait()
        writer.stdout.close()
        with opened(mongo_url) as ledger:
            check(ledger, acknowledged, expected_rows)


@pytest.mark.parametrize("rows", ["missing", "stale"])
def test_what_a_killed_writer_left_undone_is_done_by_the_next(
    ledger: MongoLedger, raw: Raw, mongo_url: str, make_punch: MakePunch, expected_rows: Expect, rows: str
) -> None:
    later, earlier = make_punch(2, 100.0), make_punch(1, 0.0)
    ledger.record(later)
    note = {"_id": "note", "kind": "punch", "of": earlier.event_id, "at": datetime.now(UTC) - timedelta(hours=2)}
    raw["unfinished"].insert_one(note)
    raw["punches"].insert_one(documents.punch_document(earlier))
    if rows == "missing":
        raw["attendance"].delete_many({})
    assert ledger.attendance() == expected_rows([earlier, later])
    assert raw["unfinished"].count_documents({}) == 0


def test_a_renaming_that_was_cut_short_is_finished_when_opened(
    ledger: MongoLedger, raw: Raw, mongo_url: str, make_punch: MakePunch, make_person: MakePerson
) -> None:
    ledger.insert_person(make_person(1))
    ledger.record(make_punch(1))
    raw["unfinished"].insert_one({"_id": "note", "kind": "person", "of": "person-01", "at": datetime.now(UTC)})
    raw["people"].delete_one({"_id": "person-01"})
    opened(mongo_url).close()
    assert raw["attendance"].find_one({})["identity_id"] is None
    assert raw["unfinished"].count_documents({}) == 1, "its writer may be at work still"


def test_two_programs_of_other_rules_end_in_the_rules_of_the_last(
    mongo_url: str, make_punch: MakePunch, expected_rows: Expect
) -> None:
    punches = [make_punch(i, 90.0 * i) for i in range(6)]

    def work(number: int) -> None:
        with opened(mongo_url, cooldown_s=(100.0, 500.0)[number]) as mine:
            for punch in punches[number::2]:
                mine.record(punch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    with opened(mongo_url, cooldown_s=200.0) as last:
        assert last.attendance() == expected_rows(punches, cooldown_s=200.0)


def test_rebuilding_removes_what_no_punch_says(
    ledger: MongoLedger, raw: Raw, make_punch: MakePunch, make_person: MakePerson, expected_rows: Expect
) -> None:
    ledger.insert_person(make_person(1))
    punches = [make_punch(i, 200.0 * i, site=("main", "annex")[i % 2]) for i in range(12)]
    for punch in punches:
        ledger.record(punch)
    foreign = {**raw["attendance"].find_one({}), "_id": "made up", "site": "elsewhere"}
    raw["attendance"].insert_one(foreign)
    raw["attendance"].update_many({"site": "annex"}, {"$set": {"identity_id": None}})
    raw["attendance"].delete_one({"site": "main"})
    expected = expected_rows(punches, names={"ref-01": "person-01"})
    assert ledger.rebuild_attendance() == len(expected)
    assert ledger.attendance() == expected


def test_a_punch_waits_for_the_server_five_times(
    ledger: MongoLedger, make_punch: MakePunch, heard: list[dict[str, Any]]
) -> None:
    ledger.record(make_punch(1))
    for punch, expected in (
        (make_punch(2, 1000.0), ["insert", "insert", "aggregate", "update", "aggregate", "delete"]),
        (make_punch(3, 1001.0), ["insert", "insert", "aggregate", "delete"]),
    ):
        heard.clear()
        ledger.record(punch)
        assert [next(iter(command)) for command in heard] == expected
        assert heard[-1]["writeConcern"] == {"w": 0}, "nobody waits for the note to go"


# The server


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


# Schema and queries


def test_a_newer_schema_is_refused(ledger: MongoLedger, raw: Raw, mongo_url: str) -> None:
    raw["schema"].insert_one({"_id": 4, "migrated_at": START})
    try:
        with pytest.raises(SchemaError, match=r"version 3 or lower, got 4: .*install that release"):
            opened(mongo_url)
    finally:
        raw["schema"].delete_one({"_id": 4})


def test_a_document_of_an_older_version_has_no_rejected_faces(
    ledger: MongoLedger, raw: Raw, make_person: MakePerson
) -> None:
    ledger.insert_person(make_person(1, templates=1))
    raw["people"].update_one({"_id": "person-01"}, {"$unset": {"rejected": ""}})
    found = ledger.person("person-01")
    assert found is not None
    assert (len(found.templates), found.rejected) == (1, ())


def test_a_first_opening_that_was_cut_short_is_done_again(own_server: Server, make_punch: MakePunch) -> None:
    with MongoClient[dict[str, Any]](own_server.url("cut")) as client:
        client["cut"].create_collection("punches")
    with opened(own_server.url("cut")) as ledger:
        assert ledger.record(make_punch(1)).counted
    with MongoClient[dict[str, Any]](own_server.url("cut")) as client:
        assert [each["_id"] for each in client["cut"]["schema"].find().sort("_id", 1)] == [1, 2, 3]
        client["other"]["invoices"].insert_one({"a": 1})
    with pytest.raises(LedgerError, match="collection invoices"):
        opened(own_server.url("other"))


@pytest.mark.parametrize(
    ("collection", "document"),
    [
        ("people", {"_id": "x"}),
        ("punches", {"_id": "x", "observed_at": "2026-01-01"}),
        ("attendance", {"_id": "x"}),
        ("settings", {"_id": "x", "version": 0, "value": {}}),
    ],
)
def test_documents_of_another_shape_are_refused(
    ledger: MongoLedger, raw: Raw, collection: str, document: dict[str, Any]
) -> None:
    with pytest.raises(WriteError, match="validation"):
        raw[collection].insert_one(document)


def test_moments_are_dates_and_vectors_are_bson_vectors(
    ledger: MongoLedger, raw: Raw, make_punch: MakePunch, make_person: MakePerson
) -> None:
    person = make_person(1, templates=1)
    ledger.insert_person(person)
    ledger.record(make_punch(1))
    assert raw["punches"].find_one({})["observed_at"] == START
    row = raw["attendance"].find_one({})
    assert (row["observed_at"], row["local_day"], row["local_time"]) == (START, "2026-01-05", "09:00:00")
    vector = raw["people"].find_one({})["templates"][0]["vector"].as_vector()
    assert vector.data == person.templates[0].vector.tolist()


def test_every_query_goes_through_an_index(
    ledger: MongoLedger, raw: Raw, make_punch: MakePunch, make_person: MakePerson, heard: list[dict[str, Any]]
) -> None:
    for number in range(3):
        ledger.insert_person(make_person(number, templates=1))
    for number in range(30):
        ledger.record(make_punch(number, 100.0 * number, subject_ref=f"ref-{number % 3:02d}"))
    heard.clear()
    late = replace(make_punch(99), observed_at=START + timedelta(seconds=50))
    ledger.record(late)
    ledger.record(late)
    ledger.replace_person(make_person(1, version=2))
    ledger.put_setting(Setting("key", 1, {}))
    ledger.put_setting(Setting("key", 2, {}))
    ledger.setting("key")
    for query in (
        PunchQuery(),
        PunchQuery(since=START, until=START + timedelta(hours=1)),
        PunchQuery(since=START, site="main"),
        PunchQuery(since=START, camera_id="door"),
        PunchQuery(since=START, identity_id="person-01"),
    ):
        ledger.punches(query)
        ledger.attendance(query)
    month = PunchQuery(first_day=date(2026, 1, 1), last_day=date(2026, 1, 31))
    ledger.attendance(month)
    ledger.attendance(replace(month, identity_id="person-01"))
    ledger.people(["person-01", "person-02"])
    ledger.moments(3)
    ledger.rebuild_attendance()
    ledger.remove_person("person-02", version=1)
    for command in unique(heard):
        plan = str(raw.command("explain", command, verbosity="queryPlanner")["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan or by_id(command), f"{command}: {plan}"


def by_id(command: dict[str, Any]) -> bool:
    """One document by its id, which the stand-in's explain does not show as an index, or a small collection whole."""
    small = command["find"] in ("unfinished", "counting", "people") and not command["filter"]
    return small or "_id" in command["filter"]


def is_unequal(wanted: Any) -> bool:
    return isinstance(wanted, dict) and "$ne" in wanted


def unique(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The search of each command, as a find that can be explained; one of each kind."""
    found: dict[str, dict[str, Any]] = {}
    for command in commands:
        name = next(iter(command))
        if name == "find":
            searches = [(command["filter"], command.get("sort"))]
        elif name == "aggregate":
            searches = [(command["pipeline"][0]["$match"], None)]
            joined = [stage["$lookup"] for stage in command["pipeline"] if "$lookup" in stage]
            for asked in ({"find": each["from"], "filter": {each["foreignField"]: "x"}} for each in joined):
                found.setdefault(str(asked), asked)
        else:
            searches = [(each["q"], None) for each in command.get("updates", []) + command.get("deletes", [])]
        for search, sort in searches:
            # MongoDB goes through the index of the other fields and sorts out the rest; the stand-in does not say so.
            query = {field: wanted for field, wanted in search.items() if not is_unequal(wanted)}
            asked = {"find": command[name], "filter": query, **({} if sort is None else {"sort": sort})}
            found.setdefault(f"{command[name]} {sorted(query)} {sort}", asked)
    return list(found.values())
