"""A kiosk's mirror: loaded at the start, then kept in step with a ledger that other processes write to.

The follower asks for the template revision at a steady pace, which is one small read. Only when that moved, or a
writer is (or died) in the middle, does it compare the versions of all people and load those that changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from attendance.errors import AttendanceError, ConfigError, GalleryError, LockHeldError, ModelMismatchError
from attendance.gallery import Differences, compare, entries_of
from attendance.ledger.port import Ledger, PersonVersion, TemplateRevision
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.types import GalleryEntry, Person

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 5.0
_JOIN_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """A mirror just loaded, and what it was loaded from.

    ``source`` is ``gallery`` when the stored gallery was read and compared too, ``ledger`` when it could not be read.
    ``differences`` is what the comparison found, None without one.
    """

    gallery: ExactGallery
    people: Mapping[str, Person]
    revision: int
    source: str
    differences: Differences | None


@dataclass(frozen=True, slots=True)
class FollowerHealth:
    """How well the follower follows: the revision it stands at, seconds since it last saw the ledger, and trouble.

    ``failures`` counts the failed looks since then, ``error`` is the last one's message.
    """

    revision: int
    age_s: float
    failures: int
    error: str | None


class Enrolment(Protocol):
    """What the follower asks of the ledger; failures are the port's."""

    def template_revision(self) -> TemplateRevision:
        """See the port."""

    def person_versions(self) -> dict[str, PersonVersion]:
        """See the port."""

    def people(self, identity_ids: Sequence[str] | None = None) -> list[Person]:
        """See the port."""


Keep = Callable[[Mapping[str, Person], int], None]


def load_mirror(
    ledger: Ledger,
    open_gallery: Callable[[], AbstractContextManager[Gallery]] | None,
    *,
    card_id: str,
    dimension: int,
    max_templates: int | None = None,
) -> Mirror:
    """The exact mirror of what is enrolled, as a kiosk starts with it.

    The stored gallery is read and compared, and the ledger decides where they differ; it alone serves when the gallery
    is damaged, held by somebody else or not to be read, and when ``open_gallery`` is None. Raises ModelMismatchError
    for vectors of another model, and ConfigError beyond ``max_templates``.
    """
    differences, source = None, "ledger"
    if open_gallery is None:
        revision, people, entries = _enrolled(ledger, card_id)
    else:
        try:
            # Read under the gallery's lock, the ledger is not changed between the two readings.
            with open_gallery() as gallery:
                revision, people, entries = _enrolled(ledger, card_id)
                differences, source = compare(entries, gallery.entries(), fault=gallery.fault), "gallery"
        except (GalleryError, LockHeldError) as error:
            revision, people, entries = _enrolled(ledger, card_id)
            level = logging.WARNING if entries else logging.INFO
            logger.log(level, "recognising from the ledger alone, because: %s", error)
    if differences is not None and not differences.clean:
        logger.warning("gallery and ledger differ, the ledger decides: %s", differences)
    if max_templates is not None and len(entries) > max_templates:
        raise ConfigError(
            f"search.mirror_max_templates allows {max_templates} templates in memory, the ledger has {len(entries)}: "
            "raise it, a number of a template takes 4 bytes"
        )
    mirror = ExactGallery(card_id, dimension)
    mirror.upsert(entries)
    return Mirror(mirror, people, revision, source, differences)


def _enrolled(ledger: Ledger, card_id: str) -> tuple[int, dict[str, Person], list[GalleryEntry]]:
    """The template revision, and the people and gallery entries that are at least as new."""
    revision = ledger.template_revision().revision
    people = {person.identity_id: person for person in ledger.people()}
    return revision, people, [entry for person in people.values() for entry in entries_of(person, card_id)]


class MirrorFollower:
    """Follows the ledger in a thread of its own between `start` and `stop`. Reading is safe from any thread.

    ``follow_s``: seconds between looks. ``resync_s``: seconds after which all versions are compared even though the
    revision stands still, in case a writer changed people without raising it. ``keep`` is given the people and the
    revision after every look that succeeded: the same mapping again where nobody changed.
    """

    def __init__(
        self,
        ledger: Enrolment,
        mirror: Mirror,
        *,
        follow_s: float,
        resync_s: float = 30.0,
        keep: Keep = lambda people, revision: None,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror.gallery
        self._people: Mapping[str, Person] = MappingProxyType(dict(mirror.people))
        self._revision = mirror.revision
        self._space = ""
        self._follow_s = follow_s
        self._resync_s = resync_s
        self._keep = keep
        self._looked_at = self._compared_at = time.monotonic()
        self._failures = 0
        self._error: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror-follower", daemon=True)

    @property
    def mirror(self) -> ExactGallery:
        """The gallery for live lookups."""
        return self._mirror

    @property
    def people(self) -> Mapping[str, Person]:
        """Identity id to person, deactivated ones too, as last seen; the mapping itself never changes."""
        return self._people

    @property
    def revision(self) -> int:
        """The template revision that mirror and people stand at (or are ahead of)."""
        return self._revision

    @property
    def space(self) -> str:
        """The space whose templates were in force at the last look; empty: none was noted, or it was not looked yet."""
        return self._space

    @property
    def health(self) -> FollowerHealth:
        """See `FollowerHealth`."""
        return FollowerHealth(self._revision, time.monotonic() - self._looked_at, self._failures, self._error)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; may be called twice, and before `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def look(self) -> None:
        """Look at the ledger once and bring the mirror up; raises what the ledger raises, and changes nothing then."""
        now = self._ledger.template_revision()
        overdue = time.monotonic() - self._compared_at >= self._resync_s
        if now.pending or overdue or now.revision != self._revision:
            self._catch_up()
            self._compared_at = time.monotonic()
        self._revision, self._space = now.revision, now.space
        self._looked_at = time.monotonic()
        self._keep(self._people, self._revision)

    def _run(self) -> None:
        wait_s = self._follow_s
        while not self._stop.wait(wait_s):
            try:
                self.look()
            except AttendanceError as error:
                self._failed(error)
                logger.warning("the ledger cannot be followed (%d times in a row): %s", self._failures, error)
            except Exception as error:
                self._failed(error)
                logger.exception("the follower met something unforeseen and goes on")
            else:
                self._failures, self._error = 0, None
            wait_s = min(self._follow_s * 2.0 ** min(self._failures, 10), max(_LONGEST_WAIT_S, self._follow_s))

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._error = str(error)

    def _catch_up(self) -> None:
        versions = self._ledger.person_versions()
        known = self._people
        stale = [key for key, version in versions.items() if key not in known or _version_of(known[key]) != version]
        found = self._ledger.people(stale) if stale else []
        loaded = {person.identity_id: self._with_former(person) for person in found}
        gone = [key for key in known if key not in versions or (key in stale and key not in loaded)]
        if not loaded and not gone:
            return
        upserts = [entry for person in loaded.values() for entry in self._usable(person)]
        before = [known[key] for key in (*loaded, *gone) if key in known]
        kept = {entry.template_id for entry in upserts}
        held = {t.template_id for person in before for t in (*person.templates, *person.shelved)}
        removals = sorted(held - kept)
        # Whoever the mirror can name is in the people, also for a query that falls between these lines.
        merged = {**known, **loaded}
        self._people = MappingProxyType(merged)
        self._mirror.apply(upserts=upserts, removals=removals)
        self._people = MappingProxyType({key: person for key, person in merged.items() if key not in set(gone)})
        logger.info("the mirror follows: %d people loaded, %d gone", len(loaded), len(gone))

    def _with_former(self, person: Person) -> Person:
        """Somebody whose templates of this mirror's space were deleted after a switch is known here all the same."""
        before, space = self._people.get(person.identity_id), self._mirror.card_id
        present = (*person.templates, *person.shelved)
        if before is None or before.subject_ref != person.subject_ref or not person.templates:
            return person
        if any(template.card_id == space for template in present):
            return person
        former = [template for template in (*before.templates, *before.shelved) if template.card_id == space]
        return replace(person, shelved=(*person.shelved, *former))

    def _usable(self, person: Person) -> list[GalleryEntry]:
        try:
            return entries_of(person, self._mirror.card_id)
        except ModelMismatchError as error:
            logger.error("a person enrolled meanwhile cannot be recognised here: %s", error)
            return []


def _version_of(person: Person) -> PersonVersion:
    return PersonVersion(person.subject_ref, person.version)
