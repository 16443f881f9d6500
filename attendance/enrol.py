"""Enrolment: a folder of people into the ledger and the gallery.

A person and their templates are written at once, so an interrupted run leaves whole people, and the next run does what
is left. Photos that are in already are known by their SHA-256 and not read again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from attendance.errors import ImageError, LedgerError
from attendance.gallery import announced, entries_of
from attendance.ledger.port import Ledger
from attendance.metrics import rank_of, top_k
from attendance.people_csv import PersonRow
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery
from attendance.stills import Reading, StillReader, sha256_of
from attendance.types import Consent, Person, RefusalReason, Template

GROUP_PHOTOS = 64
GROUP_PEOPLE = 256


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
        return {
            "identity_id": self.identity_id,
            "other": self.other,
            "similarity": round(self.similarity, 6),
        }


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
class ProbeResult:
    """Top-k hits over the held-out photos; a failed read is a miss in each. Rates are None without probes."""

    top1: float | None
    top3: float | None
    top5: float | None
    probes: int
    failed_reads: int
    failed: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """One person's part of a run: what the ledger has, what the folder has, what must be read."""

    photos: PersonPhotos
    person: Person | None
    unread: tuple[tuple[str, Path], ...]


class Enroller:
    """Brings people's photos into ledger and gallery. Works under the gallery's lock, one at a time."""

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
        self.result = EnrolResult()

    def run(
        self,
        people: Sequence[PersonPhotos],
        rows: Mapping[str, PersonRow],
        *,
        done: Callable[[int], None] = lambda photos: None,
    ) -> EnrolResult:
        """Enrol the people in order.

        Args:
            people: the folders.
            rows: people.csv by identity id, empty without one.
            done: told how many photos were dealt with, as they are.
        """
        self._everybody.upsert(self._gallery.entries())
        with nullcontext() if self._policy.dry_run else announced(self._ledger):
            for group in self._groups(people):
                self._enrol(group, rows)
                done(sum(len(work.photos.enrol) for work in group))
            self._sweep(people, rows)
        return self.result

    def _groups(self, people: Sequence[PersonPhotos]) -> Iterator[list[_Work]]:
        """People together until their unread photos fill a batch."""
        group: list[_Work] = []
        for photos in people:
            group.append(self._look(photos))
            if sum(len(work.unread) for work in group) >= GROUP_PHOTOS or len(group) >= GROUP_PEOPLE:
                yield group
                group = []
        if group:
            yield group

    def _look(self, photos: PersonPhotos) -> _Work:
        """Compare a folder with the ledger: which photos are new or changed."""
        person = self._ledger.person(photos.identity_id)
        known = {} if person is None else {t.template_id: t for t in person.templates}
        unread: list[tuple[str, Path]] = []
        for name, path in photos.enrol.items():
            template = known.get(self._template_id(photos.identity_id, name))
            try:
                unchanged = template is not None and template.sha256 == sha256_of(path)
            except ImageError as error:
                self._refuse(name, RefusalReason(error.reason), error.detail)
                continue
            if not unchanged:
                unread.append((name, path))
        return _Work(photos, person, tuple(unread))

    def add(self, identity_id: str, readings: Iterable[tuple[str, Reading]], *, row: PersonRow | None) -> EnrolResult:
        """Enrol single photos or frames of one person, each with the name to remember it by; others stay."""
        person = self._ledger.person(identity_id)
        self._everybody.upsert(self._gallery.entries())
        templates = self._templates(identity_id, readings)
        with announced(self._ledger):
            self._settle(identity_id, person, templates, [], row)
        return self.result

    def _enrol(self, group: list[_Work], rows: Mapping[str, PersonRow]) -> None:
        readings = self._stills.read(path for work in group for _, path in work.unread)
        for work in group:
            identity_id = work.photos.identity_id
            templates = self._templates(identity_id, ((name, next(readings)) for name, _ in work.unread))
            vanished = [] if work.person is None else self._vanished(work.person, work.photos)
            self._settle(identity_id, work.person, templates, vanished, rows.get(identity_id))

    def _templates(self, identity_id: str, readings: Iterable[tuple[str, Reading]]) -> list[Template]:
        """Templates of the photos that could be read; the others are listed as refused."""
        templates = []
        for name, reading in readings:
            if reading.vector is None:
                assert reading.reason is not None
                self._refuse(name, reading.reason, reading.detail)
            else:
                templates.append(self._template(identity_id, name, reading))
        return templates

    def _settle(
        self,
        identity_id: str,
        before: Person | None,
        fresh: list[Template],
        vanished: list[Template],
        row: PersonRow | None,
    ) -> None:
        """Write one person: new templates, changed details, pruned photos."""
        if not self._accepts(identity_id, fresh, newcomer=before is None):
            return
        person = self._newcomer(identity_id, fresh, row) if before is None else _with_row(before, row)
        if person is None:
            return
        out = {t.template_id for t in fresh} | ({t.template_id for t in vanished} if self._policy.prune else set())
        kept = [t for t in person.templates if t.template_id not in out]
        self._write(before, replace(person, templates=(*kept, *fresh)), fresh, vanished)

    def _newcomer(self, identity_id: str, templates: list[Template], row: PersonRow | None) -> Person | None:
        """A new person, or None where there is nothing to enrol or no consent."""
        if not templates:
            return None
        consent = self._consent(row)
        if consent is None:
            detail = "consent policy per_person: people.csv must give consent_version and consent_at for this person"
            self._refuse(identity_id, RefusalReason.NO_CONSENT, detail)
            return None
        blank = Person(
            identity_id=identity_id,
            subject_ref=uuid.uuid4().hex,
            version=0,
            created_at=self._now(),
            consent=consent,
        )
        return _with_row(blank, row)

    def _consent(self, row: PersonRow | None) -> Consent | None:
        policy = self._policy
        if policy.consent == "attested":
            return Consent(policy="attested", version="", at=self._now(), by=policy.attested_by)
        if row is None or not row.consent_version or row.consent_at is None:
            return None
        return Consent(
            policy="per_person",
            version=row.consent_version,
            at=row.consent_at,
            by=row.identity_id,
        )

    def _accepts(self, identity_id: str, templates: list[Template], *, newcomer: bool) -> bool:
        """List who the new templates look like; whether the person may be enrolled all the same."""
        if self._policy.duplicate_threshold is None or not templates:
            return True
        queries = np.stack([t.vector for t in templates])
        best: dict[str, float] = {}
        for candidates in self._everybody.nearest(queries, k=2):
            for other in candidates:
                if other.identity_id != identity_id and other.similarity >= self._policy.duplicate_threshold:
                    best[other.identity_id] = max(other.similarity, best.get(other.identity_id, -1.0))
        for other_id, similarity in sorted(best.items(), key=lambda pair: (-pair[1], pair[0])):
            self.result.suspected_duplicates.append(SuspectedDuplicate(identity_id, other_id, similarity))
        if not best or not newcomer or self._policy.duplicates != "refuse":
            return True
        other_id = max(best, key=lambda key: best[key])
        detail = f"looks like {other_id}; enrol under that id, or set enrol.duplicates to flag"
        self._refuse(identity_id, RefusalReason.DUPLICATE_PERSON, detail)
        return False

    def _write(
        self,
        before: Person | None,
        after: Person,
        fresh: list[Template],
        vanished: list[Template],
    ) -> None:
        """Ledger first, then the gallery; an unchanged person is left alone."""
        held = set() if before is None else {t.template_id for t in before.templates}
        replaced = [t for t in fresh if t.template_id in held]
        self.result.replaced += len(replaced)
        self.result.added += len(fresh) - len(replaced)
        self.result.vanished += [t.path for t in vanished]
        if self._policy.prune:
            self.result.removed += len(vanished)
        if self._policy.dry_run or (before is not None and _same(before, after)):
            return
        self._store(before, after)
        after_ids = {t.template_id for t in after.templates}
        self._gallery.remove([template_id for template_id in held if template_id not in after_ids])
        entries = entries_of(after, self._gallery.card_id)
        fresh_ids = {t.template_id for t in fresh}
        changed = [entry for entry in entries if entry.template_id in fresh_ids]
        self._gallery.upsert(changed)
        self._everybody.upsert(changed)

    def _store(self, before: Person | None, after: Person) -> None:
        stored = replace(after, version=1 if before is None else before.version + 1)
        done = self._ledger.insert_person(stored) if before is None else self._ledger.replace_person(stored)
        if not done:
            raise LedgerError(f"{after.identity_id} was changed by somebody else meanwhile: run the build again")

    def _vanished(self, person: Person, photos: PersonPhotos | None) -> list[Template]:
        """Templates of this source whose photo is no longer in the folder."""
        present: set[str] = set() if photos is None else {*photos.enrol, *photos.held_out}
        return [t for t in person.templates if t.source_label == self._policy.source_label and t.path not in present]

    def _sweep(self, people: Sequence[PersonPhotos], rows: Mapping[str, PersonRow]) -> None:
        """People without a folder: their details from people.csv, and photos that are gone."""
        seen = {photos.identity_id for photos in people}
        for identity_id in sorted(self._ledger.person_versions().keys() - seen):
            person = self._ledger.person(identity_id)
            if person is None:
                continue
            vanished = self._vanished(person, None)
            after = _with_row(person, rows.get(identity_id))
            if self._policy.prune:
                gone = {t.template_id for t in vanished}
                after = replace(
                    after,
                    templates=tuple(t for t in after.templates if t.template_id not in gone),
                )
            self._write(person, after, [], vanished)
        enrolled = self._ledger.person_versions().keys()
        for row in rows.values():
            if row.identity_id not in seen and row.identity_id not in enrolled:
                detail = f"people.csv line {row.line} names this person, but there is no folder with photos"
                self._refuse(row.identity_id, RefusalReason.EMPTY_FOLDER, detail)

    def _template(self, identity_id: str, name: str, reading: Reading) -> Template:
        assert reading.vector is not None
        return Template(
            template_id=self._template_id(identity_id, name),
            vector=reading.vector,
            card_id=self._gallery.card_id,
            source_label=self._policy.source_label,
            path=name,
            sha256=reading.sha256,
            batch=self._batch,
            created_at=self._now(),
        )

    def _template_id(self, identity_id: str, name: str) -> str:
        return template_id(identity_id, self._policy.source_label, name)

    def _refuse(self, file: str, reason: RefusalReason, detail: str) -> None:
        self.result.refused.append(Refusal(file, reason, detail))


def template_id(identity_id: str, source_label: str, path: str) -> str:
    """The id of the template of one photo: the same photo of the same person and source has the same id, always."""
    return hashlib.sha256(f"{identity_id}\0{source_label}\0{path}".encode()).hexdigest()[:32]


def evaluate_probes(probes: Sequence[tuple[str, str, Path]], *, stills: StillReader, gallery: Gallery) -> ProbeResult:
    """Read the probes and look each one up.

    Args:
        probes: (identity id, name to show, file).
        stills: reads them; not strict, so that no probe is refused for several faces or quality.
        gallery: searched for the five nearest people.
    """
    ranks: list[int] = []
    failed: list[Refusal] = []
    readings = stills.read(path for _, _, path in probes)
    for (identity_id, name, _), reading in zip(probes, readings, strict=True):
        if reading.vector is None:
            assert reading.reason is not None
            failed.append(Refusal(name, reading.reason, reading.detail))
            ranks.append(0)
            continue
        ranks.append(rank_of(gallery.nearest(reading.vector[None, :], k=5)[0], identity_id))
    top1, top3, top5 = (top_k(ranks, k) if ranks else None for k in (1, 3, 5))
    return ProbeResult(top1, top3, top5, len(probes), len(failed), tuple(failed))


def _with_row(person: Person, row: PersonRow | None) -> Person:
    """The person with what people.csv says; what it does not say stays."""
    if row is None:
        return person
    said = {
        name: value for name in ("name", "department", "site", "group") if (value := getattr(row, name)) is not None
    }
    dates = {name: getattr(row, name) for name in row.has_dates}
    consent = person.consent
    if row.consent_version and row.consent_at is not None:
        consent = Consent(
            policy="per_person",
            version=row.consent_version,
            at=row.consent_at,
            by=row.identity_id,
        )
    return replace(person, consent=consent, **said, **dates)


def _same(before: Person, after: Person) -> bool:
    """Whether two states of a person are the same but for the version."""
    details = (
        "name",
        "department",
        "site",
        "group",
        "active_from",
        "active_to",
        "consent",
    )
    return all(getattr(before, name) == getattr(after, name) for name in details) and [
        (t.template_id, t.sha256, t.card_id) for t in before.templates
    ] == [(t.template_id, t.sha256, t.card_id) for t in after.templates]
