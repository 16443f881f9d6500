"""The fit of strangers: on made people whose tail is known, and on galleries drawn anew."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.errors import UsageError
from attendance.threshold import lead_weight, stranger_rate, stranger_score
from attendance.types import Float32
from lab.strangers import (
    LEAD_CAP,
    Cell,
    Pass,
    World,
    cells_of,
    choose_lead,
    draw_gallery,
    fit_likeness,
    fit_scores,
    look_alike_margin,
    measure_cell,
    pass_frames,
    score_at,
    scores,
    strangers_of,
    world_of,
)


def made_people(count: int, photos: int, *, noise: float = 0.25, seed: int = 0) -> tuple[Float32, np.ndarray]:
    """People scattered on a sphere, with some photos around each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, 24))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    shown = np.repeat(np.arange(count), photos)
    vectors = centres[shown] + noise * rng.standard_normal((len(shown), 24)) / np.sqrt(24)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), shown


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(*made_people(300, 4))


@pytest.fixture(scope="module")
def cells(world: World) -> list[Cell]:
    return cells_of(world, draws=4)


def test_a_gallery_holds_everybody_once_and_strangers_are_the_others(world: World) -> None:
    gallery = draw_gallery(world, np.random.default_rng(1), size=20, templates=3)
    assert len(set(gallery.people.tolist())) == 20
    assert [len(rows) for rows in gallery.spare] == [1] * 20
    strangers = set(strangers_of(world, gallery).tolist())
    assert len(strangers) == 280 * 4
    assert not strangers & {int(row) for person in gallery.people for row in world.photos[int(person)]}


def test_a_score_is_the_best_and_the_capped_part_of_the_lead() -> None:
    two = np.array([[0.9, 0.88], [0.9, 0.2]])
    assert scores(two, 0.5) == pytest.approx([0.91, 0.9 + 0.5 * LEAD_CAP])


def test_the_fit_keeps_its_rates_on_other_people(cells: list[Cell]) -> None:
    fit = fit_scores(cells, (-0.2, 0.2))
    other = world_of(*made_people(300, 4, seed=9))
    for size, templates in ((50, 1), (100, 2), (100, 3)):
        cell = measure_cell(other, size=size, templates=templates, draws=4, seed=5)
        reached = scores(cell.strangers, float(np.clip(-0.2 + 0.2 * np.log10(size), 0, 1)))
        needed = score_at(fit, 0.01, size=size, templates=templates)
        assert 0.004 < np.mean(reached >= needed) < 0.025


def test_the_products_formula_is_the_fits(cells: list[Cell]) -> None:
    from tests.test_operating import TAIL

    fit = (TAIL.base, TAIL.per_people, TAIL.per_rate, TAIL.per_single)
    needed = score_at(fit, 0.003, size=40, templates=4)
    assert stranger_score(TAIL, 0.003, people=40, single_share=0.25) == pytest.approx(needed)
    assert stranger_rate(TAIL, needed, people=40, single_share=0.25) == pytest.approx(0.003)
    assert lead_weight(TAIL, 100) == pytest.approx(0.5)


def test_the_lead_counts_where_it_helps() -> None:
    rng = np.random.default_rng(0)
    # Strangers are as near as known people but lead by nothing: only the lead tells them apart.
    near = rng.normal(0.8, 0.02, 4000)
    strangers = np.stack([near, near - 0.001], 1)
    known = np.stack([near, near - 0.05], 1)
    cell = Cell(100, 1, strangers, known, np.ones(4000, bool), np.zeros(1))
    base, slope = choose_lead([cell])
    assert base + 2 * slope >= 0.8
    useless = Cell(100, 1, known, known, np.ones(4000, bool), np.zeros(1))
    assert choose_lead([useless]) == (0.0, 0.0)


def test_likeness_grows_with_the_gallery(cells: list[Cell]) -> None:
    fit, spread = fit_likeness(cells)
    assert fit[1] > 0.0 and spread > 0.0


def test_a_pass_of_better_frames_than_photos_needs_more(world: World) -> None:
    fit = np.array([0.0, 0.0, 0.0, 0.0])
    # Every look of every pass scores the same against galleries of 20: what is added is that score.
    looks = np.tile(world.vectors[world.photos[0][0]], (12, 1))
    passes = [Pass(person, looks) for person in range(0, len(world.photos), 6)]
    added, _ = pass_frames(world, passes, fit, (0.0, 0.0))
    assert set(added) == {1, 3, 5, 10} and len(set(added.values())) == 1
    assert 0.2 < added[1] <= 1.0


def test_the_margin_of_look_alikes_holds_nearly_all_leads() -> None:
    vectors, shown = made_people(200, 8)
    margin = look_alike_margin(world_of(vectors, shown), seed=1)
    leads = []
    for person in range(200):
        own = vectors[shown == person].astype(np.float64)
        one, other = own[:2].mean(0), own[2:4].mean(0)
        leads += list(abs(own[4:] @ (one / np.linalg.norm(one) - other / np.linalg.norm(other))))
    assert margin == pytest.approx(np.quantile(leads, 0.99), rel=0.25)
    assert look_alike_margin(world_of(*made_people(10, 3)), seed=1) == 0.0


def test_a_handful_of_people_is_too_few() -> None:
    with pytest.raises(UsageError, match="measure the card on more"):
        cells_of(world_of(*made_people(12, 2)))
