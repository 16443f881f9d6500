"""Who is drawn for the walk-past benchmark, and how its passes are judged, by hand-made cases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.walkpast_passes import Draw, Seen, Walk, draw_people, judge, miss_reason, outcome

PEOPLE = {
    f"person-{number:02}": [Path(f"person-{number:02}") / f"{i}.jpg" for i in range(1 + number % 7)]
    for number in range(60)
}


def drawn(seed: int, left_out: set[str] | None = None) -> Draw:
    return draw_people(PEOPLE, seed=seed, enrolled=5, strangers=20, left_out=left_out or set())


def test_the_draw_follows_from_the_seed() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("seed", range(1, 11))
def test_passes_are_made_from_photos_that_are_not_enrolled(seed: int) -> None:
    draw = drawn(seed)
    known = [walk for walk in draw.walks if walk.enrolled]
    strangers = [walk for walk in draw.walks if not walk.enrolled]
    assert {walk.identity_id for walk in known} == set(draw.enrolled) and len(known) == 5
    assert not {walk.identity_id for walk in strangers} & set(draw.enrolled) and len(strangers) == 20
    assert len({walk.identity_id for walk in draw.walks}) == 25
    for walk in known:
        assert walk.photo not in draw.enrolled[walk.identity_id]
        assert len(set(draw.enrolled[walk.identity_id])) == 4
        assert walk.photo.parent.name == walk.identity_id


def test_photos_under_two_names_are_left_out() -> None:
    out = {f"{name}/0.jpg" for name in PEOPLE}
    draw = drawn(1, out)
    photos = [walk.photo for walk in draw.walks] + [photo for photos in draw.enrolled.values() for photo in photos]
    assert not {str(photo) for photo in photos} & out


def test_too_few_people_is_an_error() -> None:
    with pytest.raises(ValueError, match="too few"):
        draw_people(PEOPLE, seed=1, enrolled=5, strangers=100, left_out=set())


KNOWN = Walk("person-01", Path("a.jpg"), 1, True)
STRANGER = Walk("person-02", Path("b.jpg"), 1, False)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(), "not detected"),
        (Seen(frames_with_face=2), "not enough good frames"),
        (Seen(frames_with_face=9, reasons=Counter(["no_good_frame"])), "not enough good frames"),
        (Seen(frames_with_face=9, reasons=Counter(["no_good_frame", "below_threshold"])), "below threshold"),
        (Seen(frames_with_face=9, reasons=Counter(["margin", "below_threshold"])), "ambiguous"),
        (Seen(frames_with_face=9, counted=["person-03"]), "wrong person"),
    ],
)
def test_reason_of_a_miss_is_what_came_nearest(seen: Seen, reason: str) -> None:
    assert miss_reason(seen) == reason
    assert outcome(KNOWN, seen)["reason"] == reason


def test_a_stranger_under_any_name_is_a_wrong_record_and_nobody_is_named() -> None:
    found = outcome(STRANGER, Seen(frames_with_face=9, counted=["person-02"]))
    assert (found["recorded_right"], found["recorded_wrong"]) == (0, 1)
    assert "person" not in str({key: value for key, value in found.items() if key != "reason"})


def passes(enrolled: bool, right: int, wrong: int, count: int) -> list[dict[str, Any]]:
    reason = "" if right else "below threshold"
    return [{"enrolled": enrolled, "recorded_right": right, "recorded_wrong": wrong, "reason": reason}] * count


def test_promises_hold_at_their_limits_and_break_beyond() -> None:
    kept = judge(
        [
            {"passes": passes(True, 1, 0, 190) + passes(True, 0, 0, 10)},
            {"passes": passes(False, 0, 0, 995) + passes(False, 0, 1, 5)},
        ]
    )
    assert kept["promises"] == {"recorded_right": True, "strangers_recorded": True, "counted_twice": True}
    assert kept["misses"] == {"below threshold": 10} and kept["recorded_right_share"] == pytest.approx(0.95)
    broken = judge(
        [
            {"passes": passes(True, 1, 0, 188) + passes(True, 2, 0, 1) + passes(True, 0, 0, 11)},
            {"passes": passes(False, 0, 0, 994) + passes(False, 0, 1, 6)},
        ]
    )
    assert broken["promises"] == {"recorded_right": False, "strangers_recorded": False, "counted_twice": False}
