"""``people reject`` and ``unreject``: a wrong match is remembered, respected, shown, forgotten and erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building import photo
from tests.cli.conftest import GREEN, RED, Run, open_ledger

NEAR_RED = (225, 40, 30)
"""Taken for red, and somebody else."""


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return photo(tmp_path / "door.png", NEAR_RED)


def test_a_rejected_match_is_remembered_until_it_is_forgotten(enrolled: Run, stranger: Path, tmp_path: Path) -> None:
    assert enrolled("identify", stranger, "--json", "-").json["identity_id"] == "red"
    made = enrolled("people", "reject", "red", stranger, "--json", "-")
    assert (made.code, len(made.json["added"]), made.json["own_photos"]) == (0, 1, [])
    assert "1 faces are remembered not to be red" in made.err
    asked = enrolled("identify", stranger, "--json", "-").json
    assert (asked["outcome"], asked["reason"], asked["identity_id"]) == ("ambiguous", "rejected", None)
    own = enrolled("identify", photo(tmp_path / "own.png", RED), "--json", "-").json
    assert (own["outcome"], own["identity_id"]) == ("known", "red")
    assert enrolled("gallery", "verify").code == 0
    shown = enrolled("people", "show", "red", "--json", "-").json
    assert [face["path"] for face in shown["rejected"]] == ["door.png"]
    assert f"not them         {shown['rejected'][0]['face']} (door.png" in enrolled("people", "show", "red").out
    assert enrolled("people", "reject", "red", stranger, "--json", "-").json["added"] == []
    gone = enrolled("people", "unreject", "red", shown["rejected"][0]["face"], "--json", "-").json
    assert (gone["removed"], gone["rejected"]) == ([shown["rejected"][0]["face"]], [])
    assert enrolled("identify", stranger, "--json", "-").json["identity_id"] == "red"


def test_the_face_is_erased_with_the_person(enrolled: Run, stranger: Path, store: Path) -> None:
    assert enrolled("people", "reject", "red", stranger).code == 0
    with open_ledger(store) as ledger:
        found = ledger.person("red")
    assert found is not None
    assert enrolled("people", "remove", "red", "--yes").code == 0
    rest = b"".join(path.read_bytes() for path in store.glob("ledger.sqlite*"))
    assert found.rejected[0].vector.tobytes() not in rest


def test_a_persons_own_photo_is_not_taken_for_somebody_elses(enrolled: Run, tmp_path: Path) -> None:
    refused = enrolled("people", "reject", "red", tmp_path / "red.png")
    assert (refused.code, "is enrolled as red" in refused.err) == (2, True)
    assert enrolled("people", "show", "red", "--json", "-").json["rejected"] == []


def test_a_face_that_would_cost_the_person_their_own_photos_asks_for_yes(enrolled: Run, tmp_path: Path) -> None:
    assert enrolled("enrol", "red", photo(tmp_path / "second.png", (240, 30, 60))).code == 0
    again = photo(tmp_path / "again.png", RED, side=104)
    refused = enrolled("people", "reject", "red", again)
    assert (refused.code, "give --yes" in refused.err) == (2, True)
    made = enrolled("people", "reject", "red", again, "--yes", "--json", "-").json
    assert (len(made["rejected"]), made["own_photos"] != []) == (1, True)


def test_what_cannot_be_rejected_or_forgotten_is_told(enrolled: Run, stranger: Path, tmp_path: Path) -> None:
    assert enrolled("people", "reject", "nobody", stranger).code == 2
    assert enrolled("people", "reject", "red", tmp_path / "missing.png").code == 2
    faceless = enrolled("people", "reject", "red", photo(tmp_path / "empty.png"))
    assert (faceless.code, "no_face" in faceless.err) == (1, True)
    unknown = enrolled("people", "unreject", "red", "not-there")
    assert (unknown.code, "people show" in unknown.err) == (2, True)
    assert enrolled("people", "unreject", "green", "--json", "-").json["removed"] == []
    assert GREEN != NEAR_RED
