"""The kiosk: what the path says of a camera's tracks becomes events and punches.

A recognised track is stored as a punch whether it counts or repeats; a punch that cannot be stored is shown as not
recorded and counted, never dropped in silence.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from attendance.errors import LedgerError
from attendance.events import Event, EventLog, format_utc
from attendance.ledger.port import Recorded
from attendance.pipeline import TrackChange
from attendance.telemetry import Telemetry
from attendance.types import (
    Candidate,
    Decision,
    Direction,
    EventKind,
    Frame,
    Outcome,
    Person,
    Punch,
)
from attendance.workday import local_day

_log = logging.getLogger(__name__)

NOT_RECORDED = "not_recorded"


class Directory(Protocol):
    """Who is enrolled, as the follower of the ledger last saw it."""

    @property
    def people(self) -> Mapping[str, Person]:
        """Identity id to person."""

    @property
    def revision(self) -> int:
        """The template revision this is the state of."""


class Recorder(Protocol):
    """Where punches go: the ledger, or what reaches it."""

    def record(self, punch: Punch) -> Recorded:
        """See the ledger's port."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a camera stands and how it counts."""

    camera_id: str
    site: str
    direction: Direction
    time_zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Where ids and the time come from: a fresh event id, the present moment (aware UTC), this run's journal id."""

    event_id: Callable[[], str]
    now: Callable[[], datetime]
    journal_id: str


@dataclass(slots=True)
class Summary:
    """What a run brought: counts by kind, who was recorded, what was not."""

    frames: int = 0
    first_frame_at: datetime | None = None
    last_frame_at: datetime | None = None
    kinds: Counter[EventKind] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    recorded: list[tuple[str, datetime]] = field(default_factory=list)
    not_recorded: int = 0
    events_lost: int = 0

    @property
    def failed(self) -> bool:
        """Whether something that happened is not on record."""
        return self.not_recorded > 0 or self.events_lost > 0

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values, times as ISO 8601 UTC."""
        return {
            "frames": self.frames,
            "first_frame_at": None if self.first_frame_at is None else format_utc(self.first_frame_at),
            "last_frame_at": None if self.last_frame_at is None else format_utc(self.last_frame_at),
            "events": {str(kind): self.kinds[kind] for kind in EventKind},
            "reasons": dict(sorted(self.reasons.items())),
            "recorded": [{"identity_id": who, "observed_at": format_utc(when)} for who, when in self.recorded],
            "not_recorded": self.not_recorded,
            "events_lost": self.events_lost,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A change of a track on its way to the ledger, with two moments in seconds of `time.monotonic`.

    ``first_seen_s``: when the first frame that shows the track left the camera; ``captured_s``: when the frame did
    that brought the change.
    """

    change: TrackChange
    first_seen_s: float
    captured_s: float


class _Work(StrEnum):
    """What the kiosk is at with the sighting in its hands."""

    PUNCH = "punch"
    EVENT = "event"


class Kiosk:
    """One camera's way into the ledger and the events.

    One thread at a time settles sightings (`begin`, then `settle`); frames may be noted, and sightings lost, by others.
    """

    def __init__(
        self,
        ledger: Recorder,
        *,
        directory: Directory,
        place: Place,
        card_id: str,
        events: EventLog,
        identifiers: Identifiers,
        announce: Callable[[Event, str], None] = lambda event, label: None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """``announce`` is told of each event with the label to show for it.

        ``telemetry`` counts events and what was lost of them, and times the ledger and the way to it.
        """
        self._ledger = ledger
        self._directory = directory
        self._place = place
        self._card_id = card_id
        self._events = events
        self._identifiers = identifiers
        self._announce = announce
        self._telemetry = Telemetry() if telemetry is None else telemetry
        self._counter = 0
        self._counting = threading.Lock()
        self._work: tuple[Sighting, _Work] | None = None
        self._is_given_up = False
        self.summary = Summary()

    def note_frame(self, frame: Frame) -> None:
        """Count a frame that was looked at."""
        summary = self.summary
        summary.frames += 1
        if summary.first_frame_at is None:
            summary.first_frame_at = frame.observed_at
        summary.last_frame_at = frame.observed_at

    def begin(self, sighting: Sighting) -> None:
        """Take a sighting in hand: from here on `give_up` and `fail` know of it."""
        with self._counting:
            self._work = None if self._is_given_up else (sighting, _Work.PUNCH)

    def settle(self, sighting: Sighting) -> None:
        """Turn a change of a track into its event, and into a punch when somebody was recognised; count and tell it.

        Raises what ``announce`` raises, and what the ledger and the events raise besides their own errors.
        """
        self.begin(sighting)
        if self._is_given_up:
            return
        change, event_id = sighting.change, self._identifiers.event_id()
        recorded = self._record(event_id, sighting) if _recognised(change) is not None else None
        kind, reason = _outcome(change) if recorded is None else recorded
        event = self._event(event_id, change, kind, reason)
        if not self._count(event, sighting):
            return
        self._write(event)
        self._announce(event, self._label(event))

    def lose(self, sighting: Sighting, *, why: str) -> None:
        """Count a sighting that is not settled: nothing of it is on record. May be called by any thread."""
        _log.error("what a camera saw is not on record: %s", why)
        with self._counting:
            self._lose(sighting)

    def fail(self) -> None:
        """Settling raised: count what is not on record of the sighting in hand."""
        with self._counting:
            self._drop_work()

    def give_up(self, *, why: str) -> None:
        """Wait no more for the sighting in hand: what is not known to be on record of it is lost."""
        _log.error("what a camera saw may not be on record: %s", why)
        with self._counting:
            self._is_given_up = True
            self._drop_work()

    def _drop_work(self) -> None:
        if self._work is None:
            return
        sighting, work = self._work
        self._work = None
        if work is _Work.PUNCH:
            self._lose(sighting)
        else:
            self._lose_event()

    def _lose(self, sighting: Sighting) -> None:
        kind, reason = _outcome(sighting.change)
        if _recognised(sighting.change) is not None:
            self._lose_punch()
        self._count_event(kind, reason)
        self._lose_event()

    def _lose_punch(self) -> None:
        self.summary.not_recorded += 1
        self._telemetry.punch_not_recorded(self._place.camera_id)

    def _lose_event(self) -> None:
        self.summary.events_lost += 1
        self._telemetry.event_not_written(self._place.camera_id)

    def _count_event(self, kind: EventKind, reason: str) -> None:
        self.summary.kinds[kind] += 1
        self.summary.reasons[reason] += 1
        self._telemetry.event(kind, self._place.camera_id)

    def _count(self, event: Event, sighting: Sighting) -> bool:
        """Count what became of the sighting in hand; False where it was given up meanwhile, and is counted as lost."""
        with self._counting:
            if self._is_given_up:
                return False
            self._work = sighting, _Work.EVENT
            self._count_event(event.kind, event.reason)
            if event.reason == NOT_RECORDED:
                self._lose_punch()
            if event.kind is EventKind.PUNCH and event.identity_id is not None:
                self.summary.recorded.append((event.identity_id, event.observed_at))
            return True

    def _write(self, event: Event) -> None:
        is_written = True
        try:
            self._events.append(event)
        except OSError as error:
            is_written = False
            _log.error("an event was not written: %s", error.strerror)
        with self._counting:
            if self._work is not None and not is_written:
                self._lose_event()
            self._work = None

    def _record(self, event_id: str, sighting: Sighting) -> tuple[EventKind, str]:
        """Store the punch of a recognised person; the event's kind and reason."""
        change = sighting.change
        decision = change.decision
        assert decision is not None and decision.best is not None
        person = self._directory.people.get(decision.best.identity_id)
        if person is None:
            return EventKind.REFUSED, "not_enrolled"
        if not person.active_on(local_day(change.observed_at, self._place.time_zone)):
            return EventKind.REFUSED, "not_active"
        try:
            with self._telemetry.timed("ledger"):
                recorded = self._ledger.record(self._punch(event_id, change, decision, person))
        except LedgerError as error:
            _log.error("a punch was not recorded: %s", error)
            return EventKind.REFUSED, NOT_RECORDED
        now = time.monotonic()
        self._telemetry.time_to_record(now - sighting.first_seen_s, since_capture_s=now - sighting.captured_s)
        return (EventKind.PUNCH, decision.reason) if recorded.counted else (EventKind.REPEAT, "cooldown")

    def _punch(self, event_id: str, change: TrackChange, decision: Decision, person: Person) -> Punch:
        assert decision.best is not None
        runner_up = decision.runner_up
        other = None if runner_up is None else self._directory.people.get(runner_up.identity_id)
        self._counter += 1
        return Punch(
            event_id=event_id,
            subject_ref=person.subject_ref,
            journal_id=self._identifiers.journal_id,
            journal_counter=self._counter,
            observed_at=change.observed_at,
            recorded_at=self._identifiers.now(),
            site=self._place.site,
            camera_id=self._place.camera_id,
            direction=self._place.direction,
            method="face",
            similarity=decision.best.similarity,
            runner_up_ref=None if other is None else other.subject_ref,
            runner_up_similarity=None if runner_up is None else runner_up.similarity,
            margin=decision.margin,
            threshold=decision.threshold,
            card_id=self._card_of(change),
            template_revision=self._directory.revision,
            track_id=change.track_id,
        )

    def _card_of(self, change: TrackChange) -> str:
        return change.card_id if change.card_id else self._card_id

    def _event(self, event_id: str, change: TrackChange, kind: EventKind, reason: str) -> Event:
        decision = change.decision
        best = None if decision is None else decision.best
        named = kind in (EventKind.PUNCH, EventKind.REPEAT, EventKind.REFUSED)
        x1, y1, x2, y2 = (float(value) for value in change.face.box)
        return Event(
            event_id=event_id,
            observed_at=change.observed_at,
            kind=kind,
            identity_id=best.identity_id if named and best is not None else None,
            similarity=None if best is None else best.similarity,
            runner_up=None if decision is None else decision.runner_up,
            margin=None if decision is None else decision.margin,
            threshold=None if decision is None else decision.threshold,
            reason=reason,
            box=(x1, y1, x2, y2),
            track_id=change.track_id,
            camera_id=self._place.camera_id,
            site=self._place.site,
            direction=self._place.direction,
            model=self._card_of(change),
        )

    def _label(self, event: Event) -> str:
        if event.identity_id is None:
            return str(event.kind)
        person = self._directory.people.get(event.identity_id)
        return event.identity_id if person is None else person.label


def _recognised(change: TrackChange) -> Candidate | None:
    """Who the track is decided to be, None where it is nobody."""
    decision = change.decision
    return None if decision is None or decision.outcome is not Outcome.KNOWN else decision.best


def _outcome(change: TrackChange) -> tuple[EventKind, str]:
    """The event's kind and reason without a punch."""
    decision = change.decision
    if decision is None:
        return EventKind.UNKNOWN, "no_good_frame"
    if _recognised(change) is not None:
        return EventKind.REFUSED, NOT_RECORDED
    return (EventKind.AMBIGUOUS if decision.outcome is Outcome.AMBIGUOUS else EventKind.UNKNOWN), decision.reason
