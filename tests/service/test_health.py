"""``/healthz`` and ``/readyz``: what is looked at, and what is told of it."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from attendance.errors import LedgerUnavailableError
from attendance.service.readiness import Check, Readiness
from tests.building import FakeApp, Site
from tests.fakes import RED
from tests.service.conftest import Open, opened


def test_an_empty_store_is_ready(open_service: Open) -> None:
    with open_service() as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        response = client.get("/readyz")
        assert response.status_code == 200
        assert response.json() == {"status": "ready", "checks": {"model": "ok", "ledger": "none", "gallery": "none"}}


def test_a_store_with_people_is_ready(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.photo("person-01/1.png", RED)
    site.build()
    with opened(site.store) as client:
        assert client.get("/readyz").json()["checks"] == {"model": "ok", "ledger": "ok", "gallery": "ok"}
        assert "attendance_ledger_up 1.0" in client.get("/metrics").text


def test_a_store_that_fails_is_named_and_not_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = tmp_path / "private-name"
    store.mkdir()
    (store / "ledger.sqlite").write_bytes(b"this is no database, it only looks like one" * 100)
    with opened(store) as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "status": "not_ready",
            "checks": {"model": "ok", "ledger": "failed", "gallery": "none"},
        }
        assert any("private-name" in record.getMessage() for record in caplog.records)
        assert "attendance_ledger_up 0.0" in client.get("/metrics").text
        assert client.get("/healthz").status_code == 200
        # It looks again: what was away may be back.
        (store / "ledger.sqlite").unlink()
        time.sleep(1.1)
        assert client.get("/readyz").status_code == 200


def test_without_the_model_it_is_not_ready(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from attendance.config import Settings
    from attendance.service.application import create_app

    with FakeApp(Settings.model_validate({"store": {"path": tmp_path / "store"}})) as app:
        # Not entered, so that the application has not started.
        client = TestClient(create_app(app), base_url="http://localhost")
        response = client.get("/readyz")
        assert (response.status_code, response.json()["checks"]["model"]) == (503, "failed")


def test_a_look_that_hangs_has_failed_and_is_not_repeated() -> None:
    release, looked = threading.Event(), []

    def slow() -> Check:
        looked.append(1)
        release.wait(10.0)
        return Check.OK

    async def ask() -> list[dict[str, Check]]:
        first = await asyncio.gather(readiness.checks(), readiness.checks())
        release.set()
        await asyncio.sleep(0.05)
        return [*first, await readiness.checks()]

    readiness = Readiness({"quick": lambda: Check.NONE, "slow": slow}, patience_s=0.1)
    found = asyncio.run(ask())
    readiness.close()
    hanging = {"quick": Check.NONE, "slow": Check.FAILED}
    assert found == [hanging, hanging, {"quick": Check.NONE, "slow": Check.OK}]
    assert len(looked) == 1


def test_every_failure_is_told_apart() -> None:
    def away() -> Check:
        raise LedgerUnavailableError("away")

    def forbidden() -> Check:
        raise PermissionError("not yours")

    readiness = Readiness({"ledger": away, "gallery": forbidden, "model": lambda: Check.OK})
    assert asyncio.run(readiness.checks()) == {"ledger": "failed", "gallery": "failed", "model": "ok"}
    readiness.close()
