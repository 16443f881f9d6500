"""``gallery verify|rebuild``."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.building import photo
from tests.cli.conftest import RED, Run, insert_people

KEYS = ["clean", "damaged", "people", "templates", "missing", "extra", "different", "foreign", "fault"]


def test_a_gallery_that_agrees(enrolled: Run) -> None:
    ran = enrolled("gallery", "verify", "--json", "-")
    assert (ran.code, list(ran.json)) == (0, KEYS)
    assert (ran.json["clean"], ran.json["people"], ran.json["templates"]) == (True, 2, 2)


def test_a_store_where_nobody_is_enrolled_is_clean(run: Run, store: Path) -> None:
    store.mkdir()
    for _ in range(2):
        ran = run("gallery", "verify", "--json", "-")
        assert (ran.code, ran.json["clean"], ran.json["templates"]) == (0, True, 0)
    assert not (store / "chroma").exists()
    assert run("gallery", "rebuild").code == 0
    assert run("gallery", "verify").code == 0


def test_a_difference_is_a_failure_and_a_rebuild_mends_it(enrolled: Run, store: Path) -> None:
    insert_people(store, "blue")
    from tests.cli.conftest import BLUE, open_ledger
    from tests.fakes import person

    with open_ledger(store) as ledger:
        assert ledger.insert_person(person("yellow", BLUE))
    ran = enrolled("gallery", "verify", "--json", "-")
    assert (ran.code, ran.json["clean"], ran.json["missing"]) == (1, False, ["yellow-0"])
    assert "gallery rebuild" in ran.err
    assert enrolled("gallery", "rebuild", "--json", "-").json == {"templates": 3}
    assert enrolled("gallery", "verify").code == 0


def test_a_gallery_that_is_gone_or_damaged_is_told_and_rebuilt(enrolled: Run, store: Path, tmp_path: Path) -> None:
    (store / "chroma" / "chroma.sqlite3").write_bytes(b"nonsense" * 1000)
    damaged = enrolled("gallery", "verify", "--json", "-")
    assert (damaged.code, damaged.json["clean"], damaged.json["damaged"]) == (1, False, True)
    assert enrolled("gallery", "rebuild").code == 0
    shutil.rmtree(store / "chroma")
    assert enrolled("gallery", "verify").code == 1
    assert enrolled("identify", photo(tmp_path / "p.png", RED), "--json", "-").json["identity_id"] == "red"
    assert enrolled("gallery", "rebuild").code == 0
    assert enrolled("gallery", "verify").code == 0
