"""``gallery audit|selftest|batches|undo`` as a user types them."""

from __future__ import annotations

from pathlib import Path

from tests.building import photo
from tests.cli.conftest import BLUE, RED, Run


def test_doubles_and_people_with_one_photo_are_told(enrolled: Run, tmp_path: Path) -> None:
    enrolled("enrol", "again", photo(tmp_path / "again.png", RED))
    audit = enrolled("gallery", "audit", "--json", "-")
    assert (audit.code, audit.json["people"], audit.json["templates"]) == (0, 3, 3)
    assert [(p["one"], p["other"], p["punches"]) for p in audit.json["duplicates"]] == [("again", "red", [0, 0])]
    assert [(p["one"], p["other"]) for p in audit.json["look_alikes"]] == [("again", "red")]
    # Enrolled with a photo of 2026 just now: nobody is expected to have come yet.
    assert (audit.json["not_seen"], audit.json["misfits"], audit.json["idle_days"]) == ([], [], 30)
    assert "again and red look like one person" in audit.err
    assert enrolled("gallery", "audit", "--idle-days", "0").code == 2


def test_the_self_test_of_an_empty_store_and_of_people(run: Run, tmp_path: Path) -> None:
    run("enrol", "two", photo(tmp_path / "a.png", RED), photo(tmp_path / "b.png", RED, side=90))
    run("enrol", "one", photo(tmp_path / "c.png", BLUE))
    ran = run("gallery", "selftest", "--json", "-")
    assert {key: ran.json[key] for key in ("people", "works", "fails", "untested")} == {
        "people": 2, "works": 1, "fails": 0, "untested": 1,
    }  # fmt: skip
    assert [(r["identity_id"], r["works"], len(r["photos"])) for r in ran.json["results"]] == [
        ("one", None, 0),
        ("two", True, 2),
    ]
    assert "needs a second photo" in ran.err


def test_a_batch_is_listed_and_undone_by_the_beginning_of_its_id(enrolled: Run, tmp_path: Path) -> None:
    batch = enrolled("enrol", "wrong", photo(tmp_path / "w.png", BLUE), "--json", "-").json["batch"]
    listed = enrolled("gallery", "batches", "--json", "-").json["batches"]
    assert (len(listed), listed[-1]["source_labels"]) == (3, ["enrol"])
    assert batch in [entry["batch"] for entry in listed]
    asked = enrolled("gallery", "undo", batch[:12])
    assert (asked.code, "1 templates of 1 people" in asked.err) == (2, True)
    undone = enrolled("gallery", "undo", batch[:12], "--yes", "--json", "-")
    assert undone.json == {"batch": batch, "templates": 1, "people": [], "erased": ["wrong"]}
    assert enrolled("gallery", "verify", "--json", "-").json["people"] == 2
    assert enrolled("gallery", "undo", batch, "--yes").code == 2
