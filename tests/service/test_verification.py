"""``POST /verify``: its numbers, and every way in which two photos cannot be compared."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from attendance.threshold import threshold_at
from tests.building import Colour
from tests.fakes import BLUE, GREEN, RED, colour_card, picture, vector_of
from tests.images.test_photo import HEIC
from tests.service.conftest import OTHER, SAME, Open, check_problem, file_of, files, photo


def cosine_of(one: Colour, other: Colour) -> float:
    first, second = vector_of(one).astype(np.float64), vector_of(other).astype(np.float64)
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_the_same_person_and_another(client: TestClient) -> None:
    same, other = (client.post("/verify", files=given) for given in (SAME, OTHER))
    assert (same.status_code, other.status_code) == (200, 200)
    assert list(same.json()) == ["match", "distance", "threshold", "metric", "similarity", "far", "model"]
    assert (same.json()["match"], same.json()["distance"], same.json()["similarity"]) == (True, 0.0, 1.0)
    assert other.json()["match"] is False
    assert other.json()["similarity"] == pytest.approx(cosine_of(RED, BLUE), abs=2e-6)
    assert (other.json()["far"], other.json()["model"], other.json()["metric"]) == (0.001, "colours", "cosine")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distance_and_threshold_are_in_the_metric_asked_for(client: TestClient, metric: str) -> None:
    def distance(cosine: float) -> float:
        angle = math.acos(cosine)
        # The chord of the angle on the unit circle.
        return 1.0 - math.cos(angle) if metric == "cosine" else 2.0 * math.sin(angle / 2.0)

    answer = client.post("/verify", files=OTHER, data={"metric": metric}).json()
    assert answer["distance"] == pytest.approx(distance(cosine_of(RED, BLUE)), abs=5e-6)
    assert answer["threshold"] == pytest.approx(distance(threshold_at(colour_card().thresholds, 1e-3)), abs=2e-6)
    assert answer["match"] is (answer["distance"] <= answer["threshold"])
    assert client.post(f"/verify?metric={metric}", files=OTHER).json() == answer
    assert client.post(f"/verify?metric={metric}", files=OTHER, data={"metric": metric}).json() == answer


def test_both_metrics_agree_on_the_match(client: TestClient) -> None:
    for shift in range(0, 120, 8):
        given = files(photo(RED), photo((220, 30 + shift, 30)))
        cosine, euclidean = (client.post(f"/verify?metric={m}", files=given).json() for m in ("cosine", "euclidean"))
        assert cosine["match"] is euclidean["match"]


@pytest.mark.parametrize("metric", ["", "Cosine", "manhattan", "cosine ", "x" * 500])
def test_an_unknown_metric(client: TestClient, metric: str) -> None:
    body = check_problem(client.post("/verify", files=SAME, data={"metric": metric}), "unknown_metric", 422)
    assert "cosine, euclidean" in body["detail"]
    assert len(body["detail"]) < 120
    check_problem(client.post("/verify", files=SAME, params={"metric": metric}), "unknown_metric", 422)


def test_two_metrics(client: TestClient) -> None:
    asked = client.post("/verify?metric=cosine", files=SAME, data={"metric": "euclidean"})
    check_problem(asked, "invalid_request", 422)


@pytest.mark.parametrize("name", ["image1", "image2"])
def test_a_missing_photo_is_named(client: TestClient, name: str) -> None:
    others = {field: file for field, file in SAME.items() if field != name}
    cases: list[dict[str, Any]] = [
        {"files": others},
        {"files": others, "data": {name: "text"}},
        {"files": {**others, name: ("", b"")}},
    ]
    for given in cases:
        assert check_problem(client.post("/verify", **given), "missing_image", 422)["image"] == name


def test_nothing_at_all(client: TestClient) -> None:
    check_problem(client.post("/verify"), "missing_image", 422)


@pytest.mark.parametrize(
    ("headers", "content", "code", "status"),
    [
        ({"content-type": "application/json"}, b"{}", "unsupported_media_type", 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"image1=a", "unsupported_media_type", 415),
        ({}, b"image1", "unsupported_media_type", 415),
        ({"content-type": "multipart/form-data"}, b"--a--", "invalid_request", 422),
        ({"content-type": "multipart/form-data; boundary=a"}, b"no form", "invalid_request", 422),
        ({"content-type": "multipart/form-data; boundary=a"}, b"--a\r\n\r\nx\r\n--a--", "invalid_request", 422),
    ],
)
def test_no_form(client: TestClient, headers: dict[str, str], content: bytes, code: str, status: int) -> None:
    check_problem(client.post("/verify", headers=headers, content=content), code, status)


def test_a_photo_twice_and_far_too_many(client: TestClient) -> None:
    twice = [*SAME.items(), ("image2", ("again.png", photo(RED)))]
    check_problem(client.post("/verify", files=twice), "invalid_request", 422)
    many = [(f"image{number}", ("p.png", b"x")) for number in range(50)]
    check_problem(client.post("/verify", files=many), "invalid_request", 422)
    check_problem(client.post("/verify", files=SAME, data={"metric": "x" * 20_000}), "invalid_request", 422)


BROKEN: dict[str, tuple[bytes, str, str, int]] = {
    "nobody": (photo(), "no_face", "no_face", 422),
    "two alike": (photo(RED, GREEN), "several_faces", "several_faces", 422),
    "text": (b"certainly no photo", "broken_image", "not_an_image", 422),
    "cut short": (photo(RED, kind="JPEG")[:-200], "broken_image", "truncated", 422),
    "empty": (b"", "broken_image", "empty_file", 422),
    "bomb": (file_of(Image.new("1", (20_000, 9_000))), "image_too_large", "too_large", 413),
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("what", BROKEN)
def test_a_photo_that_cannot_be_used_is_named(client: TestClient, what: str, place: int) -> None:
    data, code, reason, status = BROKEN[what]
    given = files(*((data, photo(RED)) if place == 0 else (photo(RED), data)))
    body = check_problem(client.post("/verify", files=given), code, status)
    assert (body["image"], body["reason"]) == (f"image{place + 1}", reason)
    assert "private" not in str(body)


def test_a_bystander_is_no_hindrance(client: TestClient) -> None:
    crowd = file_of(Image.fromarray(picture((RED, (20, 60, 100)), (GREEN, (200, 60, 70)), size=(240, 320))))
    assert client.post("/verify", files=files(crowd, photo(RED))).json()["match"] is True


def test_quality_is_no_hindrance(client: TestClient) -> None:
    at_the_edge = file_of(Image.fromarray(picture((RED, (0, 0, 24)), size=(240, 320))))
    assert client.post("/verify", files=files(at_the_edge, photo(RED))).status_code == 200


KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}


@pytest.mark.parametrize(
    "data",
    [pytest.param(photo(RED, kind=kind, **options), id=kind) for kind, options in KINDS.items()],
)
def test_kinds_of_files(client: TestClient, data: bytes) -> None:
    assert client.post("/verify", files=files(data, photo(RED))).json()["similarity"] == pytest.approx(1.0, abs=1e-3)


def test_heic_is_read(client: TestClient) -> None:
    # Its four bright quarters touch: one patch that is somebody.
    assert client.post("/verify", files=files(HEIC, HEIC)).json()["match"] is True


def test_a_turned_photo_is_turned_back(client: TestClient) -> None:
    upright = Image.fromarray(picture((RED, (20, 60, 100)), (GREEN, (30, 170, 40)), size=(240, 320)))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = file_of(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert client.post("/verify", files=files(turned, file_of(upright))).json()["distance"] == 0.0


def test_nothing_touches_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # With nowhere to put a temporary file, whatever tries to make one fails.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    dark = np.zeros((1000, 1100, 3), np.uint8)
    dark[60:160, 20:120] = RED
    large = file_of(Image.fromarray(dark), compress_level=0)
    assert len(large) > 3_000_000
    assert client.post("/verify", files=files(large, large)).json()["match"] is True


def test_no_store_is_made(open_service: Open, tmp_path: Path) -> None:
    with open_service() as client:
        assert client.post("/verify", files=SAME).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_too_large(open_service: Open) -> None:
    with open_service(max_upload_mb=0.05) as client:
        announced = client.post("/verify", files=files(b"x" * 60_000, b""))
        assert "50000" in check_problem(announced, "image_too_large", 413)["detail"]
        headers = {"content-type": "multipart/form-data; boundary=a"}
        check_problem(
            client.post("/verify", headers=headers, content=(b"x" * 10_000 for _ in range(20))), "image_too_large", 413
        )
        assert client.post("/verify", files=SAME).status_code == 200
