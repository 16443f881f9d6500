"""The pure counting rule against hand-made tables and a slow, plain statement of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attendance.ledger.counting import changes, counted, counted_in_order, order_of
from attendance.ledger.rows import Seen
from attendance.types import AttendanceRow, Direction, Punch

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def seen(number: int, at_s: float, *, subject: str = "a", site: str = "main", way: Direction = Direction.IN) -> Seen:
    return Seen(f"e{number}", subject, site, way, START + timedelta(seconds=at_s), "journal", number, "door")


def slowly(punches: list[Seen], cooldown_s: float) -> set[str]:
    """Judge each punch by all that count before it in its chain, over the whole list."""
    counting: list[Seen] = []
    for punch in sorted(punches, key=lambda p: (p.observed_at, p.journal_id, p.journal_counter)):
        gaps = [(punch.observed_at - c.observed_at).total_seconds() for c in counting if c[1:4] == punch[1:4]]
        if not gaps or min(gaps) >= cooldown_s:
            counting.append(punch)
    return {punch.event_id for punch in counting}


@pytest.mark.parametrize(
    ("times", "cooldown_s", "expected"),
    [
        ([], 300, []),
        ([0], 300, [0]),
        ([0, 299.999, 300], 300, [0, 2]),
        ([0, 200, 400, 600], 300, [0, 2]),
        ([0, 300, 600], 300, [0, 1, 2]),
        ([0, 0, 0], 300, [0]),
        ([0, 0, 0.001], 0, [0, 1, 2]),
        ([0, 100, 10_000, 10_100], 300, [0, 2]),
    ],
)
def test_a_table_of_times(times: list[float], cooldown_s: float, expected: list[int]) -> None:
    assert counted([seen(i, at_s) for i, at_s in enumerate(times)], cooldown_s) == {f"e{i}" for i in expected}


def test_the_journal_and_its_counter_order_punches_of_one_moment() -> None:
    first, second = seen(2, 0.0)._replace(journal_counter=9), seen(1, 0.0)._replace(journal_counter=10)
    assert counted([second, first], 300) == {"e2"}
    assert counted([second._replace(journal_id="a"), first._replace(journal_id="b")], 300) == {"e1"}


some_punches = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 299.999, 300.0, 300.001, 600.0]) | st.integers(0, 3000).map(float),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["main", "annex"]),
        st.sampled_from([Direction.IN, Direction.OUT]),
    ),
    max_size=40,
).map(lambda values: [seen(i, t, subject=s, site=p, way=w) for i, (t, s, p, w) in enumerate(values)])
cooldowns = st.sampled_from([0.0, 0.001, 1.0, 300.0, 1000.5])


@settings(max_examples=150, deadline=None)
@given(punches=some_punches, cooldown_s=cooldowns)
def test_it_is_what_the_plain_rule_says(punches: list[Seen], cooldown_s: float) -> None:
    assert counted(punches, cooldown_s) == slowly(punches, cooldown_s)


@settings(max_examples=100, deadline=None)
@given(punches=some_punches, cooldown_s=cooldowns, data=st.data())
def test_order_of_arrival_and_repeats_do_not_matter(
    punches: list[Seen], cooldown_s: float, data: st.DataObject
) -> None:
    arrived = data.draw(st.permutations(punches + punches[:10]))
    assert counted(arrived, cooldown_s) == counted(punches, cooldown_s)


@settings(max_examples=150, deadline=None)
@given(
    times=st.lists(st.integers(0, 40), max_size=25), at=st.integers(0, 40), cooldown_s=st.sampled_from([0, 1, 5, 12])
)
def test_a_late_punch_changes_what_it_should_and_reads_no_further(times: list[int], at: int, cooldown_s: int) -> None:
    late = seen(10, at)
    others = sorted((seen(11 + i if i % 2 else -i, t) for i, t in enumerate(times)), key=order_of)
    before = slowly(others, cooldown_s)
    last = [p.observed_at for p in others if order_of(p) < order_of(late) and p.event_id in before]
    behind = [(p, p.event_id in before) for p in others if order_of(p) > order_of(late)]
    gained, lost = changes(late, last_counted_at=max(last, default=None), later=iter(behind), cooldown_s=cooldown_s)
    after = (before | {p.event_id for p in gained}) - {p.event_id for p in lost}
    assert after == slowly([*others, late], cooldown_s)
    assert not before & {p.event_id for p in gained}
    assert {p.event_id for p in lost} <= before


def test_a_punch_that_does_not_count_reads_nothing_behind_it() -> None:
    behind = iter([(seen(3, 400.0), True)])
    assert changes(seen(2, 10.0), last_counted_at=START, later=behind, cooldown_s=300) == ([], [])
    assert len(list(behind)) == 1


def test_counting_stops_reading_where_both_answers_meet() -> None:
    behind = iter([(seen(3, 1000.0), True), (seen(4, 2000.0), True)])
    gained, lost = changes(seen(2, 0.0), last_counted_at=None, later=behind, cooldown_s=300)
    assert ([p.event_id for p in gained], lost) == (["e2"], [])
    assert [p.event_id for p, _ in behind] == ["e4"]


def test_whole_punches_and_slim_rows_count_alike(
    make_punch: Callable[..., Punch], expected_rows: Callable[..., list[AttendanceRow]]
) -> None:
    punches = [make_punch(i, 130.0 * i) for i in range(30)]
    expected = {row.event_id for row in expected_rows(punches)}
    assert counted(punches, 300.0) == expected
    assert {p.event_id for p in counted_in_order(punches, 300.0)} == expected
    assert counted([replace(p, subject_ref=f"ref-{p.track_id}") for p in punches], 300.0) == {
        p.event_id for p in punches
    }
