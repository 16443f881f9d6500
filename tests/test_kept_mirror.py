"""The last mirror on disk: the very vectors, no more than is needed, and never a broken file."""

from __future__ import annotations

import logging
import stat
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import LedgerUnavailableError, ModelMismatchError
from attendance.kept_mirror import MirrorKeeper, load_kept
from tests.fakes import BLUE, GREEN, RED, at, person

NOT_RED = replace(person("other", GREEN).templates[0], template_id="not-1", path="door.jpg")
FOREIGN = replace(NOT_RED, template_id="not-2", card_id="another", vector=np.ones(3, np.float32))
RED_ONE = replace(
    person("red", RED, BLUE, name="Red ß"),
    department="Secret",
    active_from=date(2026, 1, 2),
    rejected=(NOT_RED, FOREIGN),
)
GONE = replace(person("gone"), deactivated_at=at(5))
PEOPLE = {"red": RED_ONE, "green": person("green", GREEN), "gone": GONE}
LAYERS = [("the ledger's settings kiosk/*", {"decide": {"margin": 0.03}})]


def test_people_come_back_as_far_as_recognition_needs_them(tmp_path: Path) -> None:
    assert load_kept(tmp_path / "mirror") is None
    MirrorKeeper(tmp_path / "mirror", layers=LAYERS).keep(PEOPLE, 7)
    kept = load_kept(tmp_path / "mirror")
    assert kept is not None
    assert (kept.revision, list(kept.layers), list(kept.people)) == (7, LAYERS, ["red", "green", "gone"])
    red = kept.people["red"]
    for name in ("subject_ref", "version", "name", "active_from", "active_to", "deactivated_at", "created_at"):
        assert getattr(red, name) == getattr(RED_ONE, name)
    assert kept.people["gone"].deactivated_at == at(5)
    assert (red.department, red.consent.by, red.templates[0].path) == ("", "", "")
    [face] = red.rejected
    assert (face.template_id, face.card_id, face.path) == ("not-1", NOT_RED.card_id, "")
    assert face.vector.tobytes() == NOT_RED.vector.tobytes()
    mirror = kept.mirror("colours", 8)
    expected = {t.template_id: t.vector.tobytes() for p in PEOPLE.values() for t in p.templates}
    assert {entry.template_id: entry.vector.tobytes() for entry in mirror.gallery.entries()} == expected
    with pytest.raises(ModelMismatchError):
        kept.mirror("another", 8)


def test_the_file_is_the_owners_alone_and_holds_no_pickle(tmp_path: Path) -> None:
    MirrorKeeper(tmp_path / "mirror").keep(PEOPLE, 1)
    [file] = (tmp_path / "mirror").iterdir()
    assert (stat.S_IMODE(file.parent.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
        assert sorted((name, found[name].dtype.str) for name in found.files) == [("header", "|u1"), ("vectors", "<f4")]
        assert b"Secret" not in found["header"].tobytes()


def test_a_removed_person_is_gone_with_the_next_write_and_nobody_writes_without_a_change(tmp_path: Path) -> None:
    keeper = MirrorKeeper(tmp_path, every_s=3600.0)
    keeper.keep(PEOPLE, 1)
    written = (tmp_path / "last.npz").stat().st_mtime_ns
    keeper.keep(PEOPLE, 2, at_once=True)
    fewer = {"green": PEOPLE["green"]}
    keeper.keep(fewer, 2)
    assert (tmp_path / "last.npz").stat().st_mtime_ns == written
    keeper.keep(fewer, 2, at_once=True)
    kept = load_kept(tmp_path)
    assert kept is not None and list(kept.people) == ["green"]
    assert b"red" not in (tmp_path / "last.npz").read_bytes()
    keeper.keep({}, 3, at_once=True)
    kept = load_kept(tmp_path)
    assert kept is not None and kept.mirror("colours", 8).gallery.counts() == (0, 0)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", None])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    MirrorKeeper(tmp_path).keep(PEOPLE, 1)
    path = tmp_path / "last.npz"
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(LedgerUnavailableError, match="delete it"):
        load_kept(tmp_path)


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    keeper = MirrorKeeper(tmp_path / "file" / "mirror")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            keeper.keep(PEOPLE, 1, at_once=True)
    assert caplog.text.count("could not be kept") == 1
