"""The real networks on the two sample portraits, and the same numbers from the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from attendance.app import App
from attendance.cli.main import main
from attendance.config import Settings
from attendance.service.application import create_app
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, locate
from tests.service.conftest import HERE, check_problem, file_of, files


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with App(Settings.model_validate({"store": {"path": tmp_path_factory.mktemp("store")}})) as app:
        yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def portraits() -> tuple[Image.Image, Image.Image]:
    with Image.open(locate(GRACE_HOPPER)) as first, Image.open(locate(EILEEN_COLLINS)) as second:
        return first.convert("RGB"), second.convert("RGB")


def compared(client: TestClient, first: bytes, second: bytes) -> dict[str, Any]:
    response = client.post("/verify", files=files(first, second))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_two_people_and_one(client: TestClient, portraits: tuple[Image.Image, Image.Image]) -> None:
    hopper, collins = portraits
    smaller = hopper.resize((hopper.width * 3 // 4, hopper.height * 3 // 4), Image.Resampling.BICUBIC)
    assert compared(client, file_of(hopper), file_of(collins))["match"] is False
    assert compared(client, file_of(hopper), file_of(smaller, kind="JPEG", quality=85))["match"] is True


def test_a_turned_photo_is_the_same_one(client: TestClient, portraits: tuple[Image.Image, Image.Image]) -> None:
    hopper = portraits[0]
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = file_of(hopper.transpose(Image.Transpose.ROTATE_270), exif=exif)
    assert compared(client, file_of(hopper), turned)["distance"] == 0.0


def test_two_equal_faces_are_refused(client: TestClient, portraits: tuple[Image.Image, Image.Image]) -> None:
    hopper = portraits[0]
    both = Image.new("RGB", (2 * hopper.width, hopper.height))
    both.paste(hopper, (0, 0))
    both.paste(hopper, (hopper.width, 0))
    response = client.post("/verify", files=files(file_of(hopper), file_of(both, kind="JPEG")))
    assert check_problem(response, "several_faces", 422)["image"] == "image2"


def test_a_landscape_shows_nobody(client: TestClient, portraits: tuple[Image.Image, Image.Image]) -> None:
    slope = np.linspace(0, 255, 320, dtype=np.uint8)
    landscape = file_of(Image.fromarray(np.broadcast_to(slope[None, :, None], (240, 320, 3)).copy()))
    response = client.post("/verify", files=files(landscape, file_of(portraits[0])))
    assert check_problem(response, "no_face", 422)["image"] == "image1"


def test_the_command_says_the_same(app: App, client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [Path(locate(portrait)) for portrait in (GRACE_HOPPER, EILEEN_COLLINS)]
    # The networks are loaded already: the command is given the same objects.
    assert main(["verify", *map(str, paths), "--json", "-"], make_app=lambda _: app) == 0
    told = json.loads(capsys.readouterr().out)
    answer = compared(client, *(path.read_bytes() for path in paths))
    assert answer["similarity"] == told["similarity"]
    assert answer["distance"] == told["distance"]
    assert answer["threshold"] == pytest.approx(1.0 - told["threshold"], abs=1e-6)
    assert (answer["match"], answer["far"], answer["model"]) == (told["match"], told["far"], told["model"])
