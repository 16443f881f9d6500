"""The service with networks that need no weights, asked as a program asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from attendance.app import App
from attendance.config import Settings
from attendance.service.application import create_app
from attendance.service.security import Access
from tests.building import Colour, FakeApp
from tests.fakes import BLUE, RED, picture

HERE = "http://127.0.0.1:8000"
TOKEN = "0123456789abcdef0123456789abcdef"

Opened = AbstractContextManager[TestClient]
Open = Callable[..., Opened]


def photo(*colours: Colour, side: int = 100, kind: str = "PNG", **options: Any) -> bytes:
    """A photo's file, with one face per colour."""
    patches = [(colour, (20 + 130 * place, 60, side)) for place, colour in enumerate(colours)]
    return file_of(Image.fromarray(picture(*patches, size=(240, 320))), kind=kind, **options)


def file_of(image: Image.Image, *, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the file that it would be saved to."""
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def files(first: bytes, second: bytes) -> dict[str, tuple[str, bytes]]:
    """Two photos, as a form's files."""
    return {"image1": ("private-name-1.png", first), "image2": ("private-name-2.png", second)}


SAME, OTHER = files(photo(RED), photo(RED)), files(photo(RED), photo(BLUE))


@contextmanager
def opened(
    store: Path, *, make_app: Callable[[Settings], App] = FakeApp, access: Access | None = None, **service: Any
) -> Iterator[TestClient]:
    """A client of a service whose section ``service`` is as given."""
    with make_app(Settings.model_validate({"store": {"path": store}, "service": service})) as app:
        api = create_app(app) if access is None else create_app(app, access=access)
        with TestClient(api, base_url=HERE, raise_server_exceptions=False) as client:
            yield client


@pytest.fixture
def open_service(tmp_path: Path) -> Open:
    """Open a service on a store that is not there."""

    def call(**options: Any) -> Opened:
        return opened(tmp_path / "store", **options)

    return call


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service as it starts by default, on a store that is not there."""
    with opened(tmp_path_factory.mktemp("service") / "store") as client:
        yield client


def check_problem(response: Any, code: str, status: int) -> dict[str, Any]:
    """The body of an answer that must be this problem."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body: dict[str, Any] = response.json()
    assert (body["code"], body["status"]) == (code, status)
    assert body["type"] == f"urn:face-attendance:problem:{code}"
    assert body["title"]
    assert body["detail"]
    return body
