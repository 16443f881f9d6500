"""``identify`` and ``verify``, with fakes for every case and with the real networks on the two sample portraits."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.app import App
from demo.portraits import EILEEN_COLLINS, GRACE_HOPPER, locate
from tests.building import photo
from tests.cli.conftest import BLUE, GREEN, RED, Run

IDENTIFIED = [
    "outcome", "identity_id", "similarity", "runner_up", "margin", "threshold", "reason", "box", "candidates", "model",
]  # fmt: skip


def test_identified_by_name_with_the_runner_up(enrolled: Run, tmp_path: Path) -> None:
    ran = enrolled("identify", photo(tmp_path / "p.png", RED), "--json", "-")
    assert (ran.code, list(ran.json)) == (0, IDENTIFIED)
    assert (ran.json["outcome"], ran.json["identity_id"], ran.json["reason"]) == ("known", "red", "match")
    assert ran.json["runner_up"]["identity_id"] == "green"
    assert ran.json["box"] == [20.0, 60.0, 120.0, 160.0]
    assert [list(row) for row in ran.json["candidates"]] == [["rank", "identity_id", "name", "similarity"]] * 2
    assert ran.err.startswith("red: similarity 1.000")


def test_the_box_is_in_pixels_of_the_photo_also_where_it_was_shrunk(
    enrolled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTENDANCE_ENROL__MAX_SIDE_PX", "200")
    box = enrolled("identify", photo(tmp_path / "p.png", RED), "--json", "-").json["box"]
    assert box == pytest.approx([20.0, 60.0, 120.0, 160.0], abs=2.5)


def test_top_k_lists_people_and_decides_the_same(enrolled: Run, tmp_path: Path) -> None:
    ran = enrolled("identify", photo(tmp_path / "p.png", GREEN), "--top-k", "1", "--json", "-")
    assert [row["identity_id"] for row in ran.json["candidates"]] == ["green"]
    assert ran.json["runner_up"]["identity_id"] == "red"


def test_a_stranger_is_unknown_and_no_failure(enrolled: Run, tmp_path: Path) -> None:
    ran = enrolled("identify", photo(tmp_path / "p.png", BLUE), "--json", "-")
    assert (ran.code, ran.json["outcome"], ran.json["identity_id"]) == (0, "unknown", None)
    assert ran.json["reason"] == "below_threshold"
    assert len(ran.json["candidates"]) == 2


def test_nobody_enrolled_is_unknown(run: Run, store: Path, tmp_path: Path) -> None:
    store.mkdir()
    ran = run("identify", photo(tmp_path / "p.png", RED), "--json", "-")
    assert (ran.code, ran.json["outcome"], ran.json["reason"], ran.json["candidates"]) == (
        0, "unknown", "empty_gallery", [],
    )  # fmt: skip
    assert "nobody is enrolled" in ran.err


@pytest.mark.parametrize(("name", "content", "told"), [
    ("empty.jpg", b"", "empty_file"), ("text.jpg", b"no picture at all", "not_an_image"),
    ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00", "truncated"), ("nobody.png", None, "no_face"),
])  # fmt: skip
def test_a_photo_that_cannot_be_read_is_wrong_use_and_one_without_a_face_a_failure(
    enrolled: Run, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is None:
        photo(path)
    else:
        path.write_bytes(content)
    for words in (("identify", path), ("verify", path, path)):
        ran = enrolled(*words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1 if content is None else 2, "", 1)
        assert str(path) in ran.err
        assert told in ran.err or "not_an_image" in ran.err


def test_verify_compares_two_photos_without_a_store(run: Run, store: Path, tmp_path: Path) -> None:
    red, again, green = (photo(tmp_path / f"{i}.png", colour) for i, colour in enumerate((RED, RED, GREEN)))
    same = run("verify", red, again, "--json", "-")
    assert list(same.json) == ["match", "similarity", "distance", "threshold", "far", "model"]
    assert (same.code, same.json["match"], same.json["distance"]) == (0, True, pytest.approx(0.0, abs=1e-6))
    other = run("verify", red, green, "--json", "-")
    assert (other.code, other.json["match"]) == (0, False)
    assert "different people" in other.err
    assert not (store / "ledger.sqlite").exists()


def test_the_real_networks_tell_the_two_portraits_apart(run: Run, tmp_path: Path) -> None:
    grace, eileen = (locate(portrait) for portrait in (GRACE_HOPPER, EILEEN_COLLINS))
    same = run("verify", grace, grace, "--json", "-", make_app=App).json
    assert (same["match"], same["model"]) == (True, "dlib-resnet29")
    other = run("verify", grace, eileen, "--json", "-", make_app=App).json
    assert other["match"] is False
    assert run("enrol", "grace-hopper", grace, make_app=App).code == 0
    assert run("identify", grace, "--json", "-", make_app=App).json["identity_id"] == "grace-hopper"
    assert run("identify", eileen, "--json", "-", make_app=App).json["outcome"] == "unknown"
