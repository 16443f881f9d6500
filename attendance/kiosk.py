"""The kiosk: what the path says of a camera's tracks becomes events, punches and a picture for the people in front.

A recognised track is stored as a punch whether it counts or repeats; a punch that cannot be stored is shown as not
recorded and counted, never dropped in silence.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from attendance.errors import LedgerError
from attendance.events import Event, EventLog, format_utc
from attendance.ledger.port import Recorded
from attendance.pipeline import LivePath, TrackChange, TrackView
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

_TRACKS_REMEMBERED = 1000


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


class Kiosk:
    """Runs one camera."""

    def __init__(
        self,
        path: LivePath,
        ledger: Recorder,
        *,
        directory: Directory,
        place: Place,
        card_id: str,
        events: EventLog,
        identifiers: Identifiers,
        announce: Callable[[Event, str], None] = lambda event, label: None,
        turn: AbstractContextManager[Any] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """``announce`` is told of each event with the label to show for it.

        ``turn`` is held while the path works on a frame: a lock, where several cameras share the networks.
        ``telemetry`` counts events and what was lost of them, and times the ledger and the way to it.
        """
        self._path = path
        self._ledger = ledger
        self._directory = directory
        self._place = place
        self._card_id = card_id
        self._events = events
        self._identifiers = identifiers
        self._announce = announce
        self._turn = nullcontext() if turn is None else turn
        self._telemetry = Telemetry() if telemetry is None else telemetry
        self._counter = 0
        self._in_view_since: dict[int, float] = {}
        self.summary = Summary()

    def run(
        self,
        frames: Iterable[Frame],
        *,
        show: Callable[[Frame, tuple[TrackView, ...]], bool],
    ) -> Summary:
        """Take frames until they end or ``show`` returns False; then every track is ended and decided.

        ``show`` gets each frame with the faces in it and says whether to go on.
        """
        for frame in frames:
            self._note_frame(frame)
            with self._turn:
                result = self._path.process(frame)
            self._note_views(result.views)
            for change in result.changes:
                self._settle(change)
            if not show(frame, result.views):
                break
        with self._turn:
            changes = self._path.finish()
        for change in changes:
            self._settle(change)
        return self.summary

    def _note_frame(self, frame: Frame) -> None:
        summary = self.summary
        summary.frames += 1
        if summary.first_frame_at is None:
            summary.first_frame_at = frame.observed_at
        summary.last_frame_at = frame.observed_at

    def _note_views(self, views: Iterable[TrackView]) -> None:
        """Remember since when each track is looked at, in this machine's own time."""
        now = time.monotonic()
        for view in views:
            self._in_view_since.setdefault(view.track_id, now)
        while len(self._in_view_since) > _TRACKS_REMEMBERED:
            del self._in_view_since[next(iter(self._in_view_since))]

    def _settle(self, change: TrackChange) -> None:
        """Turn one change of a track into its event, and into a punch when somebody was recognised."""
        decision = change.decision
        event_id = self._identifiers.event_id()
        if decision is None or decision.outcome is not Outcome.KNOWN or decision.best is None:
            kind = EventKind.AMBIGUOUS if decision and decision.outcome is Outcome.AMBIGUOUS else EventKind.UNKNOWN
            reason = "no_good_frame" if decision is None else decision.reason
        else:
            kind, reason = self._punch(event_id, change, decision, decision.best)
        self._emit(self._event(event_id, change, kind, reason))

    def _punch(self, event_id: str, change: TrackChange, decision: Decision, best: Candidate) -> tuple[EventKind, str]:
        """Store the punch of a recognised person; the event's kind and reason."""
        person = self._directory.people.get(best.identity_id)
        if person is None:
            return EventKind.REFUSED, "not_enrolled"
        if not person.active_on(local_day(change.observed_at, self._place.time_zone)):
            return EventKind.REFUSED, "not_active"
        try:
            with self._telemetry.timed("ledger"):
                recorded = self._record(event_id, change, decision, person)
        except LedgerError as error:
            _log.error("a punch was not recorded: %s", error)
            self.summary.not_recorded += 1
            self._telemetry.punch_not_recorded(self._place.camera_id)
            return EventKind.REFUSED, NOT_RECORDED
        if change.track_id in self._in_view_since:
            self._telemetry.time_to_record(time.monotonic() - self._in_view_since[change.track_id])
        if recorded.counted:
            self.summary.recorded.append((person.identity_id, change.observed_at))
            return EventKind.PUNCH, decision.reason
        return EventKind.REPEAT, "cooldown"

    def _record(self, event_id: str, change: TrackChange, decision: Decision, person: Person) -> Recorded:
        assert decision.best is not None
        runner_up = decision.runner_up
        other = None if runner_up is None else self._directory.people.get(runner_up.identity_id)
        self._counter += 1
        return self._ledger.record(
            Punch(
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
                card_id=self._card_id,
                template_revision=self._directory.revision,
                track_id=change.track_id,
            )
        )

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
            model=self._card_id,
        )

    def _emit(self, event: Event) -> None:
        self.summary.kinds[event.kind] += 1
        self.summary.reasons[event.reason] += 1
        self._telemetry.event(event.kind, event.camera_id)
        try:
            self._events.append(event)
        except OSError as error:
            _log.error("an event was not written: %s", error.strerror)
            self.summary.events_lost += 1
            self._telemetry.event_not_written(event.camera_id)
        self._announce(event, self._label(event))

    def _label(self, event: Event) -> str:
        if event.identity_id is None:
            return str(event.kind)
        person = self._directory.people.get(event.identity_id)
        return event.identity_id if person is None else person.label
