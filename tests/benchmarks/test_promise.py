"""The promise about strangers: what is drawn and counted, on made vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attendance.decide import Rule
from attendance.types import Candidate
from benchmarks.promise import BANDS, promises
from benchmarks.promise_draws import Photos, Tally, draw, groups_of_alike, judge_cell, photos_of
from benchmarks.promise_passes import Looks, judge_passes, pass_taken_for


def photos(people: int, each: int, *, spread: float = 0.05) -> Photos:
    rng = np.random.default_rng(2)
    centres = np.repeat(rng.standard_normal((people, 16)), each, axis=0)
    vectors = centres + spread * rng.standard_normal(centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"person-{i:03d}/{k}.jpg" for i in range(people) for k in range(each)]
    return photos_of(names, vectors.astype(np.float32), errata=["person-000/1.jpg"])


def test_a_draw_enrols_so_many_and_keeps_out_what_passes_are_made_of() -> None:
    some = photos(30, 4)
    keep = np.arange(0, 120, 4)
    drawn = draw(some, size=10, templates=2, seed=1, keep=keep)
    enrolled = {int(entry.template_id.rpartition("-")[2]) for entry in drawn.entries}
    assert len(enrolled) == 20 and not enrolled & set(keep.tolist())
    assert len(drawn.probes) == 10 and not enrolled & set(drawn.probes.tolist())
    assert set(some.person[drawn.strangers]) == set(range(30)) - set(drawn.enrolled.tolist())
    assert len(drawn.strangers) == 80


def test_photos_under_two_names_can_be_left_out() -> None:
    some = photos(5, 3)
    cleared = some.without(some.faulty)
    assert len(cleared.names) == 14 and "person-000/1.jpg" not in cleared.names


def test_with_well_separated_people_nobody_is_taken_for_another() -> None:
    (strangers, known), (all_in, _) = judge_cell(
        photos(40, 3), lambda drawn: [Rule(0.95, 0.0), Rule(-1.0, 0.0)], size=10, templates=1, draws=2
    )
    assert (strangers.rate(), strangers.trials.sum()) == (0.0, 2 * 30 * 3)
    assert (known.rate(), known.trials.sum()) == (0.0, 2 * 10 * 2)
    assert all_in.rate() == 1.0


def test_a_tally_pools_and_its_interval_draws_people() -> None:
    tally = Tally.empty(3)
    tally.add(np.array([0, 0, 1, 1]), np.array([True, True, False, False]))
    assert tally.rate() == 0.5
    assert tally.interval() == (0.0, 1.0)


def near(similarity: float, who: str = "000001") -> list[Candidate]:
    return [Candidate(who, similarity), Candidate("000009", 0.0)]


@pytest.mark.parametrize(
    ("similarities", "who"),
    [
        ([0.9, 0.9, 0.1, 0.1], None),  # the match of the second frame comes too early
        ([0.1, 0.1, 0.9, 0.1], "000001"),
        ([0.1, 0.1, 0.1, 0.9], "000001"),
        ([0.1, 0.9], "000001"),  # a short pass is decided at its end
        ([0.9, 0.1], None),
        ([], None),
    ],
)
def test_a_pass_is_decided_from_its_third_frame_on(similarities: list[float], who: str | None) -> None:
    count = len(similarities)
    looks = Looks("p/1.jpg", np.zeros((count, 4), np.float32), np.arange(1, count + 1))
    assert pass_taken_for(looks, [near(s) for s in similarities], Rule(0.5, 0.0), 3) == who


def test_passes_are_judged_by_who_is_enrolled() -> None:
    some = photos(30, 3)
    passes = [Looks(some.names[3 * i], some.vectors[3 * i : 3 * i + 1], np.array([1])) for i in range(30)]
    ((strangers, known),) = judge_passes(
        some, passes, lambda drawn: [Rule(0.95, 0.0)], size=10, templates=2, draws=2, min_frames=1
    )
    assert (strangers.rate(), strangers.trials.sum()) == (0.0, 40)
    assert (known.rate(), known.trials.sum()) == (0.0, 20)


def test_people_who_look_alike_come_into_one_group() -> None:
    some = photos(40, 2)
    group = groups_of_alike(some, groups=3, seed=0)
    assert set(group.tolist()) <= {0, 1, 2} and len(group) == 40


def test_a_rate_outside_its_band_breaks_the_promise() -> None:
    low, high = BANDS[0.01]

    def cells(rate: float) -> list[dict[str, Any]]:
        return [{"targets": {"0.01": {"fpir": {"rate": rate, "trials": 100}},
                             "0.001": {"fpir": {"rate": 0.001, "trials": 100}}}}]  # fmt: skip

    five = {"best": {"1e-2": {"fnir": 0.02}, "2e-3": {"fnir": 0.06}}}
    for rate, kept in ((low, True), (high, True), (low / 2, False), (high * 2, False)):
        found = promises({"photos": cells(rate), "photos_without_errata": cells(0.01), "passes": cells(rate),
                          "five": five})  # fmt: skip
        assert found["photos at 0.01"] is kept and found["passes at 0.01"] is kept
        assert found["photos_without_errata at 0.01"] and found["photos at 0.001"]
        assert found["50 people with 5 photos, FNIR at FPIR 1e-2"]
        assert not found["50 people with 5 photos, FNIR at FPIR 2e-3"]
