"""What every ledger adapter does: the same tests for each, through the port alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from attendance.errors import LedgerError
from attendance.ledger.digests import people_digest
from attendance.ledger.port import Ledger, PersonVersion, PunchQuery, Recorded, Setting, TemplateRevision
from attendance.types import AttendanceRow, Consent, Direction, Person, Punch, Template

MakePerson = Callable[..., Person]
MakePunch = Callable[..., Punch]
Expect = Callable[..., list[AttendanceRow]]
Opener = Callable[..., Ledger]
MOMENT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def plain(person: Person) -> dict[str, Any]:
    """Every field of a person, vectors as bytes, so that two can be compared."""
    values = {field.name: getattr(person, field.name) for field in fields(person)}
    for name in ("templates", "shelved", "rejected"):
        values[name] = [
            {f.name: getattr(t, f.name) if f.name != "vector" else t.vector.tobytes() for f in fields(t)}
            for t in values[name]
        ]
    return values


def stored(ledger: Ledger, identity_id: str) -> Person:
    person = ledger.person(identity_id)
    assert person is not None
    return person


# People


def test_a_person_comes_back_as_stored(ledger: Ledger, make_person: MakePerson) -> None:
    person = make_person(
        1,
        templates=3,
        name="Ω person ééé 人 " + "x" * 500,
        department="Öffnung; 'quoted' \"\\",
        site="main",
        group="day shift",
        active_from=date(2026, 1, 1),
        active_to=date(2026, 12, 31),
        deactivated_at=MOMENT + timedelta(milliseconds=7),
        consent=Consent(policy="per_person", version="2025-11", at=MOMENT, by="person-01"),
    )
    assert ledger.insert_person(person)
    assert plain(stored(ledger, "person-01")) == plain(person)
    assert stored(ledger, "person-01").templates[0].vector.dtype == np.float32


def test_an_absent_person_is_none(ledger: Ledger) -> None:
    assert ledger.person("person-99") is None
    assert ledger.people() == []
    assert ledger.people(["person-99"]) == []
    assert ledger.people([]) == []
    assert ledger.person_versions() == {}


def test_a_taken_identity_is_not_inserted_again(ledger: Ledger, make_person: MakePerson) -> None:
    first = make_person(1, templates=1, name="first")
    assert ledger.insert_person(first)
    assert not ledger.insert_person(make_person(1, templates=2, name="second", subject_ref="ref-other"))
    assert plain(stored(ledger, "person-01")) == plain(first)


def test_a_taken_subject_reference_is_an_error_and_nothing_is_half_done(
    ledger: Ledger, make_person: MakePerson
) -> None:
    ledger.insert_person(make_person(1))
    with pytest.raises(LedgerError):
        ledger.insert_person(make_person(2, templates=2, subject_ref="ref-01"))
    assert ledger.person_versions() == {"person-01": PersonVersion("ref-01", 1)}


def test_two_templates_of_one_id_are_an_error_and_nothing_is_half_done(ledger: Ledger, make_person: MakePerson) -> None:
    person = make_person(1, templates=1)
    with pytest.raises(LedgerError):
        ledger.insert_person(replace(person, templates=person.templates * 2))
    assert ledger.person_versions() == {}


def test_somebody_removed_and_inserted_again_shows_in_the_versions(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1))
    ledger.remove_person("person-01", version=1)
    ledger.insert_person(make_person(1, subject_ref="ref-new"))
    assert ledger.person_versions() == {"person-01": PersonVersion("ref-new", 1)}


def test_people_are_ordered_by_identity_and_chosen_by_id(ledger: Ledger, make_person: MakePerson) -> None:
    for number in (3, 1, 2):
        ledger.insert_person(make_person(number, templates=number))
    assert [(p.identity_id, len(p.templates)) for p in ledger.people()] == [
        ("person-01", 1),
        ("person-02", 2),
        ("person-03", 3),
    ]
    chosen = ledger.people(["person-03", "person-01", "person-77", "person-03"])
    assert [p.identity_id for p in chosen] == ["person-01", "person-03"]


def test_more_ids_than_one_query_holds(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1))
    ledger.insert_person(make_person(2))
    ids = [f"person-{i:02d}" for i in range(40_000)]
    assert [p.identity_id for p in ledger.people(ids)] == ["person-01", "person-02"]


def test_replacing_needs_the_version_that_was_read(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1, templates=2))
    second = make_person(1, templates=1, version=2, name="second")
    assert ledger.replace_person(second)
    assert not ledger.replace_person(make_person(1, version=2, name="late"))
    assert not ledger.replace_person(make_person(1, version=4, name="early"))
    assert not ledger.replace_person(make_person(9, version=2))
    assert plain(stored(ledger, "person-01")) == plain(second)
    assert ledger.person_versions() == {"person-01": PersonVersion("ref-01", 2)}


def test_removing_needs_the_version_that_was_read(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1, templates=2))
    assert not ledger.remove_person("person-01", version=2)
    assert not ledger.remove_person("person-02", version=1)
    assert ledger.remove_person("person-01", version=1)
    assert ledger.person("person-01") is None
    assert not ledger.remove_person("person-01", version=1)
    assert ledger.insert_person(make_person(1, templates=1))


def test_only_one_of_many_threads_replaces_a_version(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1))
    done: list[bool] = []
    in_threads(lambda i: done.append(ledger.replace_person(make_person(1, version=2, name=f"writer-{i}"))), 4)
    assert sorted(done) == [False, False, False, True]


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Run ``work(0..count-1)`` at once; the first error of any is raised."""
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(work, number) for number in range(count)]:
            future.result()


# Settings and the template revision


def test_a_setting_is_inserted_once_and_replaced_by_version(ledger: Ledger) -> None:
    value: dict[str, str | int | float | bool | None] = {"text": "é", "n": 3, "x": 0.1, "yes": True, "none": None}
    assert ledger.setting("key") is None
    assert not ledger.put_setting(Setting("key", 2, value))
    assert ledger.put_setting(Setting("key", 1, value))
    assert not ledger.put_setting(Setting("key", 1, {}))
    assert not ledger.put_setting(Setting("key", 3, {}))
    assert ledger.setting("key") == Setting("key", 1, value)
    assert ledger.put_setting(Setting("key", 2, {"n": 4}))
    assert ledger.setting("key") == Setting("key", 2, {"n": 4})
    assert ledger.setting("other") is None


def test_the_template_revision_is_raised_by_each_change(ledger: Ledger) -> None:
    assert ledger.template_revision() == TemplateRevision(0, False)
    ledger.begin_template_change()
    assert ledger.template_revision() == TemplateRevision(0, True)
    assert ledger.end_template_change() == 1
    assert ledger.template_revision().pending is False
    before = ledger.template_revision().revision
    ledger.begin_template_change()
    assert ledger.end_template_change() > before


def test_a_writer_that_died_in_the_middle_is_a_change(open_ledger: Opener) -> None:
    died = open_ledger()
    died.begin_template_change()
    died.close()
    ledger = open_ledger()
    seen = ledger.template_revision()
    assert seen == TemplateRevision(0, True)
    ledger.begin_template_change()
    begun = ledger.template_revision()
    assert begun.pending and begun.revision > seen.revision
    assert ledger.end_template_change() > begun.revision


def test_an_end_after_an_interrupted_writer_raises_too(ledger: Ledger) -> None:
    ledger.begin_template_change()
    assert ledger.end_template_change() > 0
    assert ledger.end_template_change() > 1
    assert ledger.template_revision().pending is False


def test_changes_in_threads_are_all_counted(ledger: Ledger) -> None:
    in_threads(lambda _: [ledger.end_template_change() for _ in range(5)], 4)
    assert ledger.template_revision().revision == 20


# Faces that are not this person's


def with_rejected(person: Person, *, count: int) -> Person:
    """The person's next version, with so many faces that are not theirs."""
    vectors = np.random.default_rng(3).standard_normal((count, 128)).astype(np.float32)
    made = [Template(f"not-{i}", v, "card-1", "", f"{i}.jpg", "a" * 64, "me", MOMENT) for i, v in enumerate(vectors)]
    return replace(person, version=person.version + 1, rejected=tuple(made))


def test_faces_that_are_not_a_persons_are_kept_with_them(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1, templates=2))
    person = with_rejected(make_person(1, templates=2), count=3)
    assert ledger.replace_person(person)
    assert plain(stored(ledger, "person-01")) == plain(person)
    fewer = replace(person, version=3, rejected=person.rejected[1:])
    assert ledger.replace_person(fewer)
    assert plain(stored(ledger, "person-01")) == plain(fewer)
    assert ledger.insert_person(replace(person, identity_id="person-02", subject_ref="ref-02", version=1))
    assert len(stored(ledger, "person-02").rejected) == 3


def test_faces_that_are_not_a_persons_go_with_them(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1, templates=1))
    ledger.replace_person(with_rejected(make_person(1, templates=1), count=1))
    assert ledger.remove_person("person-01", version=2)
    assert ledger.insert_person(make_person(1, templates=1))
    assert stored(ledger, "person-01").rejected == ()


def test_a_face_is_not_a_persons_once_only(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.insert_person(make_person(1))
    person = with_rejected(make_person(1), count=1)
    with pytest.raises(LedgerError):
        ledger.replace_person(replace(person, rejected=person.rejected * 2))
    assert plain(stored(ledger, "person-01")) == plain(make_person(1))


def test_digests_tell_faces_that_are_not_a_persons_from_templates(make_person: MakePerson) -> None:
    person = with_rejected(make_person(1), count=1)
    swapped = replace(person, templates=person.rejected, rejected=())
    assert len({people_digest([each]) for each in (person, swapped, replace(person, rejected=()))}) == 3


def test_imported_people_keep_the_faces_that_are_not_theirs(ledger: Ledger, make_person: MakePerson) -> None:
    person = with_rejected(make_person(1, templates=1), count=2)
    assert ledger.import_people([person]) == 1
    assert plain(stored(ledger, "person-01")) == plain(person)


# Templates of two models side by side


def other_card(person: Person) -> Person:
    """The person's next version, with a template of card-2 for each of card-1."""
    shelved = tuple(replace(t, card_id="card-2", vector=t.vector[:5]) for t in person.templates)
    return replace(person, version=person.version + 1, shelved=shelved)


def test_one_write_puts_other_templates_into_force_and_back(ledger: Ledger, make_person: MakePerson) -> None:
    first = make_person(1, templates=2)
    ledger.insert_person(first)
    ledger.insert_person(make_person(2))
    assert ledger.put_in_force("card-1", expected="")
    second = other_card(first)
    assert ledger.replace_person(second)
    assert plain(stored(ledger, "person-01")) == plain(second)
    versions, revision = ledger.person_versions(), ledger.template_revision().revision
    assert ledger.put_in_force("card-2", expected="card-1")
    changed = stored(ledger, "person-01")
    assert plain(changed) == plain(replace(second, templates=second.shelved, shelved=second.templates))
    assert ledger.person_versions() == versions
    assert ledger.template_revision() == TemplateRevision(revision + 1, False, "card-2", "card-1")
    assert ledger.put_in_force("card-1", expected="card-2")
    assert [plain(person) for person in ledger.people()] == [plain(second), plain(make_person(2))]


def test_what_is_in_force_changes_only_from_what_was_expected(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.begin_template_change()
    assert ledger.put_in_force("card-1", expected="")
    assert not ledger.put_in_force("card-2", expected="")
    assert not ledger.put_in_force("card-3", expected="card-2")
    assert ledger.template_revision() == TemplateRevision(1, True, "card-1", "")
    ledger.end_template_change()
    ledger.begin_template_change()
    ledger.end_template_change()
    assert ledger.template_revision().space == "card-1"


def test_two_templates_of_one_id_and_one_model_are_an_error(ledger: Ledger, make_person: MakePerson) -> None:
    person = make_person(1, templates=1)
    ledger.put_in_force("card-2", expected="")
    with pytest.raises(LedgerError):
        ledger.insert_person(replace(person, shelved=person.templates))
    assert ledger.person_versions() == {}


def test_imported_people_keep_what_is_shelved(ledger: Ledger, make_person: MakePerson) -> None:
    ledger.put_in_force("card-1", expected="")
    person = other_card(make_person(1, templates=2))
    assert ledger.import_people([person]) == 1
    assert plain(stored(ledger, "person-01")) == plain(person)


# Punches


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
        for number in range(60)
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
    punches = [make_punch(i, 37.0 * i, subject_ref=f"ref-{i % 3}") for i in range(24)]
    inserted: list[str] = []

    def work(number: int) -> None:
        for punch in random.Random(number).sample(punches, len(punches)):
            if ledger.record(punch).inserted:
                inserted.append(punch.event_id)

    in_threads(work, 4)
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
