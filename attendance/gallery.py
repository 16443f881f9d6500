"""The gallery's life: what belongs in it, how it changes, how it is checked and made anew.

The ledger is the truth and the gallery is made from it. A change goes: mark in the ledger, person's document in the
ledger, gallery, mark away and revision raised. Whatever dies in between leaves the ledger ahead of the gallery, never
behind it, and the next writer brings the gallery up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from attendance.errors import GalleryDamagedError, ModelMismatchError
from attendance.ledger.port import Ledger
from attendance.search.port import Gallery, GalleryStore
from attendance.types import GalleryEntry, Person

logger = logging.getLogger(__name__)

# Chroma normalises what it is given once more, which moves the last bits of a float32.
_SAME_VECTOR = 1e-6
_REBUILD_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Differences:
    """What the gallery lacks, has too much, or has otherwise than the ledger, as template ids in order.

    ``foreign``: templates in the ledger that another model made. ``fault``: the gallery's own complaint, such as a
    graph built with other settings.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    fault: str | None = None

    @property
    def clean(self) -> bool:
        """Whether there is none."""
        return self == Differences()

    def __str__(self) -> str:
        counts = f"{len(self.missing)} missing, {len(self.extra)} extra, {len(self.different)} different"
        return f"{counts}, {len(self.foreign)} of another model{'; ' + self.fault if self.fault else ''}"


@dataclass(frozen=True, slots=True, eq=False)
class PersonChange:
    """A person's document as it was read and as it shall be: ``before`` None inserts, ``after`` None removes."""

    before: Person | None
    after: Person | None


def entries_of(person: Person, card_id: str) -> list[GalleryEntry]:
    """What of this person belongs in the gallery of model ``card_id``: nothing once they are deactivated.

    Raises ModelMismatchError when a template was made by another model.
    """
    if person.deactivated_at is not None:
        return []
    for template in person.templates:
        if template.card_id != card_id:
            raise ModelMismatchError(_foreign_sentence(template.card_id, card_id))
    return [GalleryEntry(template.template_id, person.identity_id, template.vector) for template in person.templates]


def verify(ledger: Ledger, gallery: Gallery) -> Differences:
    """Compare the gallery with the ledger, template by template. Reads both whole."""
    foreign: list[str] = []
    expected: list[GalleryEntry] = []
    for person in ledger.people():
        try:
            expected += entries_of(person, gallery.card_id)
        except ModelMismatchError:
            foreign += [t.template_id for t in person.templates if t.card_id != gallery.card_id]
    return compare(expected, gallery.entries(), foreign=sorted(foreign), fault=gallery.fault)


def reconcile(ledger: Ledger, gallery: Gallery) -> Differences:
    """Bring the gallery up to the ledger and finish what a dead writer began; what had to be done.

    Raises ModelMismatchError when the ledger holds templates of another model.
    """
    expected = {entry.template_id: entry for entry in _expected(ledger, gallery.card_id)}
    found = compare(expected.values(), gallery.entries(), fault=gallery.fault)
    changed = [expected[template_id] for template_id in (*found.missing, *found.different)]
    if changed or found.extra or ledger.template_revision().pending:
        with announced(ledger):
            gallery.remove(found.extra)
            gallery.upsert(changed)
        logger.warning("the gallery was behind the ledger and was brought up: %s", found)
    return found


def rebuild(ledger: Ledger, store: GalleryStore) -> int:
    """Make a new gallery from the ledger and put it in the old one's place when it is complete; its templates.

    Raises ModelMismatchError when the ledger holds templates of another model; the old gallery then stays.
    """
    with store.replacement() as gallery:
        entries = _expected(ledger, gallery.card_id)
        for start in range(0, len(entries), _REBUILD_BATCH):
            gallery.upsert(entries[start : start + _REBUILD_BATCH])
    if ledger.template_revision().pending:
        with announced(ledger):
            logger.info("finished the change that a writer left unfinished")
    return len(entries)


@contextmanager
def open_for_writing(ledger: Ledger, store: GalleryStore) -> Iterator[Gallery]:
    """The stored gallery, in agreement with the ledger; one that is missing or damaged is made anew first.

    Raises LockHeldError, ModelMismatchError, or GalleryError where disk or rights are to blame.
    """
    try:
        with store.open() as gallery:
            reconcile(ledger, gallery)
    except GalleryDamagedError as error:
        level = logging.WARNING if ledger.person_versions() else logging.INFO
        logger.log(level, "making the gallery anew from the ledger, because: %s", error)
        rebuild(ledger, store)
    with store.open() as gallery:
        yield gallery


@contextmanager
def announced(ledger: Ledger) -> Iterator[None]:
    """Around every change of people that followers must see. The mark stays when the change fails halfway."""
    ledger.begin_template_change()
    yield
    ledger.end_template_change()


def apply_changes(ledger: Ledger, gallery: Gallery, changes: Sequence[PersonChange]) -> list[PersonChange]:
    """Write people to the ledger and then to the gallery; returns the changes that somebody else forestalled.

    ``after`` carries version 1 for an insertion and ``before.version + 1`` for a replacement. Raises ModelMismatchError
    before anything is written.
    """
    entries = [_entries_or_none(change.after, gallery.card_id) for change in changes]
    refused: list[PersonChange] = []
    upserts: list[GalleryEntry] = []
    removals: list[str] = []
    with announced(ledger):
        for change, after in zip(changes, entries, strict=True):
            if not _write(ledger, change):
                refused.append(change)
                continue
            upserts += after
            kept = {entry.template_id for entry in after}
            before = () if change.before is None else change.before.templates
            removals += [template.template_id for template in before if template.template_id not in kept]
        gallery.remove(removals)
        gallery.upsert(upserts)
    return refused


def _expected(ledger: Ledger, card_id: str) -> list[GalleryEntry]:
    return [entry for person in ledger.people() for entry in entries_of(person, card_id)]


def _entries_or_none(person: Person | None, card_id: str) -> list[GalleryEntry]:
    return [] if person is None else entries_of(person, card_id)


def _write(ledger: Ledger, change: PersonChange) -> bool:
    if change.after is None:
        gone = change.before
        return gone is not None and ledger.remove_person(gone.identity_id, version=gone.version)
    if change.before is None:
        return ledger.insert_person(change.after)
    return ledger.replace_person(change.after)


def compare(
    expected: Iterable[GalleryEntry],
    held: Iterable[GalleryEntry],
    *,
    foreign: Sequence[str] = (),
    fault: str | None = None,
) -> Differences:
    """What ``held`` lacks, has too much or has otherwise than ``expected``."""
    wanted = {entry.template_id: entry for entry in expected}
    present = {entry.template_id: entry for entry in held}
    return Differences(
        missing=tuple(sorted(wanted.keys() - present.keys())),
        extra=tuple(sorted(present.keys() - wanted.keys() - set(foreign))),
        different=tuple(sorted(key for key in wanted.keys() & present.keys() if _differ(wanted[key], present[key]))),
        foreign=tuple(foreign),
        fault=fault,
    )


def _differ(one: GalleryEntry, other: GalleryEntry) -> bool:
    if one.identity_id != other.identity_id or one.vector.shape != other.vector.shape:
        return True
    return not bool((np.abs(one.vector - other.vector) <= _SAME_VECTOR).all())


def _foreign_sentence(found: str, wanted: str) -> str:
    return (
        f"the ledger holds templates of model {found}, asked for is {wanted}: set model.id to {found}, or enrol "
        "everybody into another --store"
    )
