"""What every ledger adapter does with punches and attendance: the same for each, through the port alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from attendance.errors import LedgerError
from attendance.ledger.port import Ledger, PunchQuery, Recorded
from attendance.types import AttendanceRow, Direction, Person, Punch
from tests.ledger.conftest import in_threads
from tests.ledger.test_contract_people import plain, stored

MakePerson = Callable[..., Person]
MakePunch = Callable[..., Punch]
Expect = Callable[..., list[AttendanceRow]]
Opener = Callable[..., Ledger]
MOMENT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def test_a_punch_comes_back_as_recorded(ledger: Ledger, make_punch: MakePunch) -> None:
    bare = make_punch(1)
    full = make_punch(
        2,
        1.25,
        direction=Direction.UNSPECIFIED,
        runner_up_ref="ref-02",
        runner_up_similarity=0.1 + 0.2,
        margin=1e-17,
        similarity=-1.0,
        liveness=0.5,
        chain_hash="ab" * 32,
    )
    for punch in (bare, full):
        assert ledger.record(punch).inserted
    assert ledger.punches() == [bare, full]


def test_a_punch_is_recorded_once(ledger: Ledger, make_punch: MakePunch) -> None:
    punch = make_punch(1)
    assert ledger.record(punch) == Recorded(inserted=True, counted=True)
    assert ledger.record(punch) == Recorded(inserted=False, counted=True)
    assert ledger.record(make_punch(1, 9999.0, camera_id="other")) == Recorded(inserted=False, counted=True)
    assert ledger.punches() == [punch]
    repeat = make_punch(2, 10.0)
    assert ledger.record(repeat) == Recorded(inserted=True, counted=False)
    assert ledger.record(repeat) == Recorded(inserted=False, counted=False)
    assert [row.event_id for row in ledger.attendance()] == ["event-00001"]


def test_times_are_kept_in_whole_milliseconds(ledger: Ledger, make_punch: MakePunch) -> None:
    ledger.record(make_punch(1, observed_at=MOMENT.replace(microsecond=123_999)))
    assert ledger.punches()[0].observed_at == MOMENT.replace(microsecond=123_000)
    assert ledger.punches()[0].observed_at.tzinfo is UTC
    assert ledger.attendance()[0].observed_at == MOMENT.replace(microsecond=123_000)


def test_punches_are_ordered_by_time_journal_and_counter(ledger: Ledger, make_punch: MakePunch) -> None:
    ordered = [
        make_punch(5, 0.0, journal_id="a", journal_counter=9),
        make_punch(4, 1.0, journal_id="a", journal_counter=2),
        make_punch(3, 1.0, journal_id="a", journal_counter=10),
        make_punch(2, 1.0, journal_id="b", journal_counter=1),
        make_punch(1, 1.001, journal_id="a", journal_counter=1),
    ]
    for punch in (ordered[i] for i in (3, 0, 4, 2, 1)):
        ledger.record(punch)
    assert ledger.punches() == ordered


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PunchQuery(), [1, 2, 3, 4]),
        (PunchQuery(since=MOMENT + timedelta(hours=1)), [2, 3, 4]),
        (PunchQuery(until=MOMENT + timedelta(hours=1)), [1]),
        (PunchQuery(since=MOMENT + timedelta(hours=1), until=MOMENT + timedelta(hours=3)), [2, 3]),
        (PunchQuery(identity_id="person-01"), [1, 2]),
        (PunchQuery(identity_id="person-09"), []),
        (PunchQuery(site="annex"), [3, 4]),
        (PunchQuery(camera_id="gate"), [2, 4]),
        (PunchQuery(site="annex", camera_id="gate", since=MOMENT), [4]),
    ],
)
def test_punches_and_attendance_are_found_by(
    ledger: Ledger, make_punch: MakePunch, make_person: MakePerson, query: PunchQuery, expected: list[int]
) -> None:
    ledger.insert_person(make_person(1))
    ledger.insert_person(make_person(2))
    ledger.record(make_punch(1))
    ledger.record(make_punch(2, 3600.0, camera_id="gate"))
    ledger.record(make_punch(3, 7200.0, subject_ref="ref-02", site="annex"))
    ledger.record(make_punch(4, 10800.0, subject_ref="ref-02", site="annex", camera_id="gate"))
    ids = [f"event-{number:05d}" for number in expected]
    assert [punch.event_id for punch in ledger.punches(query)] == ids
    assert [row.event_id for row in ledger.attendance(query)] == ids


def test_days_are_local_inclusive_and_no_question_for_raw_punches(ledger: Ledger, make_punch: MakePunch) -> None:
    for number, day in enumerate((4, 5, 6, 7)):
        ledger.record(make_punch(number, observed_at=datetime(2026, 1, day, 23, 30, tzinfo=UTC)))
    found = ledger.attendance(PunchQuery(first_day=date(2026, 1, 6), last_day=date(2026, 1, 7)))
    assert [row.event_id for row in found] == ["event-00001", "event-00002"]
    with pytest.raises(LedgerError, match="local day"):
        ledger.punches(PunchQuery(first_day=date(2026, 1, 6)))


# Attendance


def test_exactly_the_cooldown_later_counts(ledger: Ledger, make_punch: MakePunch) -> None:
    counted = [
        ledger.record(make_punch(i, at_s)).counted for i, at_s in enumerate((0.0, 299.999, 300.0, 599.999, 600.0))
    ]
    assert counted == [True, False, True, False, True]


def test_without_a_cooldown_every_punch_counts(open_ledger: Opener, make_punch: MakePunch) -> None:
    ledger = open_ledger(cooldown_s=0.0)
    for number, at_s in enumerate((0.0, 0.0, 0.001, 5.0, 0.0)):
        assert ledger.record(make_punch(number, at_s)).counted
    assert len(ledger.attendance()) == 5


def test_sites_directions_and_people_count_apart(ledger: Ledger, make_punch: MakePunch) -> None:
    assert ledger.record(make_punch(1)).counted
    assert ledger.record(make_punch(2, 1.0, direction=Direction.OUT)).counted
    assert ledger.record(make_punch(3, 2.0, site="annex")).counted
    assert ledger.record(make_punch(4, 3.0, subject_ref="ref-02")).counted
    assert not ledger.record(make_punch(5, 4.0, camera_id="other")).counted


def test_a_late_punch_moves_what_counts_behind_it(ledger: Ledger, make_punch: MakePunch) -> None:
    ledger.record(make_punch(2, 200.0))
    ledger.record(make_punch(3, 400.0))
    ledger.record(make_punch(4, 550.0))
    ledger.record(make_punch(5, 2000.0))
    assert [row.event_id for row in ledger.attendance()] == ["event-00002", "event-00004", "event-00005"]
    assert ledger.record(make_punch(1, 50.0)).counted
    assert [row.event_id for row in ledger.attendance()] == ["event-00001", "event-00003", "event-00005"]


@pytest.mark.parametrize("cooldown_s", [0.0, 60.0, 300.0, 86_400.0])
def test_any_order_of_arrival_gives_the_derived_table(
    open_ledger: Opener, make_punch: MakePunch, make_person: MakePerson, expected_rows: Expect, cooldown_s: float
) -> None:
    chance = random.Random(int(cooldown_s) + 1)
    punches = [
        make_punch(
            number,
            chance.choice([chance.randrange(0, 4000), chance.randrange(0, 20) * 300]),
            subject_ref=chance.choice(["ref-01", "ref-02"]),
            site=chance.choice(["main", "annex", "nowhere"]),
            direction=chance.choice([Direction.IN, Direction.OUT]),
            journal_id=chance.choice(["journal-a", "journal-b"]),
        )
        for number in range(40)
    ]
    ledger = open_ledger(cooldown_s=cooldown_s)
    ledger.insert_person(make_person(1))
    known: list[Punch] = []
    for number, punch in enumerate(chance.sample(punches, len(punches)) + chance.sample(punches, 10)):
        counted = ledger.record(punch).counted
        known.append(punch)
        if number % 10 == 0:
            expected = expected_rows(set(known), cooldown_s=cooldown_s, names={"ref-01": "person-01"})
            assert ledger.attendance() == expected
            assert counted == (punch.event_id in {row.event_id for row in expected})
    before = ledger.attendance()
    assert before == expected_rows(punches, cooldown_s=cooldown_s, names={"ref-01": "person-01"})
    assert ledger.rebuild_attendance() == len(before)
    assert ledger.attendance() == before


def test_a_day_is_the_sites_own(ledger: Ledger, make_punch: MakePunch) -> None:
    late = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    ledger.record(make_punch(1, observed_at=late))
    ledger.record(make_punch(2, observed_at=late, site="annex"))
    ledger.record(make_punch(3, observed_at=late, site="nowhere"))
    rows = {row.site: row for row in ledger.attendance()}
    assert rows["main"].local_day == date(2026, 1, 6)
    assert rows["annex"].local_day == date(2026, 1, 5)
    assert rows["nowhere"].local_day == date(2026, 1, 5)
    assert rows["main"].rules == "v1 cooldown=300 zone=Europe/Berlin"
    assert rows["nowhere"].rules == "v1 cooldown=300 zone=UTC (site not configured)"


def test_other_rules_count_the_table_anew_at_the_next_question(
    open_ledger: Opener, make_punch: MakePunch, expected_rows: Expect
) -> None:
    punches = [make_punch(i, 100.0 * i) for i in range(20)]
    first = open_ledger(cooldown_s=300.0)
    for punch in punches:
        first.record(punch)
    first.close()
    zones = {"main": ZoneInfo("Asia/Tokyo")}
    second = open_ledger(cooldown_s=700.5, time_zones=zones)
    assert second.attendance() == expected_rows(punches, cooldown_s=700.5, zones=zones)


def test_other_rules_count_the_table_anew_at_the_next_punch(
    open_ledger: Opener, make_punch: MakePunch, expected_rows: Expect
) -> None:
    punches = [make_punch(i, 100.0 * i) for i in range(21)]
    first = open_ledger(cooldown_s=300.0)
    for punch in punches[:20]:
        first.record(punch)
    second = open_ledger(cooldown_s=1000.0)
    assert second.record(punches[20]).counted
    assert second.rebuild_attendance() == 3
    assert second.attendance() == expected_rows(punches, cooldown_s=1000.0)


def test_a_process_that_does_not_know_a_site_keeps_its_zone(open_ledger: Opener, make_punch: MakePunch) -> None:
    open_ledger().record(make_punch(1))
    stranger = open_ledger(time_zones={})
    assert stranger.attendance()[0].time_zone == "Europe/Berlin"
    stranger.record(make_punch(2, 3600.0))
    assert {row.rules for row in stranger.attendance()} == {"v1 cooldown=300 zone=Europe/Berlin"}


def test_a_site_that_is_configured_later_gets_its_zone(open_ledger: Opener, make_punch: MakePunch) -> None:
    open_ledger(time_zones={}).record(make_punch(1, observed_at=datetime(2026, 1, 5, 23, 30, tzinfo=UTC)))
    row = open_ledger().attendance()[0]
    assert (row.local_day, row.rules) == (date(2026, 1, 6), "v1 cooldown=300 zone=Europe/Berlin")


def test_a_removed_person_leaves_rows_that_name_nobody(
    ledger: Ledger, make_punch: MakePunch, make_person: MakePerson
) -> None:
    ledger.insert_person(make_person(1, templates=1))
    ledger.record(make_punch(1))
    assert [row.identity_id for row in ledger.attendance()] == ["person-01"]
    ledger.remove_person("person-01", version=1)
    ledger.record(make_punch(2, 1000.0))
    assert [(row.identity_id, row.subject_ref) for row in ledger.attendance()] == [(None, "ref-01")] * 2
    assert len(ledger.punches()) == 2
    assert ledger.punches(PunchQuery(identity_id="person-01")) == []
    ledger.insert_person(make_person(1, subject_ref="ref-new"))
    assert [row.identity_id for row in ledger.attendance()] == [None, None]


def test_rows_follow_the_mapping_of_their_reference(
    ledger: Ledger, make_punch: MakePunch, make_person: MakePerson
) -> None:
    ledger.record(make_punch(1))
    ledger.insert_person(make_person(1))
    assert [row.identity_id for row in ledger.attendance()] == ["person-01"]
    ledger.replace_person(make_person(1, version=2, subject_ref="ref-new"))
    assert [row.identity_id for row in ledger.attendance()] == [None]
    ledger.replace_person(make_person(1, version=3))
    assert [row.identity_id for row in ledger.attendance()] == ["person-01"]


# Many writers, and wrong use


def test_threads_recording_the_same_punches_store_each_once(
    ledger: Ledger, make_punch: MakePunch, expected_rows: Expect
) -> None:
    punches = [make_punch(i, 37.0 * i, subject_ref=f"ref-{i % 3}") for i in range(12)]
    inserted: list[str] = []

    def work(number: int) -> None:
        for punch in random.Random(number).sample(punches, len(punches)):
            if ledger.record(punch).inserted:
                inserted.append(punch.event_id)

    in_threads(work, 8)
    assert sorted(inserted) == [punch.event_id for punch in punches]
    assert ledger.punches() == punches
    assert ledger.attendance() == expected_rows(punches)


def test_two_ledgers_on_one_store_see_each_other(open_ledger: Opener, make_punch: MakePunch) -> None:
    first, second = open_ledger(), open_ledger()
    assert first.record(make_punch(1)).inserted
    assert second.record(make_punch(1)) == Recorded(inserted=False, counted=True)
    assert second.record(make_punch(2, 10.0)) == Recorded(inserted=True, counted=False)
    assert len(first.punches()) == 2


def test_what_was_acknowledged_is_there_when_opened_again(
    open_ledger: Opener, make_punch: MakePunch, make_person: MakePerson
) -> None:
    with open_ledger() as ledger:
        ledger.insert_person(make_person(1, templates=2))
        ledger.record(make_punch(1))
        rows = ledger.attendance()
    again = open_ledger()
    assert plain(stored(again, "person-01")) == plain(make_person(1, templates=2))
    assert again.attendance() == rows


def test_a_closed_ledger_says_so(ledger: Ledger, make_punch: MakePunch) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.record(make_punch(1))
    with pytest.raises(LedgerError, match="closed"):
        ledger.people()


def test_text_that_is_no_unicode_is_refused_in_one_line(ledger: Ledger, make_person: MakePerson) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.insert_person(make_person(1, name="bad \udcff name"))
    assert "\n" not in str(caught.value)
    assert ledger.people() == []


@pytest.mark.parametrize("cooldown_s", [-1.0, float("nan"), float("inf")])
def test_an_impossible_cooldown_is_refused(open_ledger: Opener, cooldown_s: float) -> None:
    with pytest.raises(ValueError, match="cooldown_s"):
        open_ledger(cooldown_s=cooldown_s)
