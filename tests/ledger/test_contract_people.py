"""What every ledger adapter does with people, settings and templates: the same for each, through the port alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from attendance.errors import LedgerError
from attendance.ledger.digests import people_digest
from attendance.ledger.port import Ledger, PersonVersion, Setting, TemplateRevision
from attendance.types import AttendanceRow, Consent, Person, Punch, Template
from tests.ledger.conftest import in_threads

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
