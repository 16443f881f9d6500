"""What the container `roles` does, carried out as docker-compose.yml says it, on a server that asks for passwords."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from attendance.errors import LedgerError
from attendance.ledger.opening import open_ledger
from attendance.ledger.port import Ledger
from attendance.types import Consent, Person
from tests.ledger.server import Server
from tools import container_secrets, mongodb_roles


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[Server]:
    """A server as MongoDB's image leaves it: the root user of the secrets, and a password for everything."""
    assert container_secrets.main(["--kiosk-host", "mongo"], root=tmp_path) == 0
    server = Server(tmp_path / "data")
    password = (tmp_path / "secrets" / "mongo_root_password").read_text(encoding="utf-8")
    with MongoClient[dict[str, Any]](server.url("admin")) as client:
        client["admin"].command("createUser", "root", pwd=password, roles=["root"])
    server.stop()
    server.options.append("--auth")
    server.start()
    # The addresses name the server as containers know it, and a kiosk asks for TLS.
    for name in container_secrets.ADDRESSES:
        path = tmp_path / "secrets" / name
        path.chmod(0o600)
        address = path.read_text(encoding="utf-8").replace("mongo:27017", server.address).removesuffix("?tls=true")
        path.write_text(address, encoding="utf-8")
    yield server
    server.kill()


def apply(compose: dict[str, Any], secrets: Path) -> int:
    roles = compose["services"]["roles"]
    assert roles["entrypoint"][:3] == ["python", "-m", "tools.mongodb_roles"]
    words = [*roles["entrypoint"][3:], *roles["command"]]
    return mongodb_roles.main([word.replace("/run/secrets", str(secrets)) for word in words])


def test_service_and_kiosk_get_in_and_a_new_password_locks_the_old_one_out(
    tmp_path: Path, compose: dict[str, Any], mongo: Server
) -> None:
    secrets = tmp_path / "secrets"

    def opened(name: str) -> Ledger:
        url = (secrets / name).read_text(encoding="utf-8")
        return open_ledger(url, tmp_path / "none", cooldown_s=300.0, time_zones={"main": ZoneInfo("UTC")})

    assert apply(compose, secrets) == 0
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    consent = Consent(policy="attested", version="1", at=moment, by="operator")
    person = Person("person-01", "ref-01", version=1, created_at=moment, consent=consent)
    with opened("ledger_url") as service:
        assert service.insert_person(person)
    with opened("kiosk_ledger_url") as kiosk:
        assert [each.identity_id for each in kiosk.people()] == ["person-01"]
    with MongoClient[dict[str, Any]](mongo.url("attendance")) as nobody, pytest.raises(OperationFailure):
        nobody["attendance"]["people"].find_one({})

    (secrets / "mongo_kiosk_password").unlink()
    (secrets / "mongo_kiosk_password").write_text("another", encoding="utf-8")
    assert apply(compose, secrets) == 0
    with pytest.raises(LedgerError, match="refused the user or the password"):
        opened("kiosk_ledger_url")
    with opened("ledger_url") as service:
        assert len(service.people()) == 1
