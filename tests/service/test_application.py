"""What holds for every route: errors, headers, the log, the metrics, the documents."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from attendance.service.problem import KINDS
from attendance.service.routes.pages import static_files
from attendance.service.security import OPEN, STATIC, Access
from tests.building import BrightDetector, FakeApp
from tests.service.conftest import SAME, TOKEN, Open, check_problem
from tests.test_docs import page, section

ROUTES = [
    ("get", "/"),
    ("get", "/docs"),
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/readyz"),
    ("get", "/static/{name}"),
    ("post", "/verify"),
]


class BrokenDetector(BrightDetector):
    """Fails when told to."""

    fails = False

    def detect(self, images: Any) -> Any:
        if self.fails:
            raise RuntimeError("private detail")
        return super().detect(images)


class BrokenApp(FakeApp):
    """An app whose detector fails once it is warm."""

    @cached_property
    def detector(self) -> BrokenDetector:
        return BrokenDetector()

    def warm_up(self) -> float:
        seconds = super().warm_up()
        self.detector.fails = True
        return seconds


def test_the_routes_are_these(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert sorted((method, path) for path, operations in paths.items() for method in operations) == sorted(ROUTES)


def test_every_route_and_code_is_on_the_page() -> None:
    text = page("api.md")
    named = re.findall(r"^\| `(GET|POST) (/[^`]*)`.*\| (yes|no) \|$", section(text, "Requests"), re.MULTILINE)
    assert sorted((method.lower(), path) for method, path, _ in named) == sorted(ROUTES)
    for _, path, needs_token in named:
        assert (needs_token == "no") is (path in OPEN or path.startswith(STATIC)), path
    codes = re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", section(text, "Errors"), re.MULTILINE)
    assert {code: int(status) for code, status in codes} == {str(code): kind[0] for code, kind in KINDS.items()}


def test_an_address_that_is_not_there(client: TestClient) -> None:
    for path in ("/nope", "/verify/", "/static/", "/static/nope.js", "/static/../pages/docs.html", "/docs/x"):
        check_problem(client.get(path), "not_found", 404)


def test_a_method_that_is_not_known(client: TestClient) -> None:
    response = client.get("/verify")
    check_problem(response, "method_not_allowed", 405)
    assert response.headers["allow"] == "POST"
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        check_problem(client.request(method, "/healthz"), "method_not_allowed", 405)


def test_head_is_get_without_a_body(client: TestClient) -> None:
    for _, path in ROUTES[:6]:
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b"")
    assert client.head("/healthz").headers["content-length"] == str(len(client.get("/healthz").content))


def test_what_nobody_expected(open_service: Open, caplog: pytest.LogCaptureFixture) -> None:
    with open_service(make_app=BrokenApp) as client:
        response = client.post("/verify", files=SAME)
        body = check_problem(response, "internal", 500)
        assert "private" not in response.text
        assert response.headers["x-request-id"] in body["detail"]
        assert any(response.headers["x-request-id"] in record.getMessage() for record in caplog.records)
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/nope", "/static/docs.js", "/healthz"])
def test_headers_for_browsers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        response = client.get(path)
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        wanted = re.findall(r'(?:href|src|action)="([^"]*)"', response.text)
        assert not any("//" in address for address in wanted)
        for address in wanted:
            found = client.get(address) if address != "verify" else client.post("/verify", files=SAME)
            assert found.status_code == 200, address
        # The policy forbids scripts and styles within the page.
        assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son[a-z]+=", response.text)
        assert 'lang="en"' in response.text
        assert 'name="viewport"' in response.text


def test_every_input_of_the_welcome_page_has_a_label(open_service: Open) -> None:
    with open_service(access=Access(TOKEN)) as client:
        text = client.get("/").text
    ids = re.findall(r"<(?:input|select) id=\"([a-z0-9]+)\"", text)
    assert ids == ["image1", "image2", "metric", "token"]
    assert re.findall(r"<label for=\"([a-z0-9]+)\"", text) == ids


def test_swagger_ui_comes_from_here(client: TestClient) -> None:
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        response = client.get(f"/static/{name}")
        assert response.content == static_files()[name].read_bytes()
        assert response.headers["content-type"].startswith("text/javascript" if name.endswith("js") else "text/css")


def test_every_field_is_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for name in ("Verification", "Alive", "Ready", "Problem"):
        schema = document["components"]["schemas"][name]
        assert schema["description"]
        for key, field in schema["properties"].items():
            assert field["description"], (name, key)
            assert field["examples"], (name, key)
            if field.get("type") in ("number", "integer"):
                assert {"minimum", "exclusiveMinimum"} & field.keys(), (name, key)
                assert {"maximum", "exclusiveMaximum"} & field.keys(), (name, key)


def test_errors_and_form_are_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    verify = document["paths"]["/verify"]["post"]
    form = verify["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image1", "image2"]
    assert form["properties"]["metric"]["enum"] == ["cosine", "euclidean"]
    described = {
        code
        for status, answer in verify["responses"].items()
        if status != "200"
        for code in answer["content"]["application/problem+json"]["examples"]
    }
    assert described == {str(code) for code in KINDS} - {"not_found", "method_not_allowed", "unauthorized"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for reference in references(document):
        assert reference.rsplit("/", 1)[1] in document["components"]["schemas"], reference
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def references(value: Any) -> Iterator[str]:
    """Every ``$ref`` within."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


def test_the_answer_is_as_described(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    answer = client.post("/verify", files=SAME).json()
    assert list(answer) == list(schemas["Verification"]["properties"])
    keys = re.findall(r"^\| `([a-z]+)` \|", section(page("api.md"), "`POST /verify`"), re.MULTILINE)
    assert keys == list(answer)


def test_the_log_names_patterns_and_nobody(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.post("/verify?metric=cosine&who=somebody", files=SAME)
        client.get("/people/somebody?who=somebody")
        client.get("/static/welcome.css")
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("attendance"))
    assert re.search(r"^POST /verify 200 in \d+ ms$", text, re.MULTILINE)
    assert "GET unmatched 404" in text
    assert "GET /static/{name} 200" in text
    for private in ("somebody", "private", "testclient", "127.0.0.1", "welcome.css"):
        assert private not in text


def test_requests_are_counted_by_pattern(open_service: Open) -> None:
    with open_service() as client:
        client.post("/verify", files=SAME)
        client.post("/verify")
        client.get("/nope")
        client.get("/healthz", headers={"host": "evil.example"})
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'attendance_http_requests_total{method="POST",route="/verify",status="200"} 1.0',
        'attendance_http_requests_total{method="POST",route="/verify",status="422"} 1.0',
        'attendance_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'attendance_http_requests_total{method="GET",route="refused",status="421"} 1.0',
        'attendance_http_request_seconds_count{method="POST",route="/verify"} 2.0',
        "attendance_http_requests_in_flight 1.0",
    ):
        assert line in response.text


def test_importing_the_command_brings_no_web_framework() -> None:
    source = Path(__file__).resolve().parents[2] / "attendance" / "cli" / "serve.py"
    assert "fastapi" not in source.read_text(encoding="utf-8")
