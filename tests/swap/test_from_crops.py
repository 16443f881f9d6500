"""A swap without photos: from the crops that enrolment kept, encrypted, where that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building import Site, colour_of, photo
from tests.swap.conftest import TINY, Run, SwapApp, by_tiny, in_force, named


@pytest.fixture
def keeping(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store with a key for crops from now on; nothing is kept of those who are in. The key's file."""
    path = site.store.parent / "crops.key"
    assert run("crops", "new-key", path).code == 0
    monkeypatch.setenv("ATTENDANCE_CROPS__KEEP", "encrypted")
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(path))
    return path


def crops(site: Site) -> int:
    return len(list((site.store / "crops").glob("*/*.age")))


def test_nothing_is_kept_unasked(site: Site, run: Run) -> None:
    assert not (site.store / "crops").exists()
    shown = run("crops", "show", "--json", "-").json
    assert (shown["keeps"], shown["crops"], shown["missing"]) == (False, 0, {"ann-1": 2, "bob-2": 2, "cem-3": 2})


def test_who_was_kept_is_swapped_without_photos_and_the_others_are_listed(
    site: Site, run: Run, keeping: Path, tmp_path: Path
) -> None:
    red, green, blue = colour_of(3)
    for place in range(2):
        site.photo(f"dee-4/{place}.png", (red, green, max(blue - 9 * place, 0)))
    picture = site.people / "dee-4" / "0.png"
    expected = by_tiny(site, picture, place=0)
    assert site.run(app=SwapApp) == 0
    assert crops(site) == 2
    site.people.rename(tmp_path / "gone")
    waits = run("models", "swap", TINY, "--json", "-")
    assert (waits.code, waits.json["made"], len(waits.json["unmade"])) == (1, 2, 6)
    assert {row["reason"] for row in waits.json["unmade"]} == {"no_source"}
    assert [row["identity_id"] for row in waits.json["waiting"]] == ["ann-1", "bob-2", "cem-3"]
    filled = run("crops", "fill", tmp_path / "gone", "--json", "-")
    assert (filled.code, filled.json) == (0, {"kept": 6, "unmade": []})
    assert run("models", "swap", TINY).code == 0
    assert in_force(site)["dee-4"] == [TINY, TINY, "|", "colours", "colours"]
    assert float(site.enrolled()["dee-4"].templates[0].vector @ expected) > 0.9999
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"


def test_crops_go_with_the_person_the_photo_and_the_batch(site: Site, run: Run, keeping: Path, tmp_path: Path) -> None:
    assert run("crops", "fill", site.people).code == 0
    assert crops(site) == 6
    assert run("people", "remove", "bob-2", "--yes").code == 0
    assert crops(site) == 4
    (site.people / "ann-1" / "1.png").unlink()
    (site.people / "bob-2" / "0.png").unlink()
    (site.people / "bob-2" / "1.png").unlink()
    assert site.run("--prune", app=SwapApp) == 0
    assert crops(site) == 3
    made = run("enrol", "eve-5", photo(tmp_path / "eve.png", colour_of(4)), "--json", "-")
    assert (made.code, crops(site)) == (0, 4)
    assert run("people", "deactivate", "eve-5").code == 0
    assert crops(site) == 4
    assert run("gallery", "undo", made.json["batch"], "--yes").code == 0
    assert crops(site) == 3
    assert run("crops", "remove", "--yes", "--json", "-").json == {"deleted": 3}
    assert set(run("crops", "show", "--json", "-").json["missing"]) == {"ann-1", "cem-3"}


def test_a_dry_run_keeps_nothing(site: Site, run: Run, keeping: Path) -> None:
    site.photo("dee-4/0.png", colour_of(3))
    assert site.run("--prune", "--dry-run", app=SwapApp) == 0
    assert not (site.store / "crops").exists()


def test_the_key_decides_and_can_be_changed(
    site: Site, run: Run, keeping: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("crops", "fill", site.people).code == 0
    first = run("crops", "show", "--json", "-").json["by_key"]
    other = tmp_path / "other.key"
    fresh = run("crops", "new-key", other, "--json", "-").json["fingerprint"]
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(other))
    wrong = run("models", "swap", TINY)
    assert wrong.code == 2 and f"held is {fresh}" in wrong.err and next(iter(first)) in wrong.err
    failed = run("crops", "rotate", "--json", "-")
    assert (failed.code, failed.json["rotated"], len(failed.json["failed"])) == (1, 0, 6)
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(keeping))
    newest = run("crops", "new-key", keeping, "--json", "-").json["fingerprint"]
    assert run("crops", "rotate", "--json", "-").json == {"key": newest, "rotated": 6, "failed": []}
    assert run("crops", "show", "--json", "-").json["by_key"] == {newest: 6}
    # The newest key alone opens them now, also out of the environment.
    monkeypatch.delenv("ATTENDANCE_CROPS__KEY_FILE")
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY", keeping.read_text("ascii").splitlines()[-1])
    assert run("models", "swap", TINY).code == 0


def test_wrong_use_is_one_sentence(site: Site, run: Run, keeping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("crops", "fill", site.people).code == 0
    monkeypatch.setenv("ATTENDANCE_CROPS__KEEP", "off")
    off = run("crops", "fill", site.people)
    assert (off.code, "crops.keep" in off.err) == (2, True)
    monkeypatch.delenv("ATTENDANCE_CROPS__KEY_FILE")
    said = run("models", "swap", TINY)
    assert said.code == 1 and "no key for them" in said.out
    monkeypatch.setenv("ATTENDANCE_CROPS__KEEP", "encrypted")
    none = run("crops", "show")
    assert none.code == 2 and "name a file as key_file, then make it with crops new-key" in none.err
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(site.store.parent / "made.key"))
    assert run("crops", "new-key", site.store.parent / "made.key").code == 0
    inside = run("crops", "new-key", site.store / "inside.key")
    assert inside.code == 2 and "lies in the store" in inside.err and not (site.store / "inside.key").exists()
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(site.store.parent / "none.key"))
    before = len(site.enrolled())
    site.photo("dee-4/0.png", colour_of(3))
    assert (site.run(app=SwapApp), len(site.enrolled())) == (2, before)
    monkeypatch.setenv("ATTENDANCE_CROPS__KEY_FILE", str(keeping))
    (site.store / "crops" / "ledger.id").write_text("another", encoding="ascii")
    assert site.run(app=SwapApp) == 2
    assert crops(site) == 6
