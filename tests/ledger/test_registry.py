"""Cameras, sites and health in the ledger: the same for every adapter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import WriteError

from attendance.ledger.copying import copy_ledger
from attendance.ledger.mongo import schema
from attendance.ledger.port import Ledger
from attendance.ledger.registry import Register, Registered
from attendance.ledger.sqlite import SqliteLedger
from tests.ledger.server import shared_server

NOW = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
DOOR = {"kiosk": "hall", "source": "rtsp://10.0.0.7/stream1", "site": "main", "direction": "in"}
GATE = {"kiosk": "hall", "source": "0", "site": "annex-ß", "direction": "unspecified"}


def health(**changes: Any) -> dict[str, Any]:
    camera = {"id": "door", "state": "live", "frames": 7, "dropped": 0, "reconnects": 0, "last_frame_at": NOW}
    return {
        "run": "r", "release": "1", "started_at": NOW, "seen_at": NOW, "ended_at": None, "card_id": "card-1",
        "template_revision": 3, "punches": 5, "not_recorded": 0, "cameras": [camera], **changes,
    }  # fmt: skip


def test_documents_come_back_by_key_and_each_register_is_its_own(ledger: Ledger) -> None:
    assert ledger.registered(Register.CAMERAS) == []
    assert ledger.put_registered(Register.CAMERAS, Registered("gate", 1, GATE))
    assert ledger.put_registered(Register.CAMERAS, Registered("door", 1, DOOR))
    assert ledger.put_registered(Register.SITES, Registered("door", 1, {"time_zone": "Europe/Berlin"}))
    assert ledger.registered(Register.CAMERAS) == [Registered("door", 1, DOOR), Registered("gate", 1, GATE)]
    assert ledger.registered(Register.SITES) == [Registered("door", 1, {"time_zone": "Europe/Berlin"})]
    assert ledger.find_registered(Register.CAMERAS, "gate") == Registered("gate", 1, GATE)
    assert ledger.find_registered(Register.HEALTH, "gate") is None


def test_a_document_is_inserted_once_and_replaced_and_removed_by_its_version(ledger: Ledger) -> None:
    first = Registered("door", 1, DOOR)
    assert not ledger.put_registered(Register.CAMERAS, replace(first, version=2))
    assert ledger.put_registered(Register.CAMERAS, first)
    assert not ledger.put_registered(Register.CAMERAS, replace(first, value=GATE))
    second = Registered("door", 2, {**DOOR, "direction": "out"})
    assert ledger.put_registered(Register.CAMERAS, second)
    assert not ledger.put_registered(Register.CAMERAS, second)
    assert not ledger.remove_registered(Register.CAMERAS, "door", version=1)
    assert ledger.registered(Register.CAMERAS) == [second]
    assert ledger.remove_registered(Register.CAMERAS, "door", version=2)
    assert not ledger.remove_registered(Register.CAMERAS, "door", version=2)
    assert ledger.registered(Register.CAMERAS) == []


def test_moments_are_kept_to_the_millisecond_also_inside(ledger: Ledger, open_ledger: Callable[..., Ledger]) -> None:
    ledger.put_registered(Register.HEALTH, Registered("hall", 1, health()))
    cut = NOW.replace(microsecond=123000)
    [found] = open_ledger().registered(Register.HEALTH)
    assert (found.value["started_at"], found.value["ended_at"]) == (cut, None)
    assert found.value["cameras"][0]["last_frame_at"] == cut
    assert found.value["seen_at"].utcoffset() == timedelta(0)


def test_writing_whatever_was_there_and_from_many_threads_at_once_loses_no_version(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: ledger.register(Register.HEALTH, "hall", health(punches=n)), range(12)))
    found = ledger.find_registered(Register.HEALTH, "hall")
    assert found is not None and found.version == 12
    assert ledger.deregister(Register.HEALTH, "hall")
    assert not ledger.deregister(Register.HEALTH, "hall")


def test_importing_keeps_what_is_there(ledger: Ledger) -> None:
    ledger.put_registered(Register.CAMERAS, Registered("door", 1, DOOR))
    others = [Registered("door", 7, GATE), Registered("gate", 4, GATE)]
    assert ledger.import_registered(Register.CAMERAS, others) == 1
    assert ledger.import_registered(Register.CAMERAS, []) == 0
    assert ledger.registered(Register.CAMERAS) == [Registered("door", 1, DOOR), others[1]]


def test_a_copy_carries_cameras_and_sites_and_no_health(ledger: Ledger, tmp_path: Path) -> None:
    ledger.put_registered(Register.CAMERAS, Registered("door", 1, DOOR))
    ledger.register(Register.CAMERAS, "door", GATE)
    ledger.put_registered(Register.SITES, Registered("main", 1, {"time_zone": "Asia/Tokyo"}))
    ledger.put_registered(Register.HEALTH, Registered("hall", 1, health()))
    with SqliteLedger(tmp_path / "copy.sqlite", cooldown_s=300.0, time_zones={}) as copy:
        copied = copy_ledger(ledger, copy)
        assert (copied.registered, copied.written) == (2, 2)
        assert copy.registered(Register.CAMERAS) == [Registered("door", 2, GATE)]
        assert copy.registered(Register.SITES) == ledger.registered(Register.SITES)
        assert copy.registered(Register.HEALTH) == []
        assert copy_ledger(ledger, copy) == replace(copied, written=0)
        copy.register(Register.SITES, "main", {"time_zone": "UTC"})
        with pytest.raises(Exception, match="same sites as its source"):
            copy_ledger(ledger, copy)


def test_a_server_of_schema_version_1_moves_up() -> None:
    with MongoClient[dict[str, Any]](f"{shared_server()}/moves_up", tz_aware=True) as client:
        db = client.get_default_database()
        try:
            assert schema.upgrade(db, now=NOW, migrations=schema.MIGRATIONS[:1]) == 0
            db["cameras"].insert_one({"_id": "of version 1", "anything": True})
            db["cameras"].delete_many({})
            assert schema.upgrade(db, now=NOW) == 1
            made = [each["_id"] for each in db["schema"].find().sort("_id", 1)]
            assert made == list(range(1, len(schema.MIGRATIONS) + 1))
            with pytest.raises(WriteError):
                db["cameras"].insert_one({"_id": "door", "anything": True})
            db["cameras"].insert_one({"_id": "door", "version": 1, **DOOR})
        finally:
            client.drop_database("moves_up")
