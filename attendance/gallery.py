"""The gallery's life: what belongs in it, how it changes, how it is checked and made anew.

The ledger is the truth and the gallery is made from it. A change goes: mark in the ledger, person's document in the
ledger, gallery, mark away and revision raised. Whatever dies in between leaves the ledger ahead of the gallery, never
behind it, and the next writer brings the gallery up.

A gallery on a server has several writers at once and no lock. There each of them looks after its write to the gallery
whether the ledger's document is still the one that it wrote, and writes again if not: so the last to write a template
wrote what the ledger says.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from attendance.errors import GalleryDamagedError, GalleryGoneError, ModelMismatchError
from attendance.ledger.port import Ledger, PersonVersion, Setting
from attendance.search.port import Gallery, GalleryStore
from attendance.space import mismatch
from attendance.types import GalleryEntry, Person

logger = logging.getLogger(__name__)

# Chroma normalises what it is given once more, which moves the last bits of a float32.
_SAME_VECTOR = 1e-6
_REBUILD_BATCH = 2000
_OWNER = "gallery"


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
    """What of this person belongs in the gallery of the space ``card_id``: nothing once they are deactivated.

    Where another space is in force, what is shelved of this one. Raises ModelMismatchError when there are templates of
    other spaces alone.
    """
    if person.deactivated_at is not None:
        return []
    shelved = [template for template in person.shelved if template.card_id == card_id]
    templates = shelved if shelved else person.templates
    for template in templates:
        if template.card_id != card_id:
            raise ModelMismatchError(mismatch(template.card_id, card_id))
    return [GalleryEntry(template.template_id, person.identity_id, template.vector) for template in templates]


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
    # The gallery first: whatever is in it was in the ledger before, so what the ledger lacks now may go.
    held = {entry.template_id: entry for entry in gallery.entries()}
    people = {person.identity_id: person for person in ledger.people()}
    expected = {e.template_id: e for person in people.values() for e in entries_of(person, gallery.card_id)}
    found = compare(expected.values(), held.values(), fault=gallery.fault)
    changed = [expected[template_id] for template_id in (*found.missing, *found.different)]
    if changed or found.extra or ledger.template_revision().pending:
        wrote = _Written()
        for entry in (*changed, *(held[template_id] for template_id in found.extra)):
            wrote.note(entry.identity_id, people.get(entry.identity_id), [entry.template_id])
        with announced(ledger):
            gallery.remove(found.extra)
            gallery.upsert(changed)
            _settle(ledger, gallery, wrote)
        logger.warning("the gallery was behind the ledger and was brought up: %s", found)
    return found


def rebuild(ledger: Ledger, store: GalleryStore) -> int:
    """Make a new gallery from the ledger and put it in the old one's place when it is complete; its templates.

    Raises ModelMismatchError when the ledger holds templates of another model; the old gallery then stays.
    """
    alone = True
    entries: list[GalleryEntry] = []
    try:
        with store.replacement() as gallery:
            alone = gallery.exclusive
            entries = _expected(ledger, gallery.card_id)
            for start in range(0, len(entries), _REBUILD_BATCH):
                gallery.upsert(entries[start : start + _REBUILD_BATCH])
    except GalleryGoneError as error:
        if alone:
            raise
        logger.info("another rebuild overtook this one: %s", error)
    if not alone:
        # Others went on writing to the old gallery until it was removed.
        with store.open() as present:
            reconcile(ledger, present)
    if ledger.template_revision().pending:
        with announced(ledger):
            logger.info("finished the change that a writer left unfinished")
    return len(entries)


@contextmanager
def open_for_writing(ledger: Ledger, store: GalleryStore) -> Iterator[Gallery]:
    """The stored gallery, in agreement with the ledger; one that is missing or damaged is made anew first.

    So is one of another model, or of another key, than the ledger says is in force: whoever switched died before.

    Raises LockHeldError, ModelMismatchError, GalleryUnavailableError when its server is away, or GalleryError where
    disk or rights are to blame.
    """
    try:
        with store.open() as gallery:
            reconcile(ledger, gallery)
    except (GalleryDamagedError, ModelMismatchError) as error:
        if isinstance(error, ModelMismatchError) and ledger.template_revision().space != store.card_id:
            raise
        level = logging.WARNING if ledger.person_versions() else logging.INFO
        logger.log(level, "making the gallery anew from the ledger, because: %s", error)
        rebuild(ledger, store)
    with store.open() as gallery:
        yield gallery


def owner_of(ledger: Ledger, *, create: bool = False) -> str:
    """The id by which a gallery knows the ledger that it is made from; empty where it has none and none is made."""
    while True:
        setting = ledger.setting(_OWNER)
        if setting is not None:
            return str(setting.value["id"])
        if not create:
            return ""
        ledger.put_setting(Setting(_OWNER, 1, {"id": uuid.uuid4().hex}))


@contextmanager
def announced(ledger: Ledger) -> Iterator[None]:
    """Around every change of people that followers must see. The mark stays when the change fails halfway."""
    ledger.begin_template_change()
    yield
    ledger.end_template_change()


def apply_changes(ledger: Ledger, gallery: Gallery, changes: Sequence[PersonChange]) -> list[PersonChange]:
    """Write people to the ledger and then to the gallery; returns the changes that somebody else forestalled.

    ``after`` carries version 1 for an insertion and ``before.version + 1`` for a replacement. Raises ModelMismatchError
    before anything is written, also where other templates than this gallery's are in force meanwhile.
    """
    in_force = ledger.template_revision().space
    if in_force not in ("", gallery.card_id):
        raise ModelMismatchError(mismatch(in_force, gallery.card_id))
    entries = [_entries_or_none(change.after, gallery.card_id) for change in changes]
    refused: list[PersonChange] = []
    upserts: list[GalleryEntry] = []
    removals: list[str] = []
    wrote = _Written()
    with announced(ledger):
        for change, after in zip(changes, entries, strict=True):
            if not _write(ledger, _unshelved(change)):
                refused.append(change)
                continue
            upserts += after
            kept = {entry.template_id for entry in after}
            before = () if change.before is None else change.before.templates
            gone = [template.template_id for template in before if template.template_id not in kept]
            removals += gone
            wrote.note(_identity_of(change), change.after, [*kept, *gone])
        gallery.remove(removals)
        gallery.upsert(upserts)
        _settle(ledger, gallery, wrote)
    return refused


def _unshelved(change: PersonChange) -> PersonChange:
    """The change with what is shelved of a photo gone wherever the photo's template goes."""
    if change.before is None or change.after is None or not change.after.shelved:
        return change
    gone = {t.template_id for t in change.before.templates} - {t.template_id for t in change.after.templates}
    kept = tuple(template for template in change.after.shelved if template.template_id not in gone)
    return PersonChange(change.before, replace(change.after, shelved=kept)) if gone else change


class _Written:
    """Which document of each person the gallery was written from, and which templates that touched."""

    def __init__(self) -> None:
        self.versions: dict[str, PersonVersion | None] = {}
        self.touched: dict[str, set[str]] = {}

    def note(self, identity_id: str, person: Person | None, template_ids: Iterable[str]) -> None:
        """Templates were written, or removed, by this document; None when there was none."""
        self.versions[identity_id] = _version_of(person)
        self.touched.setdefault(identity_id, set()).update(template_ids)


def _settle(ledger: Ledger, gallery: Gallery, wrote: _Written) -> None:
    """Write those people to the gallery again whose documents changed since, until none did."""
    while not gallery.exclusive and wrote.versions:
        now = {person.identity_id: person for person in ledger.people(list(wrote.versions))}
        moved = [key for key, version in wrote.versions.items() if _version_of(now.get(key)) != version]
        if not moved:
            return
        logger.info("another writer changed %d people meanwhile: writing them again", len(moved))
        again = {key: _entries_or_none(now.get(key), gallery.card_id) for key in moved}
        kept = {entry.template_id for entries in again.values() for entry in entries}
        gallery.remove(sorted({template_id for key in moved for template_id in wrote.touched[key]} - kept))
        gallery.upsert([entry for entries in again.values() for entry in entries])
        for key, entries in again.items():
            wrote.note(key, now.get(key), [entry.template_id for entry in entries])


def _identity_of(change: PersonChange) -> str:
    person = change.before if change.after is None else change.after
    assert person is not None
    return person.identity_id


def _version_of(person: Person | None) -> PersonVersion | None:
    return None if person is None else PersonVersion(person.subject_ref, person.version)


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
