"""The report by groups: rates against a slow restatement, small groups untold, no names, clusters without groups."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.decide import Rule, decide
from attendance.fairness import FEWEST_PEOPLE, NOT_STATED, Fairness, fairness
from attendance.search.exact import ExactGallery
from attendance.types import Float32, GalleryEntry, Outcome

DIMENSION = 24
RULE = Rule(0.8, 0.02)


def near(seed: int, variant: int, noise: float) -> Float32:
    row = np.random.default_rng(seed).normal(size=DIMENSION)
    row = row + noise * np.random.default_rng([seed, variant]).normal(size=DIMENSION)
    return np.asarray(row / np.linalg.norm(row), np.float32)


def entries_of(first: int, count: int, *, noise: float, photos: int = 3) -> list[GalleryEntry]:
    return [
        GalleryEntry(f"{who:03d}-{n}", f"person-{who:03d}", near(who, n, noise))
        for who in range(first, first + count)
        for n in range(photos)
    ]


EASY, HARD = entries_of(0, 14, noise=0.2), entries_of(100, 12, noise=0.75)
STATED = {e.identity_id: "easy" for e in EASY} | {e.identity_id: "hard" for e in HARD}


def reported(entries: list[GalleryEntry], stated: dict[str, str]) -> Fairness:
    return fairness(entries, stated, {0.01: lambda: RULE, 0.001: lambda: Rule(0.9, 0.02)})


def slowly(entries: list[GalleryEntry], group: set[str]) -> tuple[float, float]:
    """Missed and taken, each photo looked up in galleries made anew."""
    missed: list[bool] = []
    taken: list[bool] = []
    for entry in entries:
        if entry.identity_id not in group:
            continue
        for hits, rest in (
            (missed, [e for e in entries if e.template_id != entry.template_id]),
            (taken, [e for e in entries if e.identity_id != entry.identity_id]),
        ):
            gallery = ExactGallery("card", DIMENSION)
            gallery.upsert(rest)
            found = decide(gallery.nearest(entry.vector[None], k=2)[0], RULE)
            known = found.outcome is Outcome.KNOWN and found.best is not None
            right = known and found.best is not None and found.best.identity_id == entry.identity_id
            hits.append(known if hits is taken else not right)
    return float(np.mean(missed)), float(np.mean(taken))


def test_each_groups_rates_are_those_of_galleries_made_anew() -> None:
    found = reported(EASY + HARD, STATED)
    assert (found.by, found.people, found.photos) == ("group", 26, 78)
    for group, entries in zip(found.groups, (EASY, HARD), strict=True):
        rates = group.rates[0.01]
        assert rates.missed is not None and rates.taken is not None
        expected = slowly(EASY + HARD, {e.identity_id for e in entries})
        assert (rates.missed.expected, rates.taken.expected) == pytest.approx(expected)
        assert rates.missed.low <= rates.missed.expected <= rates.missed.high
        assert group.few


def test_a_group_that_is_missed_more_is_told_apart_from_chance() -> None:
    easy, hard = reported(EASY + HARD, STATED).groups
    assert easy.rates[0.01].missed_more is not None and hard.rates[0.01].missed_more is not None
    assert hard.rates[0.01].missed_more.low > 0.0
    assert easy.rates[0.01].missed_more.high < 0.0
    same = reported(EASY + HARD, {who: str(int(who[-3:]) % 2) for who in STATED})
    for group in same.groups:
        more = group.rates[0.01].missed_more
        assert more is not None and more.low < 0.0 < more.high


def test_nothing_is_told_of_a_small_group() -> None:
    few = sorted({e.identity_id for e in HARD})[: FEWEST_PEOPLE - 1]
    small, rest = reported(EASY + HARD, {who: "small" if who in few else "" for who in STATED}).groups
    assert (small.name, small.people, dict(small.rates)) == ("small", FEWEST_PEOPLE - 1, {})
    assert (rest.name, rest.people) == (NOT_STATED, 26 - FEWEST_PEOPLE + 1)
    # Nor can it be had as the difference to everybody else.
    assert rest.rates[0.01].missed_more is None


def test_without_a_miss_the_interval_is_bounded_by_the_number_of_people() -> None:
    clear = entries_of(200, 12, noise=0.01)
    (group,) = reported(clear, {e.identity_id: "one" for e in clear}).groups
    missed = group.rates[0.01].missed
    assert missed is not None
    assert missed.expected == 0.0
    assert missed.high == pytest.approx(3.0 / 12)


def test_without_a_miss_the_difference_is_bounded_by_the_number_of_people_too() -> None:
    clear, hard = entries_of(200, 12, noise=0.01), entries_of(100, 12, noise=0.75)
    stated = {e.identity_id: "clear" for e in clear} | {e.identity_id: "hard" for e in hard}
    group = next(group for group in reported(clear + hard, stated).groups if group.name == "clear")
    more = group.rates[0.01].missed_more
    assert more is not None and more.expected < 0.0
    assert more.high >= more.expected + 3.0 / 12


def test_without_groups_people_who_look_alike_are_put_together() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, DIMENSION))
    entries = []
    for who in range(70):
        base = 2.0 * centres[int(who % 7 == 0)] + 0.5 * rng.normal(size=DIMENSION)
        for photo in range(2):
            row = base + 0.1 * rng.normal(size=DIMENSION)
            row = np.asarray(row / np.linalg.norm(row), np.float32)
            entries.append(GalleryEntry(f"{who}-{photo}", f"person-{who:02d}", row))
    found = reported(entries, {})
    assert (found.by, [(g.name, g.people) for g in found.groups]) == (
        "cluster", [("cluster 1", 60), ("cluster 2", 10)],
    )  # fmt: skip
    assert found == reported(entries, {})


def test_too_few_people_are_not_compared() -> None:
    assert reported([], {}) == Fairness("group", 0, 0, ())
    assert reported(entries_of(0, 2, noise=0.1), {}).groups == ()


def test_single_photos_cannot_be_missed() -> None:
    single = entries_of(0, 12, noise=0.2, photos=1)
    (group,) = reported(single, {e.identity_id: "x" for e in single}).groups
    assert group.rates[0.01].missed is None
    assert group.rates[0.01].taken is not None
