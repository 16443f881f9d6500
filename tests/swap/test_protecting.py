"""``protect``: a key is put on, changed and taken off; without it nobody is recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.building import Site, colour_of, photo
from tests.swap.conftest import TINY, Run, in_force, key_file, named, vectors_of


def test_a_key_is_put_on_changed_and_taken_off(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = vectors_of(site)
    picture = photo(tmp_path / "bob.png", colour_of(1))
    path = key_file(run, site, monkeypatch)
    for turn in range(2):
        if turn:
            assert run("protect", "new-key", path).code == 0
        rotated = run("protect", "rotate", "--json", "-")
        assert (rotated.code, rotated.json["switched"], rotated.json["deleted"]) == (0, True, 6), rotated.err
        shown = run("protect", "show", "--json", "-").json
        assert shown["key"] == shown["held"][-1] and rotated.json["to"] == f"colours@{shown['key']}"
        assert np.abs(vectors_of(site) - bare).max() > 0.1
        assert np.abs(vectors_of(site) @ vectors_of(site).T - bare @ bare.T).max() < 1e-6
        assert run("gallery", "verify").code == 0
        assert named(run, picture) == "bob-2"
    assert {t for spaces in in_force(site).values() for t in spaces} == {rotated.json["to"], "|"}
    assert run("protect", "rotate").code == 2
    assert run("protect", "rotate", "--off").code == 0
    assert np.abs(vectors_of(site) - bare).max() < 1e-6


def test_without_its_key_nobody_is_recognised_or_enrolled(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(run, site, monkeypatch)
    assert run("protect", "rotate").code == 0
    fingerprint = run("protect", "show", "--json", "-").json["key"]
    picture = photo(tmp_path / "bob.png", colour_of(1))
    monkeypatch.delenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE")
    for words in (("identify", picture), ("enrol", "eve-5", picture)):
        missing = run(*words)
        assert (missing.code, f"protected with key {fingerprint}, no key file" in missing.err) == (1, True)
    other = tmp_path / "other.key"
    assert run("protect", "new-key", other).code == 0
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(other))
    wrong = run("identify", picture)
    assert wrong.code == 1 and f"name the file that holds {fingerprint}" in wrong.err
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(path))
    path.chmod(0o644)
    readable = run("identify", picture)
    assert readable.code == 2 and "chmod 600" in readable.err


def test_the_first_people_of_a_store_are_protected_from_the_start(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(run, site, monkeypatch)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    made = run("enrol", "bob-2", photo(tmp_path / "bob.png", colour_of(1)), store=fresh)
    assert made.code == 0, made.err
    assert run("protect", "new-key", path).code == 0
    assert run("identify", tmp_path / "bob.png", "--json", "-", store=fresh).json["identity_id"] == "bob-2"
    shown = run("protect", "show", "--json", "-", store=fresh).json
    assert (shown["key"], len(shown["held"])) == (shown["held"][0], 2)


def test_a_swap_keeps_the_key(site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(run, site, monkeypatch)
    assert run("protect", "rotate").code == 0
    key = run("protect", "show", "--json", "-").json["key"]
    assert run("models", "swap", TINY, "--photos", site.people, "--json", "-").json["to"] == f"{TINY}@{key}"
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    assert run("protect", "rotate", "--off", "--keep").code == 0
    assert named(run, photo(tmp_path / "bob.png", colour_of(1))) == "bob-2"
    assert run("models", "back").code == 0
    assert run("protect", "show", "--json", "-").json == {"model": TINY, "key": key, "held": [key]}
