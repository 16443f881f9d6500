"""What a run of enrolment has before it: people, the photos to read of each, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from attendance.enrol.values import Refusal
from attendance.people_csv import PersonRow
from attendance.stills import Reading
from attendance.types import Consent, Template


@dataclass(frozen=True, slots=True)
class Work:
    """One person's part of a run: what must be read, then what came of it. ``consent`` None: nobody agreed."""

    identity_id: str
    row: PersonRow | None
    consent: Consent | None = None
    photos: int = 0
    unread: tuple[tuple[str, Path], ...] = ()
    fresh: tuple[Template, ...] = ()


@dataclass(slots=True)
class Group:
    """People whose photos are read, decided on and written together; ``refused`` before anything was read."""

    works: list[Work] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
