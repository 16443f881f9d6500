"""The run of an enrolment: a folder of people, or single photos of one person, into the ledger and the gallery.

A person and their templates are one document, so an interrupted run leaves whole people, and the next run does what is
left. Photos that are in already are known by their SHA-256 and not decoded again; what a run decides about a person
does not depend on how far an earlier one got.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from attendance.consistency import Outlier, covering, outliers
from attendance.enrol.duplicates import CLEARLY_LIKER, Crowd, DuplicatePolicy
from attendance.enrol.values import EnrolPolicy, EnrolResult, PersonPhotos, Refusal, is_same, template_id
from attendance.enrol.work import Group, Work
from attendance.errors import ImageError
from attendance.gallery import PersonChange, apply_changes
from attendance.ledger.port import Ledger
from attendance.people_csv import PersonRow
from attendance.search.port import Gallery
from attendance.stills import Reading, StillReader, sha256_of
from attendance.types import Consent, Float32, GalleryEntry, Person, RefusalReason, Template

GROUP_PHOTOS = 64
"""Unread photos after which what was read is written: about what a crash can cost."""
GROUP_PEOPLE = 256

_Item = TypeVar("_Item")


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
        keep: Callable[[Template, bytes], None] | None = None,
    ) -> None:
        """``keep`` is given the crop of each template that is in, where ``stills`` makes crops."""
        self._ledger = ledger
        self._gallery = gallery
        self._stills = stills
        self._policy = policy
        self._now = now
        self._batch = uuid.uuid4().hex
        self._crowd = Crowd(gallery, DuplicatePolicy(policy.duplicate_threshold, policy.standing))
        self._consents: dict[str, Consent] = {}
        self._sha256: dict[str, str] = {}
        self._gone: dict[str, tuple[Template, ...]] = {}
        self._undecided: list[Work] = []
        self._keep = keep
        self._crops: dict[str, bytes] = {}
        self.result = EnrolResult(batch=self._batch)

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
        for group in self._read(self._groups(people, rows)):
            self._enrol(group)
            done(sum(work.photos for work in group.works))
        self._decide_undecided()
        seen = {photos.identity_id for photos in people}
        self._settle(
            [Work(identity_id, rows.get(identity_id)) for identity_id in self._consents if identity_id not in seen]
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
            fresh = self._fitting(identity_id, list(self._templates(identity_id, readings)))
            work = Work(identity_id, row, consent, fresh=fresh)
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
        self._crowd.survey(self._gallery, without=pruned)

    def _groups(self, people: Sequence[PersonPhotos], rows: Mapping[str, PersonRow]) -> Iterator[Group]:
        """People together until their unread photos fill a batch."""
        group = Group()
        for photos in people:
            before = len(self.result.refused)
            group.works.append(self._look(photos, rows.get(photos.identity_id)))
            # What looking ahead refuses is listed when it is the group's turn, however far ahead that was.
            group.refused += self.result.refused[before:]
            del self.result.refused[before:]
            if sum(len(work.unread) for work in group.works) >= GROUP_PHOTOS or len(group.works) >= GROUP_PEOPLE:
                yield group
                group = Group()
        if group.works:
            yield group

    def _read(self, groups: Iterator[Group]) -> Iterator[Group]:
        """The groups with their photos read. All are read as one stream, so that the reader can work ahead."""
        ahead: deque[Group] = deque()

        def paths() -> Iterator[Path]:
            for group in groups:
                ahead.append(group)
                for work in group.works:
                    yield from (path for _, path in work.unread)

        readings = self._stills.read(paths())
        spare: list[Reading] = []
        while True:
            if not ahead:
                # The next reading, or learning that there is none, brings the groups before it.
                spare += islice(readings, 1)
                if not ahead:
                    return
            group = ahead.popleft()
            for _ in range(sum(len(work.unread) for work in group.works)):
                group.readings.append(spare.pop() if spare else next(readings))
            yield group

    def _look(self, photos: PersonPhotos, row: PersonRow | None) -> Work:
        """Compare a folder with the ledger: which photos are new or changed. Nobody's are read who did not agree."""
        consent = self._consent(photos.identity_id, row)
        work = Work(photos.identity_id, row, consent, len(photos.enrol))
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

    def _enrol(self, group: Group) -> None:
        self.result.refused += group.refused
        readings = iter(group.readings)
        read = []
        for work in group.works:
            named = ((name, next(readings)) for name, _ in work.unread)
            fresh = list(self._templates(work.identity_id, named))
            if self._is_undecided(work.identity_id, fresh):
                self._undecided.append(replace(work, fresh=tuple(fresh)))
            else:
                read.append(replace(work, fresh=self._fitting(work.identity_id, fresh)))
        self._settle(self._accepted(read))
        waiting = {template.template_id for work in self._undecided for template in work.fresh}
        self._crops = {key: crop for key, crop in self._crops.items() if key in waiting}

    def _is_undecided(self, identity_id: str, fresh: list[Template]) -> bool:
        """Whether two new photos contradict each other: who else is enrolled may tell which is wrong, but not yet."""
        return any(outlier.undecided for outlier in self._outliers(identity_id, fresh))

    def _decide_undecided(self) -> None:
        """What had to wait until everybody else was in; so the answer does not depend on the order of the folders."""
        for work in self._undecided:
            self._settle(self._accepted([replace(work, fresh=self._fitting(work.identity_id, list(work.fresh)))]))

    def _templates(self, identity_id: str, readings: Iterable[tuple[str, Reading]]) -> Iterator[Template]:
        """Templates of the photos that could be read; the others are listed as refused."""
        for name, reading in readings:
            if reading.vector is None:
                assert reading.reason is not None
                self._refuse(name, reading.reason, reading.detail)
                continue
            key = self._template_id(identity_id, name)
            if reading.crop is not None:
                self._crops[key] = reading.crop
            yield Template(
                template_id=key,
                vector=reading.vector,
                card_id=self._gallery.card_id,
                source_label=self._policy.source_label,
                path=name,
                sha256=reading.sha256,
                batch=self._batch,
                created_at=self._now(),
            )

    def _fitting(self, identity_id: str, fresh: list[Template]) -> tuple[Template, ...]:
        """Of a person's new photos those that fit the others and say something new; the rest is listed."""
        return self._chosen(identity_id, self._consistent(identity_id, fresh))

    def _consistent(self, identity_id: str, fresh: list[Template]) -> list[Template]:
        """Those that show the same person as the others, enrolled ones included. Enrolled ones are never removed."""
        found = self._outliers(identity_id, fresh)
        held = self._held(identity_id, fresh)
        names = [*(t.path for t in fresh), *(self._paths_of(identity_id, held) if found else ())]
        cleared = self._cleared([fresh[o.place] for o in found if o.undecided and o.place < len(fresh)], identity_id)
        found = [outlier for outlier in found if names[outlier.place] not in cleared]
        for outlier in found:
            detail = f"unlike this person's other photos (cosine {outlier.similarity:.3f}, needed {outlier.least:.3f})"
            if outlier.place < len(fresh):
                detail += self._whom_it_resembles(identity_id, fresh[outlier.place].vector, outlier.least)
                self._refuse(names[outlier.place], RefusalReason.OUTLIER, detail)
            else:
                refusal = Refusal(names[outlier.place], RefusalReason.OUTLIER, f"{detail}; enrolled before, and left")
                self.result.suspects.append(refusal)
        gone = {outlier.place for outlier in found}
        return [template for place, template in enumerate(fresh) if place not in gone]

    def _outliers(self, identity_id: str, fresh: list[Template]) -> list[Outlier]:
        """Those of the new photos, and then of the enrolled ones, that do not fit the rest; places in that order."""
        if self._policy.outliers is None or not fresh:
            return []
        held = self._held(identity_id, fresh)
        return outliers(np.stack([*(t.vector for t in fresh), *held.values()]), self._policy.outliers)

    def _cleared(self, pair: Sequence[Template], identity_id: str) -> set[str]:
        """Of two that contradict each other the one to keep, by its path, where the other one looks like somebody else.

        That one must be as near to them as photos of one person are, and clearly nearer than the one that is kept.
        """
        limits = self._policy.outliers
        if len(pair) != 2 or limits is None:
            return set()
        told = [(self._crowd.likeness(t.vector, without=identity_id), t.path, t.vector) for t in pair]
        (least, kept, _), (most, _, vector) = sorted(told, key=lambda one: one[:2])
        other = self._crowd.nearest_to(vector, without=identity_id)
        is_like = other is not None and other.similarity >= limits.pair and most - least >= CLEARLY_LIKER
        return {kept} if is_like else set()

    def _chosen(self, identity_id: str, fresh: list[Template]) -> tuple[Template, ...]:
        """As many as there is room for, those first that cover the person's looks best, in the order they came."""
        most = self._policy.max_templates
        if most is None or not fresh:
            return tuple(fresh)
        held = self._held(identity_id, fresh)
        taken = np.stack(list(held.values())) if held else np.empty((0, self._gallery.dimension), np.float32)
        places = covering(np.stack([t.vector for t in fresh]), taken, max(most - len(held), 0))
        self.result.redundant += [t.path for place, t in enumerate(fresh) if place not in places]
        return tuple(t for place, t in enumerate(fresh) if place in places)

    def _held(self, identity_id: str, fresh: Sequence[Template]) -> dict[str, Float32]:
        """Template id to vector of what the person has and keeps."""
        replaced = {t.template_id for t in fresh}
        held = self._crowd.templates_of(identity_id)
        return {key: vector for key, vector in held.items() if key not in replaced}

    def _paths_of(self, identity_id: str, template_ids: Iterable[str]) -> list[str]:
        person = self._ledger.person(identity_id)
        paths = {} if person is None else {t.template_id: t.path for t in person.templates}
        return [paths.get(template_id, template_id) for template_id in template_ids]

    def _whom_it_resembles(self, identity_id: str, vector: Float32, least: float) -> str:
        other = self._crowd.nearest_to(vector, without=identity_id)
        return f"; it looks like {other.identity_id}" if other is not None and other.similarity >= least else ""

    def _accepted(self, works: Iterable[Work]) -> list[Work]:
        """Those who may be enrolled; lists who looks like somebody enrolled, or like somebody earlier in this group."""
        accepted = []
        for work in works:
            alike = self._crowd.alike(work.identity_id, [t.vector for t in work.fresh])
            self.result.suspected_duplicates += alike
            newcomer = work.identity_id not in self._consents
            if alike and newcomer and self._policy.duplicates == "refuse":
                detail = f"looks like {alike[0].other}; enrol under that id, or set enrol.duplicates to flag"
                self._refuse(work.identity_id, RefusalReason.DUPLICATE_PERSON, detail)
                continue
            self._crowd.add([GalleryEntry(t.template_id, work.identity_id, t.vector) for t in work.fresh])
            accepted.append(work)
        self._crowd.end_group()
        return accepted

    def _settle(self, works: Sequence[Work]) -> None:
        """Write what changed. Who was changed by another process meanwhile is looked at again and written then."""
        for some in _parts(works):
            pending: Sequence[Work] = some
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
                        self._keep_crops(work, enrolled=change is not None or work.identity_id in people)

    def _change(self, before: Person | None, work: Work) -> PersonChange | None:
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
        return None if before is not None and is_same(before, after) else PersonChange(before, after)

    def _pruned(self, work: Work) -> tuple[Template, ...]:
        return self._gone.get(work.identity_id, ()) if self._policy.prune else ()

    def _count(self, work: Work, change: PersonChange | None) -> None:
        if change is not None:
            held = set() if change.before is None else {t.template_id for t in change.before.templates}
            replaced = sum(t.template_id in held for t in work.fresh)
            self.result.replaced += replaced
            self.result.added += len(work.fresh) - replaced
            self.result.removed += sum(t.template_id in held for t in self._pruned(work))
        self.result.vanished += [t.path for t in self._gone.get(work.identity_id, ())]

    def _keep_crops(self, work: Work, *, enrolled: bool) -> None:
        """Behind the ledger's write, so that nobody's face is kept who is not in."""
        if self._keep is None or self._policy.dry_run or not enrolled:
            return
        for template in work.fresh:
            if (crop := self._crops.get(template.template_id)) is not None:
                self._keep(template, crop)

    def _template_id(self, identity_id: str, name: str) -> str:
        return template_id(identity_id, self._policy.source_label, name)

    def _refuse(self, file: str, reason: RefusalReason, detail: str) -> None:
        self.result.refused.append(Refusal(file, reason, detail))


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[i : i + GROUP_PEOPLE] for i in range(0, len(items), GROUP_PEOPLE))
