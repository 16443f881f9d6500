"""The MongoDB ledger alone: many writers, killed writers, documents, schema and plans of its queries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import WriteError

from attendance.errors import LedgerError, SchemaError
from attendance.ledger.mongo import MongoLedger, documents
from attendance.ledger.port import PunchQuery, Setting
from attendance.types import AttendanceRow, Person, Punch
from tests.ledger.conftest import START, ZONES
from tests.ledger.server import Server
from tests.ledger.test_crashes import check, start

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


# Many writers


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
