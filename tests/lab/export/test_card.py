"""What a card says when people are too few for all that it can say."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.embed.card import ModelCard
from attendance.errors import UsageError
from attendance.threshold import lead_weight, stranger_score
from lab.export.card import unmeasured_card, with_measures
from lab.strangers import draw_gallery, scores, strangers_of, world_of

DIMENSION = 24


def made_vectors(people: int, photos: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos around directions that are all a little alike, as faces are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, DIMENSION)) + 0.7
    shown = np.repeat(np.arange(people), photos)
    vectors = (centres[shown] + 0.6 * rng.normal(size=(len(shown), DIMENSION))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), shown


def card_of(people: int, photos: int) -> ModelCard:
    blank = unmeasured_card("made", b"", input_px=32, dimension=DIMENSION, licence="CC0 1.0", source="test")
    return with_measures(blank, *made_vectors(people, photos, seed=0), data="made")


def test_a_few_hundred_people_tell_of_galleries_and_not_of_rare_pairs() -> None:
    card = card_of(people=170, photos=4)
    assert sorted(card.thresholds) == [1e-3, 1e-2, 1e-1]  # 229,075 pairs: 22 of them at 1e-4
    tail = card.strangers
    assert tail is not None
    vectors, shown = made_vectors(160, 4, seed=1)
    world = world_of(vectors, shown)
    accepted = []
    for draw in range(20):
        gallery = draw_gallery(world, np.random.default_rng([1, draw]), size=50, templates=2)
        others = scores(gallery.nearest_two(vectors[strangers_of(world, gallery)])[0], lead_weight(tail, 50))
        accepted.append(np.mean(others >= stranger_score(tail, 0.03, people=50, single_share=0.5)))
    assert np.mean(accepted) == pytest.approx(0.03, abs=0.015)


def test_still_fewer_tell_of_pairs_alone() -> None:
    card = card_of(people=60, photos=3)
    assert card.strangers is None
    assert sorted(card.thresholds) == [1e-2, 1e-1]


def test_one_photo_of_each_is_refused_however_many_they_are() -> None:
    with pytest.raises(UsageError, match="two photos each"):
        card_of(people=800, photos=1)
