"""Copying between ledgers of every kind: everything arrives, also after an interruption, and differences are found."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attendance.errors import LedgerError
from attendance.ledger.copying import copy_ledger
from attendance.ledger.mongo import MongoLedger
from attendance.ledger.port import Ledger, PunchQuery, Setting
from attendance.ledger.sqlite import SqliteLedger
from attendance.types import AttendanceRow, Direction, Person, Punch
from tests.ledger.conftest import START, ZONES

MakePunch = Callable[..., Punch]


class InterruptedCopyError(Exception):
    pass


@pytest.fixture
def source(tmp_path: Path, make_person: Callable[..., Person], make_punch: MakePunch) -> Iterator[Ledger]:
    """Three people (one written thrice, one removed), 300 punches of which many share a moment, and two settings."""
    with SqliteLedger(tmp_path / "source.sqlite", cooldown_s=300.0, time_zones=ZONES) as ledger:
        chance = random.Random(3)
        for number in (1, 2, 3):
            ledger.insert_person(make_person(number, templates=number, name=f"é {number}"))
        ledger.replace_person(make_person(1, templates=1, version=2))
        ledger.replace_person(make_person(1, templates=2, version=3, group="shift"))
        ledger.import_punches(
            [
                make_punch(
                    number,
                    float(chance.choice([0, 0, 60 * chance.randrange(5000)])),
                    subject_ref=f"ref-{chance.randrange(1, 5):02d}",
                    site=chance.choice(["main", "annex", "nowhere"]),
                    direction=chance.choice(list(Direction)),
                    margin=chance.choice([None, chance.random()]),
                )
                for number in range(300)
            ]
        )
        ledger.remove_person("person-03", version=1)
        ledger.end_template_change()
        ledger.end_template_change()
        ledger.put_setting(Setting("other", 1, {"a": 0.1, "b": None, "c": True}))
        yield ledger


@pytest.fixture(params=["sqlite", "mongo"])
def open_target(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Ledger]:
    def open_it() -> Ledger:
        if request.param == "sqlite":
            return SqliteLedger(tmp_path / "target.sqlite", cooldown_s=300.0, time_zones={})
        return MongoLedger(request.getfixturevalue("mongo_url"), cooldown_s=300.0, time_zones={})

    return open_it


copy_in_small_parts = functools.partial(copy_ledger, people_at_once=1, punches_at_once=40)


def same(ledger: Ledger, other: Ledger) -> bool:
    return (
        ledger.punches() == other.punches()
        and ledger.attendance() == other.attendance()
        and ledger.person_versions() == other.person_versions()
        and ledger.settings() == other.settings()
    )


def test_everything_arrives(source: Ledger, open_target: Callable[[], Ledger], tmp_path: Path) -> None:
    with open_target() as target:
        copied = copy_in_small_parts(source, target)
        assert same(source, target)
        assert [t.vector.tobytes() for p in target.people() for t in p.templates] == [
            t.vector.tobytes() for p in source.people() for t in p.templates
        ]
        assert (copied.people, copied.punches, copied.settings) == (2, 300, 2)
        assert (copied.attendance, copied.written) == (len(source.attendance()), 304)
        again = copy_in_small_parts(source, target)
        assert (again.written, again.sha256) == (0, copied.sha256)
        with SqliteLedger(tmp_path / "back.sqlite", cooldown_s=300.0, time_zones={}) as back:
            assert copy_in_small_parts(target, back).sha256 == copied.sha256
            assert same(source, back)


def test_an_interrupted_copy_goes_on(source: Ledger, open_target: Callable[[], Ledger]) -> None:
    def stop(kind: str, count: int) -> None:
        if kind == "people" and count:
            raise InterruptedCopyError

    with open_target() as target, pytest.raises(InterruptedCopyError):
        copy_in_small_parts(source, target, progress=stop)
    with open_target() as target:
        assert len(target.people()) == 1
        begun = target.import_records(source.records("punches")[:130])
        assert copy_in_small_parts(source, target).written == 1 + 300 - begun
        assert same(source, target)


def test_between_files_punches_are_carried_over_as_a_whole_or_not_at_all(
    source: SqliteLedger, tmp_path: Path, make_punch: MakePunch
) -> None:
    with SqliteLedger(tmp_path / "target.sqlite", cooldown_s=300.0, time_zones={}) as target:
        assert target.adopt(target) == 0
        assert target.adopt(source) == 300
        assert target.punches() == source.punches()
        assert target.adopt(source) == 0
    with SqliteLedger(tmp_path / "begun.sqlite", cooldown_s=300.0, time_zones={}) as begun:
        begun.record(make_punch(999, 5.0))
        assert begun.adopt(source) == 0
        assert [punch.event_id for punch in begun.punches()] == ["event-00999"]


def test_what_was_imported_is_counted_at_the_next_question(
    source: Ledger,
    open_target: Callable[[], Ledger],
    make_punch: MakePunch,
    expected_rows: Callable[..., list[AttendanceRow]],
) -> None:
    punches = source.punches(PunchQuery(site="nowhere"))
    with open_target() as target:
        target.record(make_punch(999, 5.0, site="nowhere"))
        assert target.import_punches(punches) == len(punches)
        assert target.import_punches(punches) == 0
    with open_target() as target:
        assert target.attendance() == expected_rows([*punches, make_punch(999, 5.0, site="nowhere")])


def test_a_target_with_other_records_is_refused(
    source: Ledger, open_target: Callable[[], Ledger], make_punch: MakePunch
) -> None:
    with open_target() as target:
        target.record(make_punch(5000, 7.0))
        with pytest.raises(LedgerError, match=r"same punches .*expected \d+ .*got \d+ .*empty ledger") as caught:
            copy_in_small_parts(source, target)
        assert "\n" not in str(caught.value)


def test_a_target_with_other_people_is_refused(
    source: Ledger, open_target: Callable[[], Ledger], make_person: Callable[..., Person]
) -> None:
    with open_target() as target:
        target.insert_person(make_person(9))
        with pytest.raises(LedgerError, match=r"same people .*also person-09"):
            copy_in_small_parts(source, target)


def test_moments_and_digests_follow_the_punches(
    source: Ledger, open_target: Callable[[], Ledger], make_punch: MakePunch
) -> None:
    with open_target() as target:
        copy_in_small_parts(source, target)
        for ledger in (source, target):
            moments = [punch.observed_at for punch in ledger.punches()]
            assert moments[0] == START
            assert ledger.moments(120) == [moments[120], moments[240]]
            assert ledger.moments(300) == []
            later = [moment for moment in moments if moment >= moments[250]]
            assert ledger.digest("punches").count == 300
            assert ledger.digest("punches", PunchQuery(since=moments[250])).count == len(later)
        target.record(make_punch(7777, 1.0))
        assert target.digest("punches") != source.digest("punches")
