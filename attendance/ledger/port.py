"""The ledger port.

It relies on two atomic primitives, both on single documents: insert if absent, and replace if the version is still the
one read. A person and their templates are one document. Punches are immutable and inserted once under their event id.
Times are kept in whole milliseconds, the finest that every store has; the rest is cut off. Text must be valid Unicode.
The template revision is raised after a write of templates; while a write is under way ``pending`` is set, so that an
interrupted writer's raise is redone by the next one and a follower looks again meanwhile. The same document says which
templates are in force (`spaces`), so that putting others into force is one write, and a change that followers see.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple, Self

from attendance.errors import LedgerError
from attendance.ledger.digests import Digest
from attendance.ledger.registry import Registry
from attendance.ledger.rows import Record, punch_row
from attendance.types import AttendanceRow, Person, Punch

Kind = Literal["punches", "attendance"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A small versioned document: a mapping of JSON values under a key. ``version`` counts its writes, from 1."""

    key: str
    version: int
    value: dict[str, Any]


class PersonVersion(NamedTuple):
    """Which document of a person it is: somebody removed and enrolled again begins at version 1 under a new subject."""

    subject_ref: str
    version: int


@dataclass(frozen=True, slots=True)
class TemplateRevision:
    """How often the set of templates has changed, and whether a writer is (or was, when it died) in the middle.

    ``space`` is the space of the templates in force and ``before`` that which was in force before; empty: the templates
    are of one space, and it was never noted.
    """

    revision: int
    pending: bool
    space: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a punch: newly inserted (False: its event id was there already), and whether it counts now."""

    inserted: bool
    counted: bool


@dataclass(frozen=True, slots=True)
class PunchQuery:
    """Which punches or attendance rows; None means any. Times are aware UTC, ``since`` inclusive, ``until`` exclusive.

    ``first_day`` and ``last_day`` are local days, both inclusive; raw punches have none and refuse them.
    """

    since: datetime | None = None
    until: datetime | None = None
    first_day: date | None = None
    last_day: date | None = None
    identity_id: str | None = None
    site: str | None = None
    camera_id: str | None = None


EVERYTHING = PunchQuery()


class Ledger(Registry):
    """Who is enrolled, who came. Every method raises `LedgerError` (or a subclass) on failure; nothing is half done."""

    @abstractmethod
    def insert_person(self, person: Person) -> bool:
        """Insert a person (version 1) unless the identity id is taken; whether it was inserted."""

    @abstractmethod
    def replace_person(self, person: Person) -> bool:
        """Replace the whole document, provided that the stored version is ``person.version - 1``; whether it was."""

    @abstractmethod
    def remove_person(self, identity_id: str, *, version: int) -> bool:
        """Remove the person, templates and the mapping from their subject reference; whether that version was there.

        Their punches stay and name nobody; their attendance rows lose the identity id.
        """

    @abstractmethod
    def person(self, identity_id: str) -> Person | None:
        """One person with templates, or None."""

    @abstractmethod
    def people(self, identity_ids: Sequence[str] | None = None) -> list[Person]:
        """People with their templates, ordered by identity id: all, or those of the given ids that exist."""

    @abstractmethod
    def person_versions(self) -> dict[str, PersonVersion]:
        """Which document of each person is stored, by identity id: cheap, so a follower can find what changed."""

    @abstractmethod
    def setting(self, key: str) -> Setting | None:
        """One setting, or None."""

    @abstractmethod
    def put_setting(self, setting: Setting) -> bool:
        """Insert (version 1) or replace (stored version is ``setting.version - 1``) a setting; whether it was done."""

    @abstractmethod
    def record(self, punch: Punch) -> Recorded:
        """Insert a punch once and bring the derived attendance rows of its person, site and direction up to date.

        Recording the same event id again changes nothing and tells whether the stored punch counts.
        """

    @abstractmethod
    def punches(self, query: PunchQuery = EVERYTHING) -> list[Punch]:
        """Raw punches in (observed time, journal, counter) order; a removed person's are found by no identity id."""

    @abstractmethod
    def attendance(self, query: PunchQuery = EVERYTHING) -> list[AttendanceRow]:
        """Rows of the derived attendance table, in (observed time, event id) order.

        Rows that were counted by other rules than the present ones are counted anew first.
        """

    @abstractmethod
    def rebuild_attendance(self) -> int:
        """Derive the attendance table anew from all punches and the present rules; the number of rows."""

    @abstractmethod
    def settings(self) -> list[Setting]:
        """Every setting, by key."""

    @abstractmethod
    def zones(self) -> dict[str, str]:
        """The time zones (IANA names) remembered for sites, by site id."""

    @abstractmethod
    def import_people(self, people: Sequence[Person]) -> int:
        """Insert the people whose identity ids are not taken, whatever their version; how many were inserted.

        As all imports, meant for copying from another ledger: many at once, and what was there before stays as it is.
        The attendance rows are counted anew before they are used next.
        """

    @abstractmethod
    def import_records(self, punches: Sequence[Record]) -> int:
        """Insert the punches, as `records` gives them, whose event ids are not there; how many were inserted.

        The attendance rows of their sites are counted anew before they are used next.
        """

    def import_punches(self, punches: Sequence[Punch]) -> int:
        """As `import_records`, of punches."""
        return self.import_records([punch_row(punch) for punch in punches])

    def adopt(self, source: Ledger) -> int:
        """Take every punch and attendance row of a ledger of the same kind at once, where there is no punch yet.

        How many punches; 0 also where there is no such short way. The people must have been imported before.
        """
        return 0

    @abstractmethod
    def import_settings(self, settings: Sequence[Setting]) -> int:
        """Insert the settings whose keys are not there, whatever their version; how many were inserted."""

    @abstractmethod
    def import_zones(self, zones: Mapping[str, str]) -> None:
        """Remember time zones for sites that have not been counted here yet."""

    @abstractmethod
    def moments(self, every: int) -> list[datetime]:
        """When the punches were observed that have ``every``, twice ``every``, ... others before them, in order."""

    @abstractmethod
    def bring_to_rules(self) -> None:
        """Count the sites anew whose attendance rows come from other rules than the present ones, or were imported."""

    @abstractmethod
    def records(self, of: Kind, query: PunchQuery = EVERYTHING) -> list[Record]:
        """What `punches` or `attendance` would give for ``since`` and ``until`` of the query, as tuples of columns.

        Columns and values are those of `rows`, the same whatever the adapter: quick to compare and to carry over.
        """

    @abstractmethod
    def digest(self, of: Kind, query: PunchQuery = EVERYTHING) -> Digest:
        """The digest of `records`."""

    @abstractmethod
    def close(self) -> None:
        """Release the store; the object cannot be used afterwards. Closing again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def template_revision(self) -> TemplateRevision:
        """The present template revision; 0 before the first change."""
        return revision_of(self.setting(TEMPLATES))

    def begin_template_change(self) -> None:
        """Say that templates are about to change. A mark left by a writer that died counts as a change of its own."""
        self._move_revision(pending=True)

    def end_template_change(self) -> int:
        """Raise the revision after templates changed and take the mark away; the new revision."""
        return self._move_revision(pending=False)

    def put_in_force(self, space: str, *, expected: str) -> bool:
        """Put the templates of ``space`` into force for everybody with one write, and raise the revision.

        Whether it was done: only where ``expected`` is in force (empty: nothing was noted yet).
        """
        while True:
            setting = self.setting(TEMPLATES)
            current = revision_of(setting)
            if current.space != expected:
                return False
            value = {"revision": current.revision + 1, "pending": current.pending, "space": space, "before": expected}
            if self._put_revision(setting, value):
                return True

    def _move_revision(self, *, pending: bool) -> int:
        while True:
            setting = self.setting(TEMPLATES)
            current = revision_of(setting)
            changed = current.pending or not pending
            revision = current.revision + (1 if changed else 0)
            value = {} if setting is None else setting.value
            if self._put_revision(setting, {**value, "revision": revision, "pending": pending}):
                return revision

    def _put_revision(self, read: Setting | None, value: dict[str, Any]) -> bool:
        return self.put_setting(Setting(TEMPLATES, 1 if read is None else read.version + 1, value))


TEMPLATES = "templates"
"""The key of the setting that holds the template revision."""


def revision_of(setting: Setting | None) -> TemplateRevision:
    """The template revision of the setting ``templates``; LedgerError for a value that it cannot have."""
    if setting is None:
        return TemplateRevision(revision=0, pending=False)
    revision, pending = setting.value["revision"], setting.value["pending"]
    space, before = setting.value.get("space", ""), setting.value.get("before", "")
    names = isinstance(space, str) and isinstance(before, str)
    if not isinstance(revision, int) or not isinstance(pending, bool) or not names:
        raise LedgerError(f"the template revision must be a number and a mark, got {setting.value}: restore a backup")
    return TemplateRevision(revision=revision, pending=pending, space=space, before=before)
