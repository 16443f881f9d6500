"""Who may ask: tokens, names and origins."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from attendance.cli.main import main
from attendance.config import ServiceSection, load
from attendance.errors import ConfigError
from attendance.service.security import Access, access_for, read_token
from tests.service.conftest import HERE, SAME, TOKEN, Open, check_problem

WRONG = TOKEN[:-1] + "0"


def section(**keys: object) -> ServiceSection:
    return ServiceSection.model_validate(keys)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.fixture
def token_file(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = TOKEN + "\n", mode: int = 0o600) -> Path:
        path = tmp_path / "token"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000", "[::1]"])
def test_names_of_this_machine(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "127.0.0.2", "", "[", "localhost@evil.example"],
)
def test_other_names_are_refused_on_loopback(client: TestClient, host: str) -> None:
    for path in ("/", "/healthz", "/verify", "/nope"):
        check_problem(client.get(path, headers={"host": host}), "unknown_host", 421)


def test_other_sites_are_refused_on_loopback(client: TestClient) -> None:
    for origin in ("http://evil.example", "null", "https://127.0.0.1.evil.example", "http://127.0.0.1:9", "http://["):
        check_problem(client.post("/verify", files=SAME, headers={"origin": origin}), "cross_site", 403)
    assert client.post("/verify", files=SAME, headers={"origin": HERE}).status_code == 200
    assert "access-control-allow-origin" not in client.post("/verify", headers={"origin": HERE}).headers


OPEN_PATHS = ["/", "/healthz", "/readyz", "/static/welcome.css"]
CLOSED_PATHS = ["/docs", "/openapi.json", "/metrics", "/verify", "/nope", "/static", "/healthz/", "//", "/Healthz"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> object:
    from tests.service.conftest import opened

    access = Access(TOKEN, frozenset())
    with opened(tmp_path_factory.mktemp("guarded") / "store", access=access, max_upload_mb=0.1) as client:
        yield client


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_what_needs_no_token(guarded: TestClient, path: str) -> None:
    assert guarded.get(path, headers={"host": "faces.example.org"}).status_code == 200


@pytest.mark.parametrize("path", CLOSED_PATHS)
def test_what_needs_the_token(guarded: TestClient, path: str) -> None:
    url = HERE + path
    for value in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {WRONG}",
        f"bearer {TOKEN} x",
        f"Token {TOKEN}",
        TOKEN,
        "Bearer é",
    ):
        headers = [] if value is None else [(b"authorization", value.encode("latin-1"))]
        response = guarded.get(url, headers=headers)
        check_problem(response, "unauthorized", 401)
        assert response.headers["www-authenticate"].startswith(("Bearer ", "Basic "))
        assert TOKEN not in response.text
    assert guarded.get(url, headers={"authorization": f"bearer {TOKEN}"}).status_code != 401


def test_the_token_opens_and_a_password_opens_pages_alone(guarded: TestClient) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/verify", files=SAME, headers=bearer).status_code == 200
    for path in ("/docs", "/openapi.json", "/metrics"):
        assert guarded.get(path, headers={"authorization": basic(TOKEN)}).status_code == 200
        assert "Basic" in guarded.get(path).headers["www-authenticate"]
        check_problem(guarded.get(path, headers={"authorization": basic(WRONG)}), "unauthorized", 401)
        check_problem(guarded.get(path, headers={"authorization": "Basic ###"}), "unauthorized", 401)
        check_problem(guarded.post(path, headers={"authorization": basic(TOKEN)}), "unauthorized", 401)
    refused = guarded.post("/verify", files=SAME, headers={"authorization": basic(TOKEN)})
    check_problem(refused, "unauthorized", 401)
    assert refused.headers["www-authenticate"] == 'Bearer realm="attendance"'


def test_who_has_no_token_is_refused_before_the_photos_are_looked_at(guarded: TestClient) -> None:
    too_large = {"image1": ("a", b"x" * 200_000)}
    check_problem(guarded.post("/verify", files=too_large), "unauthorized", 401)
    check_problem(
        guarded.post("/verify", files=too_large, headers={"authorization": f"Bearer {TOKEN}"}), "image_too_large", 413
    )


def test_the_document_tells_of_the_token(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path in ("/", "/healthz", "/readyz", "/static/{name}")
            assert ("security" in operation, "401" in operation["responses"]) == (not is_open, not is_open)
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_access_on_loopback() -> None:
    for host, address in (("127.0.0.1", "127.0.0.1"), ("localhost", "::1"), ("127.0.0.9", "127.0.0.9")):
        access = access_for(section(), host=host, address=address)
        assert access.token is None
        assert {"localhost", "127.0.0.1", "::1", address} <= access.names
    assert access_for(section(token=TOKEN), host="localhost", address="::1").token == TOKEN


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0"])
def test_elsewhere_a_token_is_demanded(address: str) -> None:
    with pytest.raises(ConfigError, match="demands a token"):
        access_for(section(), host="here", address=address)
    assert access_for(section(token=TOKEN), host="here", address=address) == Access(TOKEN, frozenset())


def test_a_public_name_demands_a_token_and_is_let_in(open_service: Open) -> None:
    with pytest.raises(ConfigError, match="demands a token"):
        access_for(section(public_name="faces.example.org"), host="127.0.0.1", address="127.0.0.1")
    given = section(public_name="Faces.example.org", token=TOKEN)
    with open_service(access=access_for(given, host="127.0.0.1", address="127.0.0.1")) as client:
        assert client.get("/", headers={"host": "faces.example.org"}).status_code == 200
        check_problem(client.get("/", headers={"host": "evil.example"}), "unknown_host", 421)


def test_the_token_from_a_file(token_file: Callable[..., Path]) -> None:
    assert read_token(section()) is None
    for mode in (0o600, 0o400):
        assert read_token(section(token_file=token_file(mode=mode))) == TOKEN
        token_file().unlink()


@pytest.mark.skipif(os.name != "posix", reason="POSIX rights")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_may_use(token_file: Callable[..., Path], mode: int) -> None:
    with pytest.raises(ConfigError, match=f"mode {mode:04o} .*chmod 600"):
        read_token(section(token_file=token_file(mode=mode)))


def test_a_container_engine_sees_to_the_rights_of_its_secrets(token_file: Callable[..., Path]) -> None:
    path = token_file(mode=0o444)
    assert read_token(section(token_file=path), mounted=path.parent) == TOKEN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "32 characters or more, got 0"),
        (TOKEN[:31], "got 31"),
        (TOKEN + " x", "without spaces"),
        ("é" * 40, "ASCII"),
    ],
)
def test_a_file_without_a_good_token(token_file: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_token(section(token_file=token_file(text)))
    assert not text or text not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_token(section(token_file=path))


def test_token_and_file_together(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="keep one"):
        section(token=TOKEN, token_file=tmp_path)


@pytest.mark.parametrize("token", ["12345678901234567890123456789012", "1e5" + "0" * 30, "null" + "x" * 30])
def test_the_token_from_the_environment_is_taken_as_it_stands(token: str) -> None:
    settings = load(environment={"ATTENDANCE_SERVICE__TOKEN": token})
    assert settings.service.token.get_secret_value() == token
    assert token not in repr(settings) + settings.model_dump_json() + str(settings)
    assert token not in repr(Access(token))


def test_no_command_shows_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTENDANCE_SERVICE__TOKEN", TOKEN)
    assert main(["check-config", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert "service.token = ***" in shown.err
    assert TOKEN not in shown.out + shown.err
    weak = TOKEN[:20]
    monkeypatch.setenv("ATTENDANCE_SERVICE__TOKEN", weak)
    for command in ("check-config", "report"):
        assert main([command]) == 2
        shown = capsys.readouterr()
        assert "32 characters or more, got 20" in shown.err
        assert weak not in shown.out + shown.err


def test_a_token_in_the_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"service:\n  port: 8000\n  token: {TOKEN}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 3: service\.token: .*ATTENDANCE_SERVICE__TOKEN") as caught:
        load(path, environment={})
    assert TOKEN not in str(caught.value)
