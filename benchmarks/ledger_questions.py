"""Random questions that two ledgers must answer alike, field by field: raw punches, attendance, and the report."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from attendance import report
from attendance.ledger.port import Ledger, PunchQuery
from benchmarks.ledger_set import CAMERAS, DAYS, DEPARTMENTS, START, ZONES, identity


@dataclass(frozen=True, slots=True)
class Answers:
    """How many questions were asked, how many records answered them, and how long each ledger took, in seconds."""

    questions: int
    records: int
    seconds: tuple[float, float]


def compare_answers(one: Ledger, other: Ledger, *, questions: int, people: int) -> Answers:
    """Ask both; AssertionError names the first question and field that differ."""
    ledgers = (one, other)
    enrolled = [ledger.people() for ledger in ledgers]
    chance, seconds, records = random.Random(2), [0.0, 0.0], 0
    for number in range(questions):
        query = _query(chance, people)
        wanted = _filter(query, chance.choice([None, *DEPARTMENTS]))
        answers = []
        for place, ledger in enumerate(ledgers):
            started = time.perf_counter()
            rows = ledger.attendance(query)
            entries = report.entries(rows, enrolled[place], wanted)
            raw = ledger.punches(replace(query, first_day=None, last_day=None)) if _is_narrow(query) else []
            seconds[place] += time.perf_counter() - started
            answers.append((raw, rows, entries, report.by_person(entries), report.by_day(entries)))
        for mine, theirs in zip(*answers, strict=True):
            _demand_same(f"question {number}, {query}", mine, theirs)
            records += len(mine)
    return Answers(questions, records, (seconds[0], seconds[1]))


def _query(chance: random.Random, people: int) -> PunchQuery:
    """Any mix of days, moments, person, site and camera."""
    first = (START + timedelta(days=chance.randrange(DAYS))).date()
    since = START + timedelta(seconds=chance.randrange(DAYS * 86_400))
    by_moment = chance.random() < 0.5
    return PunchQuery(
        since=since if by_moment else None,
        until=since + timedelta(seconds=chance.randrange(2 * 86_400)) if by_moment else None,
        first_day=None if by_moment else first,
        last_day=None if by_moment else first + timedelta(days=chance.randrange(3)),
        identity_id=chance.choice([None, identity(chance.randrange(people + 1))]),
        site=chance.choice([None, *sorted(ZONES)]),
        camera_id=chance.choice([None, *CAMERAS]),
    )


def _filter(query: PunchQuery, department: str | None) -> report.ReportFilter:
    return report.ReportFilter(
        identity_id=query.identity_id,
        department=department,
        site=query.site,
        first_day=query.first_day,
        last_day=query.last_day,
    )


def _is_narrow(query: PunchQuery) -> bool:
    """Whether its raw punches are a fair question: with days alone all of them would be read."""
    return query.since is not None or query.identity_id is not None


def _demand_same(what: str, mine: Sequence[Any], theirs: Sequence[Any]) -> None:
    if len(mine) != len(theirs):
        raise AssertionError(f"{what}: {len(mine)} and {len(theirs)} records")
    for one, other in zip(mine, theirs, strict=True):
        for field in fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if a != b:
                raise AssertionError(f"{what}: {field.name} is {a} and {b}")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds that it took."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started
