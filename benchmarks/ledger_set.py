"""The people and punches that the ledger's measurements are made on: drawn by seed, the same each time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from attendance.ledger.port import Ledger
from attendance.types import Consent, Direction, Person, Punch, Template

START = datetime(2026, 1, 1, 5, tzinfo=UTC)
DAYS = 60
ZONES = {"main": ZoneInfo("Europe/Berlin"), "annex": ZoneInfo("America/New_York")}
CAMERAS = ("door", "gate")
DEPARTMENTS = ("", "workshop", "office", "kitchen")
_BATCH = 5000
_REMOVED_IN = 500


def identity(number: int) -> str:
    """The identity id of a person."""
    return f"person-{number:05d}"


def fill(ledger: Ledger, punches: int, people: int) -> None:
    """Put the set into an empty ledger; one person in 500 has been removed since, and one punch in ten is a repeat."""
    chance, noise = random.Random(1), np.random.default_rng(1)
    for start in range(0, people, _BATCH):
        ledger.import_people([_person(n, noise) for n in range(start, min(start + _BATCH, people))])
    for start in range(0, punches, _BATCH):
        ledger.import_punches([_punch(n, people, chance) for n in range(start, min(start + _BATCH, punches))])
    ledger.rebuild_attendance()
    for number in range(0, people, _REMOVED_IN):
        ledger.remove_person(identity(number), version=1)


def _person(number: int, noise: np.random.Generator) -> Person:
    template = Template(
        template_id=f"template-{number}",
        vector=noise.standard_normal(128).astype(np.float32),
        card_id="card",
        source_label="photos",
        path=f"{number}/1.jpg",
        sha256=f"{number:064x}",
        batch="batch",
        created_at=START,
    )
    return Person(
        identity_id=identity(number),
        subject_ref=f"ref-{number:05d}",
        version=1,
        created_at=START,
        department=DEPARTMENTS[number % len(DEPARTMENTS)],
        consent=Consent(policy="attested", version="1", at=START, by="operator"),
        templates=(template,),
    )


def _punch(number: int, people: int, chance: random.Random) -> Punch:
    # Every tenth follows the one before it within the cooldown, by the same person at the same camera.
    who = random.Random(number - 1 if number % 10 == 9 else number)
    subject, site, camera = who.randrange(people), who.choice(sorted(ZONES)), who.choice(CAMERAS)
    direction, second = who.choice([Direction.IN, Direction.OUT]), who.randrange(DAYS * 86_400)
    observed_at = START + timedelta(seconds=second, milliseconds=chance.randrange(100_000))
    return Punch(
        event_id=f"event-{number:08d}",
        subject_ref=f"ref-{subject:05d}",
        journal_id="journal",
        journal_counter=number,
        observed_at=observed_at,
        recorded_at=observed_at,
        site=site,
        camera_id=camera,
        direction=direction,
        method="face",
        similarity=0.9 + 0.1 * chance.random(),
        runner_up_ref=None,
        runner_up_similarity=None,
        margin=None,
        threshold=0.9,
        card_id="card",
        template_revision=1,
        track_id=number,
    )
