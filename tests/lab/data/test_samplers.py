"""The orders of faces, counted; and that a run which begins in the middle sees what an unbroken one sees."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from attendance.errors import UsageError
from lab.data.samplers import Balanced, PeopleByPhotos, Place, Sampler, Shuffled

# Person p has 2 + 3 p photos: 2, 5, 8, 11, 14.
LABELS = np.concatenate([np.full(2 + 3 * person, person) for person in range(5)]).astype(np.int64)
SAMPLERS: dict[str, Sampler] = {
    "shuffled": Shuffled(LABELS, batch_size=8, seed=3),
    "balanced": Balanced(LABELS, batch_size=8, seed=3),
    "people": PeopleByPhotos(LABELS, batch_size=8, seed=3, photos=4),
}


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return SAMPLERS[request.param]


def test_a_run_may_begin_anywhere(sampler: Sampler) -> None:
    whole = list(islice(sampler.draws(Place()), 3 * sampler.batches))
    place = Place()
    for done in range(2 * sampler.batches):
        assert list(islice(sampler.draws(place), 5)) == whole[done : done + 5]
        assert place == Place(*divmod(done, sampler.batches))
        place = sampler.after(place)


def test_processes_share_the_batch_that_one_would_have(sampler: Sampler) -> None:
    alone = list(islice(sampler.draws(Place()), 7))
    shares = [list(islice(sampler.draws(Place(), rank=rank, world=4), 7)) for rank in range(4)]
    for number, batch in enumerate(alone):
        assert [draw for share in shares for draw in share[number]] == batch


def test_another_epoch_or_seed_is_another_order(sampler: Sampler) -> None:
    assert sampler.order(0).tolist() == sampler.order(0).tolist() != sampler.order(1).tolist()
    other = Shuffled(LABELS, batch_size=8, seed=4)
    assert other.order(0).tolist() != SAMPLERS["shuffled"].order(0).tolist()


def test_shuffled_takes_every_face_at_most_once_an_epoch() -> None:
    order = SAMPLERS["shuffled"].order(0)
    assert len(order) == 40 == len(set(order.tolist()))
    missed = [set(range(40)) - set(SAMPLERS["shuffled"].order(epoch).tolist()) for epoch in range(3)]
    assert missed == [set(), set(), set()]
    assert len(Shuffled(LABELS, batch_size=16, seed=0).order(0)) == 32


def test_balanced_takes_every_person_equally_often_and_every_photo_in_turn() -> None:
    order = SAMPLERS["balanced"].order(0)
    assert np.bincount(LABELS[order]).tolist() == [8] * 5
    counts = np.bincount(order, minlength=40)
    for person in range(5):
        own = counts[person == LABELS]
        assert own.max() - own.min() <= 1


def test_people_by_photos_fills_batches_with_people_and_their_different_photos() -> None:
    sampler = SAMPLERS["people"]
    for batch in islice(sampler.draws(Place()), 3 * sampler.batches):
        indices = np.array([draw.index for draw in batch])
        people, counts = np.unique(LABELS[indices], return_counts=True)
        assert len(people) == 2 and counts.tolist() == [4, 4]
        for person in people:
            own = indices[LABELS[indices] == person]
            assert len(set(own.tolist())) == min(4, int((person == LABELS).sum()))


@pytest.mark.parametrize(("batch_size", "photos"), [(8, 3), (4, 4), (48, 8)])
def test_batches_that_cannot_be_made_are_told(batch_size: int, photos: int) -> None:
    with pytest.raises(UsageError, match="expected"):
        PeopleByPhotos(LABELS, batch_size=batch_size, seed=0, photos=photos)
    with pytest.raises(UsageError, match="expected 41 faces for a batch, got 40"):
        Shuffled(LABELS, batch_size=41, seed=0)
