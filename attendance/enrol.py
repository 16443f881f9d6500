"""Enrolment: a folder of people into the ledger and the gallery.

A person and their templates are one document, so an interrupted run leaves whole people, and the next run does what is
left. Photos that are in already are known by their SHA-256 and not decoded again; what a run decides about a person
does not depend on how far an earlier one got.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from attendance.errors import ImageError
from attendance.gallery import PersonChange, apply_changes
from attendance.ledger.port import Ledger
from attendance.metrics import rank_of, top_k
from attendance.people_csv import PersonRow
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.stills import Reading, StillReader, sha256_of
from attendance.types import Candidate, Consent, GalleryEntry, Person, RefusalReason, Template

SINGLE_SOURCE = "enrol"
"""Source label of people enrolled one by one; no folder may use it, so that no prune takes their templates."""

GROUP_PHOTOS = 64
"""Unread photos after which what was read is written: about what a crash can cost."""
GROUP_PEOPLE = 256

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class EnrolPolicy:
    """What enrolment demands.

    ``attested_by`` vouches for consent under policy ``attested``. ``duplicate_threshold`` is the cosine from which a
    new template of one person is suspected to show another; None leaves the check out.
    """

    consent: str
    attested_by: str
    duplicates: str
    duplicate_threshold: float | None
    source_label: str
    prune: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that was not enrolled: the file or folder as the user named it, the reason code and a sentence."""

    file: str
    reason: RefusalReason
    detail: str

    def to_json(self) -> dict[str, str]:
        """The contract's entry of ``refused``."""
        return {"file": self.file, "reason": str(self.reason), "detail": self.detail}


@dataclass(frozen=True, slots=True)
class PersonPhotos:
    """One person's folder: path relative to the people folder -> file, those to enrol and those held out as probes."""

    identity_id: str
    enrol: Mapping[str, Path]
    held_out: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class SuspectedDuplicate:
    """Two people whose templates are as alike as one person's."""

    identity_id: str
    other: str
    similarity: float

    def to_json(self) -> dict[str, Any]:
        """The contract's entry of ``suspected_duplicates``."""
        return {"identity_id": self.identity_id, "other": self.other, "similarity": round(self.similarity, 6)}


@dataclass(slots=True)
class EnrolResult:
    """What a run did: counts of templates, what was refused, who looks like somebody else, which photos are gone."""

    added: int = 0
    replaced: int = 0
    removed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    suspected_duplicates: list[SuspectedDuplicate] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Probe:
    """A photo to look up: whom it shows, the name to tell it by, and the file."""

    identity_id: str
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Top-k hits over the probes; a failed read is a miss in each. Rates are None without probes."""

    top1: float | None
    top3: float | None
    top5: float | None
    probes: int
    failed: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """One person's part of a run: what must be read, then what came of it. ``consent`` None: nobody agreed."""

    identity_id: str
    row: PersonRow | None
    consent: Consent | None = None
    photos: int = 0
    unread: tuple[tuple[str, Path], ...] = ()
    fresh: tuple[Template, ...] = ()


class Enroller:
    """Brings people's photos into ledger and gallery; for one run. Works under the gallery's lock."""

    def __init__(
        self,
        ledger: Ledger,
        gallery: Gallery,
        stills: StillReader,
        *,
        policy: EnrolPolicy,
        now: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._gallery = gallery
        self._stills = stills
        self._policy = policy
        self._now = now
        self._batch = uuid.uuid4().hex
        self._everybody = ExactGallery(gallery.card_id, gallery.dimension)
        self._consents: dict[str, Consent] = {}
        self._sha256: dict[str, str] = {}
        self._gone: dict[str, tuple[Template, ...]] = {}
        self.result = EnrolResult()

    def run(
        self,
        people: Sequence[PersonPhotos],
        rows: Mapping[str, PersonRow],
        *,
        unreadable: Collection[str] = (),
        done: Callable[[int], None] = lambda photos: None,
    ) -> EnrolResult:
        """Enrol the people in order.

        Args:
            people: the folders.
            rows: people.csv by identity id, empty without one.
            unreadable: photos (by relative path) and person folders that are there but cannot be looked at: their
                templates are not taken to be gone.
            done: told how many photos were dealt with, as they are.

        Raises:
            PeopleFileError: a row contradicts what the ledger has of the person; nothing was written.
        """
        present = {name for photos in people for name in (*photos.enrol, *photos.held_out)} | set(unreadable)
        self._survey(self._ledger.person_versions(), rows, present)
        for group in self._groups(people, rows):
            self._enrol(group)
            done(sum(work.photos for work in group))
        seen = {photos.identity_id for photos in people}
        self._settle(
            [_Work(identity_id, rows.get(identity_id)) for identity_id in self._consents if identity_id not in seen]
        )
        for row in rows.values():
            if not {row.identity_id} & (seen | self._consents.keys() | present):
                detail = f"people.csv line {row.line} names this person, but there is no folder with photos"
                self._refuse(row.identity_id, RefusalReason.EMPTY_FOLDER, detail)
        return self.result

    def add(self, identity_id: str, readings: Iterable[tuple[str, Reading]], *, row: PersonRow | None) -> EnrolResult:
        """Enrol single photos or frames of one person, each with the name to remember it by; others stay."""
        self._survey([identity_id], {} if row is None else {identity_id: row}, None)
        consent = self._consent(identity_id, row)
        if consent is not None:
            work = _Work(identity_id, row, consent, fresh=tuple(self._templates(identity_id, readings)))
            self._settle(self._accepted([work]))
        return self.result

    def _survey(self, identity_ids: Iterable[str], rows: Mapping[str, PersonRow], present: set[str] | None) -> None:
        """Learn what is enrolled, and which of this source's photos are gone (``present`` None: none is)."""
        for some in _parts(list(identity_ids)):
            for person in self._ledger.people(some):
                if person.identity_id in rows:
                    rows[person.identity_id].applied_to(person)
                self._consents[person.identity_id] = person.consent
                own = [t for t in person.templates if t.source_label == self._policy.source_label]
                self._sha256.update((t.template_id, t.sha256) for t in own)
                if present is not None:
                    gone = tuple(t for t in own if not {t.path, t.path.partition("/")[0]} & present)
                    self._gone[person.identity_id] = gone
        # Who is about to go must not make others duplicates, or a run would depend on its order.
        pruned = {t.template_id for gone in self._gone.values() for t in gone} if self._policy.prune else set()
        self._everybody.upsert([entry for entry in self._gallery.entries() if entry.template_id not in pruned])

    def _groups(self, people: Sequence[PersonPhotos], rows: Mapping[str, PersonRow]) -> Iterator[list[_Work]]:
        """People together until their unread photos fill a batch."""
        group: list[_Work] = []
        for photos in people:
            group.append(self._look(photos, rows.get(photos.identity_id)))
            if sum(len(work.unread) for work in group) >= GROUP_PHOTOS or len(group) >= GROUP_PEOPLE:
                yield group
                group = []
        if group:
            yield group

    def _look(self, photos: PersonPhotos, row: PersonRow | None) -> _Work:
        """Compare a folder with the ledger: which photos are new or changed. Nobody's are read who did not agree."""
        consent = self._consent(photos.identity_id, row)
        work = _Work(photos.identity_id, row, consent, len(photos.enrol))
        if consent is None:
            return work
        unread: list[tuple[str, Path]] = []
        for name, path in photos.enrol.items():
            known = self._sha256.get(self._template_id(photos.identity_id, name))
            try:
                if known is None or known != sha256_of(path):
                    unread.append((name, path))
            except ImageError as error:
                self._refuse(name, RefusalReason(error.reason), error.detail)
        return replace(work, unread=tuple(unread))

    def _consent(self, identity_id: str, row: PersonRow | None) -> Consent | None:
        """What allows somebody's photos to be read; None, and listed, where the policy demands more than there is."""
        held = self._consents.get(identity_id)
        if self._policy.consent == "attested":
            return held if held is not None else Consent("attested", "", self._now(), self._policy.attested_by)
        if row is not None and row.consent is not None:
            return row.consent
        if held is not None and held.policy == "per_person" and (row is None or row.consent_version is None):
            return held
        detail = "consent policy per_person: people.csv must give consent_version and consent_at for this person"
        self._refuse(identity_id, RefusalReason.NO_CONSENT, detail)
        return None

    def _enrol(self, group: list[_Work]) -> None:
        readings = self._stills.read(path for work in group for _, path in work.unread)
        read = []
        for work in group:
            named = ((name, next(readings)) for name, _ in work.unread)
            read.append(replace(work, fresh=tuple(self._templates(work.identity_id, named))))
        self._settle(self._accepted(read))

    def _templates(self, identity_id: str, readings: Iterable[tuple[str, Reading]]) -> Iterator[Template]:
        """Templates of the photos that could be read; the others are listed as refused."""
        for name, reading in readings:
            if reading.vector is None:
                assert reading.reason is not None
                self._refuse(name, reading.reason, reading.detail)
                continue
            yield Template(
                template_id=self._template_id(identity_id, name),
                vector=reading.vector,
                card_id=self._gallery.card_id,
                source_label=self._policy.source_label,
                path=name,
                sha256=reading.sha256,
                batch=self._batch,
                created_at=self._now(),
            )

    def _accepted(self, works: Iterable[_Work]) -> list[_Work]:
        """Those who may be enrolled; lists who looks like somebody enrolled, or like somebody earlier in this group."""
        accepted = []
        group = ExactGallery(self._gallery.card_id, self._gallery.dimension)
        for work in works:
            other = self._lookalike(work, group)
            newcomer = work.identity_id not in self._consents
            if other is not None and newcomer and self._policy.duplicates == "refuse":
                detail = f"looks like {other}; enrol under that id, or set enrol.duplicates to flag"
                self._refuse(work.identity_id, RefusalReason.DUPLICATE_PERSON, detail)
                continue
            group.upsert([GalleryEntry(t.template_id, work.identity_id, t.vector) for t in work.fresh])
            accepted.append(work)
        self._everybody.upsert(group.entries())
        return accepted

    def _lookalike(self, work: _Work, group: Gallery) -> str | None:
        """Whom a person's new templates look like most, with everybody they look like listed; None: nobody."""
        if self._policy.duplicate_threshold is None or not work.fresh:
            return None
        queries = np.stack([t.vector for t in work.fresh])
        best: dict[str, float] = {}
        for candidates in (*self._everybody.nearest(queries, k=2), *group.nearest(queries, k=2)):
            for other in candidates:
                if other.identity_id != work.identity_id and other.similarity >= self._policy.duplicate_threshold:
                    best[other.identity_id] = max(other.similarity, best.get(other.identity_id, -1.0))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        self.result.suspected_duplicates += [SuspectedDuplicate(work.identity_id, *pair) for pair in ranked]
        return ranked[0][0] if ranked else None

    def _settle(self, works: Sequence[_Work]) -> None:
        """Write what changed. Who was changed by another process meanwhile is looked at again and written then."""
        for some in _parts(works):
            pending: Sequence[_Work] = some
            while pending:
                people = {p.identity_id: p for p in self._ledger.people([work.identity_id for work in pending])}
                changes = [(work, self._change(people.get(work.identity_id), work)) for work in pending]
                wanted = [change for _, change in changes if change is not None]
                dry = self._policy.dry_run or not wanted
                forestalled = [] if dry else apply_changes(self._ledger, self._gallery, wanted)
                pending = [work for work, change in changes if change in forestalled]
                for work, change in changes:
                    if change not in forestalled:
                        self._count(work, change)

    def _change(self, before: Person | None, work: _Work) -> PersonChange | None:
        """The person as they shall be: new templates, new details, without pruned photos. None: as they are."""
        person = before
        if person is None:
            if work.consent is None or not work.fresh:
                return None
            person = Person(work.identity_id, uuid.uuid4().hex, 0, self._now(), work.consent)
        templates = {t.template_id: t for t in (*person.templates, *work.fresh)}
        for template in self._pruned(work):
            templates.pop(template.template_id, None)
        after = person if work.row is None else work.row.applied_to(person)
        after = replace(after, version=person.version + 1, templates=tuple(templates.values()))
        return None if before is not None and _same(before, after) else PersonChange(before, after)

    def _pruned(self, work: _Work) -> tuple[Template, ...]:
        return self._gone.get(work.identity_id, ()) if self._policy.prune else ()

    def _count(self, work: _Work, change: PersonChange | None) -> None:
        if change is not None:
            held = set() if change.before is None else {t.template_id for t in change.before.templates}
            replaced = sum(t.template_id in held for t in work.fresh)
            self.result.replaced += replaced
            self.result.added += len(work.fresh) - replaced
            self.result.removed += sum(t.template_id in held for t in self._pruned(work))
        self.result.vanished += [t.path for t in self._gone.get(work.identity_id, ())]

    def _template_id(self, identity_id: str, name: str) -> str:
        return template_id(identity_id, self._policy.source_label, name)

    def _refuse(self, file: str, reason: RefusalReason, detail: str) -> None:
        self.result.refused.append(Refusal(file, reason, detail))


def template_id(identity_id: str, source_label: str, path: str) -> str:
    """The id of the template of one photo: the same photo of the same person and source has the same id, always."""
    return hashlib.sha256(f"{identity_id}\0{source_label}\0{path}".encode()).hexdigest()[:32]


def evaluate_probes(
    probes: Sequence[Probe], *, unreadable: Sequence[Refusal], stills: StillReader, gallery: Gallery
) -> ProbeResult:
    """Read the probes and look each one up.

    Args:
        probes: what to read.
        unreadable: probes that could not even be found to be read: misses like every failed read.
        stills: reads them; not strict, so that no probe is refused for several faces or quality.
        gallery: searched for the five nearest people.
    """
    ranks = [0] * len(unreadable)
    failed = list(unreadable)
    for probe, reading in zip(probes, stills.read(probe.path for probe in probes), strict=True):
        found: list[Candidate] = []
        if reading.vector is not None:
            found = gallery.nearest(reading.vector[None, :], k=5)[0]
        elif reading.reason is not None:
            failed.append(Refusal(probe.name, reading.reason, reading.detail))
        ranks.append(rank_of(found, probe.identity_id))
    top1, top3, top5 = (top_k(ranks, k) if ranks else None for k in (1, 3, 5))
    return ProbeResult(top1, top3, top5, len(ranks), tuple(failed))


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[i : i + GROUP_PEOPLE] for i in range(0, len(items), GROUP_PEOPLE))


def _same(before: Person, after: Person) -> bool:
    """Whether two states of a person are the same but for the version."""
    details = ("name", "department", "site", "group", "active_from", "active_to", "consent")
    return all(getattr(before, name) == getattr(after, name) for name in details) and [
        (t.template_id, t.sha256, t.card_id) for t in before.templates
    ] == [(t.template_id, t.sha256, t.card_id) for t in after.templates]
