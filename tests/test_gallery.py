"""The gallery follows from the ledger: changed after it, compared with it, made anew from it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from attendance.errors import GalleryError, ModelMismatchError
from attendance.gallery import (
    Differences,
    PersonChange,
    announced,
    apply_changes,
    entries_of,
    open_for_writing,
    owner_of,
    rebuild,
    reconcile,
    verify,
)
from attendance.ledger.port import Ledger
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import GalleryEntry, Person
from tests.enrolled import CARD, DIMENSION, WHEN, chroma_store, open_ledger, person, template, vector


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as opened:
        yield opened


@pytest.fixture
def gallery() -> Gallery:
    return ExactGallery(CARD, DIMENSION)


class Failing(ExactGallery):
    """A gallery whose writes fail."""

    def upsert(self, entries: object) -> None:
        raise GalleryError("the disk is full")


class Shared(ExactGallery):
    """A gallery that others write to as well: they come in before each write of ours, and after each reading."""

    def __init__(self) -> None:
        super().__init__(CARD, DIMENSION)
        self.meanwhile: list[Callable[[], object]] = []

    @property
    def exclusive(self) -> bool:
        return False

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        self._others()
        super().upsert(entries)

    def remove(self, template_ids: Sequence[str]) -> int:
        self._others()
        return super().remove(template_ids)

    def entries(self) -> list[GalleryEntry]:
        found = super().entries()
        self._others()
        return found

    def _others(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()


def test_a_change_reaches_ledger_and_gallery_and_raises_the_revision(ledger: Ledger, gallery: Gallery) -> None:
    assert apply_changes(ledger, gallery, [PersonChange(None, person(1)), PersonChange(None, person(2))]) == []
    assert ledger.template_revision().revision == 1
    assert not ledger.template_revision().pending
    assert gallery.counts() == (2, 6)
    assert verify(ledger, gallery) == Differences()


def test_replaced_and_vanished_templates(ledger: Ledger, gallery: Gallery) -> None:
    before = person(1)
    apply_changes(ledger, gallery, [PersonChange(None, before)])
    changed = template(before.templates[0].template_id, vector(77))
    after = replace(before, version=2, templates=(changed, template("t-more", vector(78))))
    assert apply_changes(ledger, gallery, [PersonChange(before, after)]) == []
    held = {entry.template_id: entry.vector.tolist() for entry in gallery.entries()}
    assert held == {changed.template_id: vector(77).tolist(), "t-more": vector(78).tolist()}
    assert verify(ledger, gallery).clean


def test_removal_and_deactivation_take_the_templates_out(ledger: Ledger, gallery: Gallery) -> None:
    one, two = person(1), person(2)
    apply_changes(ledger, gallery, [PersonChange(None, one), PersonChange(None, two)])
    resting = replace(two, version=2, deactivated_at=WHEN)
    assert apply_changes(ledger, gallery, [PersonChange(one, None), PersonChange(two, resting)]) == []
    assert gallery.counts() == (0, 0)
    assert [p.identity_id for p in ledger.people()] == [two.identity_id]
    assert verify(ledger, gallery).clean
    back = replace(two, version=3)
    apply_changes(ledger, gallery, [PersonChange(resting, back)])
    assert gallery.counts() == (1, 3)


def test_a_forestalled_change_is_given_back_and_touches_nothing(ledger: Ledger, gallery: Gallery) -> None:
    apply_changes(ledger, gallery, [PersonChange(None, person(1))])
    again = PersonChange(None, replace(person(1), templates=person(9).templates))
    stale = PersonChange(person(1), replace(person(1), version=5))
    missing = PersonChange(person(3), None)
    assert apply_changes(ledger, gallery, [again, stale, missing]) == [again, stale, missing]
    assert gallery.counts() == (1, 3)
    assert verify(ledger, gallery).clean


def test_another_models_templates_are_refused_before_anything_is_written(ledger: Ledger, gallery: Gallery) -> None:
    changes = [PersonChange(None, person(1)), PersonChange(None, person(2, card_id="card-b"))]
    with pytest.raises(ModelMismatchError, match=r"set model\.id to card-b, or enrol"):
        apply_changes(ledger, gallery, changes)
    assert ledger.people() == []
    assert ledger.template_revision().revision == 0


def test_a_failing_gallery_leaves_the_mark_and_the_next_writer_catches_up(ledger: Ledger, gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match="disk is full"):
        apply_changes(ledger, Failing(CARD, DIMENSION), [PersonChange(None, person(1))])
    assert ledger.template_revision().pending
    assert [p.identity_id for p in ledger.people()] == ["person-0001"]
    assert reconcile(ledger, gallery).missing == ("t-0001-0", "t-0001-1", "t-0001-2")
    assert not ledger.template_revision().pending
    assert ledger.template_revision().revision > 0
    assert verify(ledger, gallery).clean


def test_every_kind_of_difference_is_found_and_put_right(ledger: Ledger, gallery: Gallery) -> None:
    apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(4)])
    gallery.remove(["t-0000-1"])
    gallery.upsert(
        [
            GalleryEntry("t-stray", "person-0009", vector(5)),
            GalleryEntry("t-0002-0", "person-0002", vector(6)),
            GalleryEntry("t-0003-0", "person-0001", vector(3000)),
        ]
    )
    found = verify(ledger, gallery)
    assert found == Differences(("t-0000-1",), ("t-stray",), ("t-0002-0", "t-0003-0"))
    assert not found.clean
    assert str(found) == "1 missing, 1 extra, 2 different, 0 of another model"
    assert reconcile(ledger, gallery) == found
    assert verify(ledger, gallery).clean


def changed(before: Person, *seeds: int) -> Person:
    """The next version of a person, with templates of other vectors."""
    rows = tuple(template(f"t-{before.identity_id}-{seed % 10}", vector(seed)) for seed in seeds)
    return replace(before, version=before.version + 1, templates=rows)


@pytest.mark.parametrize("comes_before", [1, 2], ids=["removal", "upsert"])
@pytest.mark.parametrize("what", ["changed", "removed", "removed and enrolled again", "deactivated"])
def test_another_writers_later_change_of_the_person_stays(ledger: Ledger, comes_before: int, what: str) -> None:
    gallery = Shared()
    one = person(1)
    apply_changes(ledger, gallery, [PersonChange(None, one), PersonChange(None, person(2))])
    mine = changed(one, 11, 12)
    again = replace(changed(one, 11, 43), version=1, subject_ref="ref-new")
    theirs = {
        "changed": [PersonChange(mine, changed(mine, 32, 33))],
        "removed": [PersonChange(mine, None)],
        "removed and enrolled again": [PersonChange(mine, None), PersonChange(None, again)],
        "deactivated": [PersonChange(mine, replace(mine, version=3, deactivated_at=WHEN))],
    }[what]

    def other_writer() -> None:
        for change in theirs:
            assert apply_changes(ledger, gallery, [change]) == []

    gallery.meanwhile = [*[lambda: None] * (comes_before - 1), other_writer]
    assert apply_changes(ledger, gallery, [PersonChange(one, mine)]) == []
    assert gallery.meanwhile == []
    assert verify(ledger, gallery) == Differences()


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("what", ["enrols", "changes", "removes"])
def test_bringing_up_undoes_no_other_writers_change(ledger: Ledger, moment: int, what: str) -> None:
    """They come in between the reading of the gallery and that of the ledger, before the removal, before the upsert."""
    gallery = Shared()
    people = [person(number) for number in range(3)]
    apply_changes(ledger, gallery, [PersonChange(None, each) for each in people])
    gallery.remove(["t-0000-1"])
    gallery.upsert(
        [GalleryEntry("t-stray", "person-0009", vector(5)), GalleryEntry("t-0001-0", "person-0001", vector(6))]
    )
    back = replace(person(9), templates=(template("t-stray", vector(7)),))
    theirs = {
        "enrols": [PersonChange(None, back), PersonChange(None, person(5))],
        "changes": [PersonChange(people[0], changed(people[0], 20)), PersonChange(people[1], changed(people[1], 21))],
        "removes": [PersonChange(people[0], None), PersonChange(people[1], None)],
    }[what]
    gallery.meanwhile = [lambda: None] * moment + [lambda: apply_changes(ledger, gallery, theirs)]
    reconcile(ledger, gallery)
    assert gallery.meanwhile == []
    assert verify(ledger, gallery) == Differences()


def test_a_gallery_knows_its_ledger_by_an_id_that_is_made_once(ledger: Ledger) -> None:
    assert owner_of(ledger) == ""
    made = owner_of(ledger, create=True)
    assert len(made) == 32
    assert owner_of(ledger) == owner_of(ledger, create=True) == made


def test_nothing_to_reconcile_is_no_change(ledger: Ledger, gallery: Gallery) -> None:
    apply_changes(ledger, gallery, [PersonChange(None, person(1))])
    before = ledger.template_revision()
    assert reconcile(ledger, gallery).clean
    assert ledger.template_revision() == before


def test_templates_of_another_model_are_told_and_never_mixed(ledger: Ledger, gallery: Gallery, tmp_path: Path) -> None:
    with announced(ledger):
        ledger.insert_person(person(1))
        ledger.insert_person(person(2, templates=1, card_id="card-b"))
        ledger.insert_person(replace(person(3, card_id="card-b"), deactivated_at=WHEN))
    assert verify(ledger, gallery).foreign == ("t-0002-0",)
    assert entries_of(replace(person(3, card_id="card-b"), deactivated_at=WHEN), CARD) == []
    store = chroma_store(tmp_path)
    with pytest.raises(ModelMismatchError, match="card-b"):
        reconcile(ledger, gallery)
    with pytest.raises(ModelMismatchError, match="card-b"):
        rebuild(ledger, store)
    assert not store.path.exists()


def test_chroma_is_made_where_there_is_none_and_kept_in_agreement(ledger: Ledger, tmp_path: Path) -> None:
    store = chroma_store(tmp_path)
    with open_for_writing(ledger, store) as gallery:
        apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(10)])
        gallery.remove(["t-0003-1"])
    with open_for_writing(ledger, store) as gallery:
        assert verify(ledger, gallery).clean
        assert gallery.counts() == (10, 30)


@pytest.mark.parametrize("name", ["chroma.sqlite3", "header.bin"])
def test_a_damaged_gallery_is_made_anew_with_a_warning(
    ledger: Ledger, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = chroma_store(tmp_path)
    with open_for_writing(ledger, store) as gallery:
        apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(10)])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    next(store.path.rglob(name)).write_bytes(b"\x00nonsense" * 300)
    with open_for_writing(ledger, store) as gallery:
        assert verify(ledger, gallery).clean
        assert gallery.counts() == (10, 30)
    assert "making the gallery anew from the ledger" in caplog.text


def test_a_rebuild_takes_new_settings_and_drops_what_is_stray(ledger: Ledger, tmp_path: Path) -> None:
    store = chroma_store(tmp_path)
    with open_for_writing(ledger, store) as gallery:
        apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(5)])
        gallery.upsert([GalleryEntry("t-stray", "person-0009", vector(5))])
    denser = replace(store, settings=replace(store.settings, max_neighbors=40))
    with denser.open() as gallery:
        found = verify(ledger, gallery)
        assert found.extra == ("t-stray",)
        assert "max_neighbors 32 instead of 40" in str(found)
    assert rebuild(ledger, denser) == 15
    with denser.open() as gallery:
        assert verify(ledger, gallery).clean


def test_a_kill_while_the_new_gallery_takes_the_old_ones_place(ledger: Ledger, tmp_path: Path) -> None:
    """Three moments: before the old one is moved, between the two moves, before the old one is deleted."""
    store = chroma_store(tmp_path)
    with open_for_writing(ledger, store) as gallery:
        apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(5)])
    new, old = tmp_path / "chroma.new", tmp_path / "chroma.old"
    for moment in ("before", "between", "after"):
        shutil.copytree(store.path, old if moment == "after" else new)
        if moment == "between":
            store.path.rename(old)
        with open_for_writing(ledger, store) as gallery:
            assert verify(ledger, gallery).clean
            assert gallery.counts() == (5, 15)
        assert not new.exists()
        assert not old.exists()


def test_the_context_is_left_as_it_was_when_the_body_fails(ledger: Ledger, tmp_path: Path) -> None:
    context: AbstractContextManager[Gallery] = open_for_writing(ledger, chroma_store(tmp_path))
    with pytest.raises(KeyError), context:
        raise KeyError("the caller's own")
    with chroma_store(tmp_path).open() as gallery:
        assert gallery.counts() == (0, 0)
