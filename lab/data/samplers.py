"""In which order the faces come. A sampler is a function of seed and epoch: its whole state is where it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attendance.errors import UsageError
from lab.data.source import Ints


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands: batch ``batch`` of epoch ``epoch``, both from 0, is the next."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """One face of a batch: where it stands in its epoch, over all processes, and which it is."""

    epoch: int
    position: int
    index: int


class Sampler(ABC):
    """Batches of ``batch_size`` faces each epoch, over all processes together.

    Raises:
        UsageError: at birth, where not one batch can be made.
    """

    def __init__(self, labels: Ints, *, batch_size: int, seed: int) -> None:
        self.labels, self.batch_size, self.seed = labels, batch_size, seed
        if self.batches < 1:
            raise UsageError(
                f"expected {batch_size} faces for a batch, got {len(labels)}: lower the batch size or give more"
            )

    @property
    def batches(self) -> int:
        """Batches of an epoch; faces that do not fill one are left to other epochs."""
        return len(self.labels) // self.batch_size

    @abstractmethod
    def order(self, epoch: int) -> Ints:
        """(batches * batch_size,) the faces of an epoch, batch after batch."""

    def draws(self, start: Place, *, rank: int = 0, world: int = 1) -> Iterator[list[Draw]]:
        """The batches from ``start`` on, for ever: this process's share of each, an equal run of its faces.

        All shares together are the batch that one process alone would have.
        """
        share = self.batch_size // world
        epoch, first = start.epoch, start.batch
        while True:
            order = self.order(epoch)
            for batch in range(first, self.batches):
                begin = batch * self.batch_size + rank * share
                yield [Draw(epoch, at, int(order[at])) for at in range(begin, begin + share)]
            epoch, first = epoch + 1, 0

    def after(self, place: Place) -> Place:
        """Where the run stands once the batch at ``place`` is done."""
        if place.batch + 1 < self.batches:
            return Place(place.epoch, place.batch + 1)
        return Place(place.epoch + 1, 0)

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch))


class Shuffled(Sampler):
    """Every face once an epoch, in another order each time."""

    def order(self, epoch: int) -> Ints:
        """See `Sampler`."""
        return self._random(epoch).permutation(len(self.labels))[: self.batches * self.batch_size]


class Balanced(Sampler):
    """Every person equally often, however many photos each has: people in turn, a person's photos in turn."""

    def order(self, epoch: int) -> Ints:
        """See `Sampler`."""
        random = self._random(epoch)
        photos = _by_person(self.labels, random)
        length = self.batches * self.batch_size
        rounds = -(-length // len(photos))
        people = np.concatenate([random.permutation(len(photos)) for _ in range(rounds)])[:length]
        turns = np.repeat(np.arange(rounds), len(photos))[:length]
        return np.array([photos[p][turn % len(photos[p])] for p, turn in zip(people, turns, strict=True)], np.int64)


class PeopleByPhotos(Sampler):
    """PK batches: P people with K photos each, as triplets need them; a person with fewer photos repeats some."""

    def __init__(self, labels: Ints, *, batch_size: int, seed: int, photos: int) -> None:
        self.photos = photos
        if batch_size % photos or batch_size // photos < 2:
            raise UsageError(
                f"expected batches of two people or more with {photos} photos each, got {batch_size} faces: change one"
            )
        super().__init__(labels, batch_size=batch_size, seed=seed)
        people = len(np.unique(labels))
        if people < batch_size // photos:
            raise UsageError(f"expected {batch_size // photos} people for a batch, got {people}: lower the batch size")

    def order(self, epoch: int) -> Ints:
        """See `Sampler`."""
        random = self._random(epoch)
        photos = _by_person(self.labels, random)
        people_per_batch = self.batch_size // self.photos
        turns = np.zeros(len(photos), dtype=np.int64)
        rows = []
        for _ in range(self.batches):
            for person in random.choice(len(photos), people_per_batch, replace=False):
                own, turn = photos[person], turns[person]
                rows.append(own[(turn + np.arange(self.photos)) % len(own)])
                turns[person] += self.photos
        return np.concatenate(rows)


def _by_person(labels: Ints, random: np.random.Generator) -> list[Ints]:
    """Each person's faces in a random order."""
    mixed = random.permutation(len(labels))
    by_person = mixed[np.argsort(labels[mixed], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    return np.split(by_person, np.cumsum(counts)[:-1])
