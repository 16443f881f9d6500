"""What enrolment is told and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attendance.consistency import OutlierLimits
from attendance.duplicates import Standing
from attendance.types import Person, RefusalReason

SINGLE_SOURCE = "enrol"
"""Source label of people enrolled one by one; no folder may use it, so that no prune takes their templates."""


@dataclass(frozen=True, slots=True)
class EnrolPolicy:
    """What enrolment demands.

    ``attested_by`` vouches for consent under policy ``attested``. ``duplicate_threshold`` is the cosine from which a
    new template of one person is suspected to show another; None leaves the check out. ``standing`` finds those who
    are less near and yet stand out. ``outliers`` None keeps every photo, ``max_templates`` None as many as there are.
    """

    consent: str
    attested_by: str
    duplicates: str
    duplicate_threshold: float | None
    source_label: str
    prune: bool = False
    dry_run: bool = False
    standing: Standing | None = None
    outliers: OutlierLimits | None = None
    max_templates: int | None = None


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
    """What a run did: counts of templates, what was refused, who looks like somebody else, which photos are gone.

    ``batch`` is the run's, by which it can be undone. ``redundant`` are good photos that were not needed, because the
    person has as many templates as there shall be. ``suspects`` were enrolled before and do not fit the rest.
    """

    batch: str = ""
    added: int = 0
    replaced: int = 0
    removed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    suspected_duplicates: list[SuspectedDuplicate] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    redundant: list[str] = field(default_factory=list)
    suspects: list[Refusal] = field(default_factory=list)


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


def template_id(identity_id: str, source_label: str, path: str) -> str:
    """The id of the template of one photo: the same photo of the same person and source has the same id, always."""
    return hashlib.sha256(f"{identity_id}\0{source_label}\0{path}".encode()).hexdigest()[:32]


def is_same(before: Person, after: Person) -> bool:
    """Whether two states of a person are the same but for the version."""
    details = ("name", "department", "site", "group", "active_from", "active_to", "consent")
    return all(getattr(before, name) == getattr(after, name) for name in details) and [
        (t.template_id, t.sha256, t.card_id) for t in before.templates
    ] == [(t.template_id, t.sha256, t.card_id) for t in after.templates]
