"""The kiosk: frames of a hand-made world in, events and punches out, with a real ledger."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from attendance.decide import Rule
from attendance.errors import LedgerUnavailableError
from attendance.events import Event, EventLog
from attendance.kiosk import Identifiers, Kiosk, Place, Sighting
from attendance.ledger.port import Recorded
from attendance.ledger.sqlite import SqliteLedger
from attendance.pipeline import FaceReader, LivePath
from attendance.search.exact import ExactGallery
from attendance.telemetry import Telemetry
from attendance.track import Tracker
from attendance.types import Direction, EventKind, Frame, GalleryEntry, Person, Punch, RGBImage
from tests.fakes import BLUE, GREEN, RED, ColourEmbedder, PatchDetector, at, person, picture

PLACE = Place("camera-1", "main", Direction.IN, ZoneInfo("UTC"))
KEYS = [
    "event_id", "observed_at", "kind", "identity_id", "similarity", "runner_up", "margin", "threshold", "reason", "box",
    "track_id", "camera_id", "site", "direction", "model",
]  # fmt: skip


class FullLedger(SqliteLedger):
    """A ledger whose disk is full."""

    def record(self, punch: Punch) -> Recorded:
        raise LedgerUnavailableError("the disk is full: free room; nothing was stored")


class Everybody:
    """A directory that stands still."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self.people = people
        self.revision = 7


@pytest.fixture
def people() -> dict[str, Person]:
    return {"red": person("red", RED, name="Red"), "green": person("green", GREEN)}


def path_of(people: dict[str, Person]) -> LivePath:
    gallery = ExactGallery("colours", 8)
    gallery.upsert([GalleryEntry(t.template_id, who, t.vector) for who, p in people.items() for t in p.templates])
    return LivePath(
        FaceReader(PatchDetector(), ColourEmbedder()),
        gallery,
        rule=lambda: Rule(0.95, 0.02),
        tracker=Tracker(),
        min_frames=3,
        max_frames=5,
    )


def kiosk_of(
    people: dict[str, Person],
    ledger: SqliteLedger,
    events: EventLog | None = None,
    said: list[str] | None = None,
    telemetry: Telemetry | None = None,
) -> Kiosk:
    numbers = itertools.count(1)

    def announce(event: Event, label: str) -> None:
        if said is not None:
            said.append(f"{event.kind} {label}")

    return Kiosk(
        ledger,
        directory=Everybody(people),
        place=PLACE,
        card_id="colours",
        events=EventLog(None) if events is None else events,
        identifiers=Identifiers(lambda: f"event-{next(numbers)}", lambda: at(9999), "journal"),
        announce=announce,
        telemetry=telemetry,
    )


@pytest.fixture
def ledger(tmp_path: Path, people: dict[str, Person]) -> Iterator[SqliteLedger]:
    with SqliteLedger(tmp_path / "ledger.sqlite", cooldown_s=300.0, time_zones={"main": ZoneInfo("UTC")}) as opened:
        for one in people.values():
            opened.insert_person(one)
        yield opened


def passing(colour: tuple[int, int, int], *, start_s: float = 0.0) -> list[Frame]:
    images: list[RGBImage] = [picture((colour, (20 + 8 * i, 60, 80))) for i in range(8)]
    return [Frame(image, at(start_s + 0.1 * i), i, "camera-1") for i, image in enumerate(images)]


def sightings(path: LivePath, frames: list[Frame]) -> list[Sighting]:
    """What the frames bring, ended tracks included."""
    changes = [change for frame in frames for change in path.process(frame).changes]
    return [Sighting(change, first_seen_s=0.0, captured_s=0.0) for change in (*changes, *path.finish())]


def run(kiosk: Kiosk, path: LivePath, frames: list[Frame]) -> None:
    for frame in frames:
        kiosk.note_frame(frame)
    for sighting in sightings(path, frames):
        kiosk.settle(sighting)


def test_a_known_person_is_punched_once_and_then_repeats_until_the_cooldown_is_over(
    people: dict[str, Person], ledger: SqliteLedger
) -> None:
    said: list[str] = []
    kiosk = kiosk_of(people, ledger, said=said)
    run(kiosk, path_of(people), passing(RED) + passing(RED, start_s=60) + passing(RED, start_s=301))
    assert said == ["punch Red", "repeat Red", "punch Red"]
    punches = ledger.punches()
    assert [(p.subject_ref, p.journal_id, p.journal_counter) for p in punches] == [
        ("ref-red", "journal", 1),
        ("ref-red", "journal", 2),
        ("ref-red", "journal", 3),
    ]
    assert [row.event_id for row in ledger.attendance()] == ["event-1", "event-3"]
    first = punches[0]
    assert first.observed_at == at(0.2)
    assert (first.site, first.camera_id, first.direction) == ("main", "camera-1", Direction.IN)
    assert (first.runner_up_ref, first.card_id, first.template_revision) == ("ref-green", "colours", 7)
    assert first.margin == pytest.approx(first.similarity - (first.runner_up_similarity or 0.0))
    assert not kiosk.summary.failed
    assert kiosk.summary.to_json()["events"] == {
        "punch": 2, "repeat": 1, "unknown": 0, "ambiguous": 0, "refused": 0,
    }  # fmt: skip


def test_every_event_is_one_line_with_the_contracts_keys(
    people: dict[str, Person], ledger: SqliteLedger, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"before": true}\n', encoding="utf-8")
    with EventLog(path) as events:
        run(kiosk_of(people, ledger, events), path_of(people), passing(RED) + passing(BLUE, start_s=30))
    before, known, unknown = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert before == {"before": True}
    assert list(known) == KEYS
    assert list(unknown) == KEYS
    assert known["kind"] == "punch"
    assert known["observed_at"] == "2026-03-02T08:00:00.200Z"
    assert known["identity_id"] == "red"
    assert known["box"] == [36.0, 60.0, 116.0, 140.0]
    assert known["runner_up"]["identity_id"] == "green"
    assert (unknown["kind"], unknown["identity_id"], unknown["reason"]) == ("unknown", None, "below_threshold")
    assert unknown["similarity"] < unknown["threshold"]


def test_a_punch_that_cannot_be_stored_is_shown_counted_and_a_failure(
    people: dict[str, Person], tmp_path: Path
) -> None:
    said: list[str] = []
    full = FullLedger(tmp_path / "full.sqlite", cooldown_s=300.0, time_zones={})
    with full, EventLog(tmp_path / "e.jsonl") as events:
        kiosk = kiosk_of(people, full, events, said)
        run(kiosk, path_of(people), passing(RED))
    assert said == ["refused Red"]
    event = json.loads((tmp_path / "e.jsonl").read_text(encoding="utf-8"))
    assert (event["kind"], event["reason"], event["identity_id"]) == ("refused", "not_recorded", "red")
    assert kiosk.summary.not_recorded == 1
    assert kiosk.summary.failed


@pytest.mark.parametrize(("first", "last", "kind"), [
    (date(2026, 3, 2), date(2026, 3, 2), EventKind.PUNCH),
    (date(2026, 3, 3), None, EventKind.REFUSED),
    (None, date(2026, 3, 1), EventKind.REFUSED),
])  # fmt: skip
def test_a_person_outside_their_dates_is_refused_and_not_stored(
    ledger: SqliteLedger, people: dict[str, Person], first: date | None, last: date | None, kind: EventKind
) -> None:
    red = people["red"]
    dated = Person(
        red.identity_id, red.subject_ref, 2, red.created_at, red.consent, "Red",
        active_from=first, active_to=last, templates=red.templates,
    )  # fmt: skip
    kiosk = kiosk_of({**people, "red": dated}, ledger)
    run(kiosk, path_of(people), passing(RED))
    assert kiosk.summary.kinds == {kind: 1}
    assert len(ledger.punches()) == (1 if kind is EventKind.PUNCH else 0)


def test_nobody_in_view_brings_no_event(people: dict[str, Person], ledger: SqliteLedger) -> None:
    kiosk = kiosk_of(people, ledger)
    run(kiosk, path_of(people), [Frame(picture(), at(i), i, "camera-1") for i in range(5)])
    assert kiosk.summary.kinds == {}
    assert kiosk.summary.frames == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="missing device: /dev/full")
def test_events_that_cannot_be_written_are_counted_and_the_punch_is_still_recorded(
    people: dict[str, Person], ledger: SqliteLedger
) -> None:
    with EventLog(Path("/dev/full")) as events:
        kiosk = kiosk_of(people, ledger, events)
        run(kiosk, path_of(people), passing(RED))
    assert len(ledger.attendance()) == 1
    assert kiosk.summary.events_lost == 1
    assert kiosk.summary.failed


def test_what_happens_is_told_to_prometheus(people: dict[str, Person], ledger: SqliteLedger, tmp_path: Path) -> None:
    told, lost = Telemetry(), Telemetry()
    with EventLog(Path("/dev/full")) as events:
        run(kiosk_of(people, ledger, events, telemetry=told), path_of(people), passing(RED) + passing(RED, start_s=60))
    with FullLedger(tmp_path / "full.sqlite", cooldown_s=300.0, time_zones={}) as full:
        run(kiosk_of(people, full, telemetry=lost), path_of(people), passing(RED))

    def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(f"attendance_{name}", labels)

    assert value(told, "events_total", kind="punch", camera="camera-1") == 1
    assert value(told, "events_total", kind="repeat", camera="camera-1") == 1
    assert value(told, "events_not_written_total", camera="camera-1") == 2
    assert value(told, "stage_seconds_count", stage="ledger") == 2
    assert value(told, "time_to_record_seconds_count") == 2
    assert value(lost, "events_total", kind="refused", camera="camera-1") == 1
    assert value(lost, "punches_not_recorded_total", camera="camera-1") == 1
    assert value(lost, "time_to_record_seconds_count") == 0


class Interrupted(SqliteLedger):
    """A ledger in front of which something else happens: ``meanwhile`` is called in the middle of a punch."""

    meanwhile: Callable[[], None]

    def record(self, punch: Punch) -> Recorded:
        self.meanwhile()
        return super().record(punch)


def interrupted(folder: Path, people: dict[str, Person], meanwhile: Callable[[], None]) -> Interrupted:
    ledger = Interrupted(folder / "i.sqlite", cooldown_s=300.0, time_zones={"main": ZoneInfo("UTC")})
    for one in people.values():
        ledger.insert_person(one)
    ledger.meanwhile = meanwhile
    return ledger


def test_what_is_given_up_in_the_middle_of_a_punch_is_counted_as_lost_once_and_told_to_nobody(
    people: dict[str, Person], tmp_path: Path
) -> None:
    said: list[str] = []
    path = tmp_path / "events.jsonl"
    with interrupted(tmp_path, people, lambda: kiosk.give_up(why="a test")) as ledger, EventLog(path) as events:
        kiosk = kiosk_of(people, ledger, events, said)
        first, second = sightings(path_of(people), passing(RED) + passing(BLUE, start_s=30))
        kiosk.settle(first)
        kiosk.settle(second)
    assert (kiosk.summary.not_recorded, kiosk.summary.events_lost) == (1, 1)
    assert (kiosk.summary.kinds, kiosk.summary.recorded) == ({EventKind.REFUSED: 1}, [])
    assert (said, path.read_text(encoding="utf-8")) == ([], "")


def test_a_failure_nobody_foresaw_is_raised_and_the_punch_counted_as_lost(
    people: dict[str, Person], tmp_path: Path
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with interrupted(tmp_path, people, fail) as ledger:
        kiosk = kiosk_of(people, ledger)
        [sighting] = sightings(path_of(people), passing(RED))
        with pytest.raises(ZeroDivisionError):
            kiosk.settle(sighting)
        kiosk.fail()
        kiosk.fail()
    assert (kiosk.summary.not_recorded, kiosk.summary.events_lost) == (1, 1)


def test_what_finds_no_room_is_counted_by_what_it_would_have_been(
    people: dict[str, Person], ledger: SqliteLedger
) -> None:
    kiosk = kiosk_of(people, ledger)
    for sighting in sightings(path_of(people), passing(RED) + passing(BLUE, start_s=30)):
        kiosk.lose(sighting, why="a test")
    summary = kiosk.summary
    assert summary.kinds == {EventKind.REFUSED: 1, EventKind.UNKNOWN: 1}
    assert summary.reasons == {"not_recorded": 1, "below_threshold": 1}
    assert (summary.not_recorded, summary.events_lost, summary.failed) == (1, 2, True)
    assert ledger.punches() == []
