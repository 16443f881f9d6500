"""Random galleries for the promise about strangers: photos of one half, drawn, enrolled and decided by the product."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attendance.app import App
from attendance.decide import Rule, decide
from attendance.metrics import resample_people
from attendance.operating import Chosen, Measured, OperatingPoint, operating_point, roster_of
from attendance.search.exact import ExactGallery
from attendance.types import Candidate, Float32, GalleryEntry, Outcome
from benchmarks.lfw import Lfw
from lab.read import QUALITY_OFF, open_reader, read_vectors

RESAMPLES = 1000
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Photos of one half that were read: ``names`` (``person/photo``), ``vectors`` float32 (M, D), ``person`` (M,).

    ``rows`` are each person's photos, ``faulty`` (M,) those listed in errata.csv.
    """

    names: tuple[str, ...]
    vectors: Float32
    person: Ints
    rows: tuple[Ints, ...]
    faulty: NDArray[np.bool_]

    def without(self, drop: NDArray[np.bool_]) -> Photos:
        """The photos that are not dropped."""
        return photos_of([name for name, gone in zip(self.names, drop, strict=True) if not gone], self.vectors[~drop])


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One gallery: ``enrolled`` people in the order of their ids, who they are told by, and the photos left over."""

    enrolled: Ints
    entries: tuple[GalleryEntry, ...]
    probes: Ints
    strangers: Ints


@dataclass(slots=True)
class Tally:
    """Hits and trials of each person, over all draws."""

    hits: NDArray[np.float64]
    trials: NDArray[np.float64]

    @classmethod
    def empty(cls, people: int) -> Tally:
        """Nothing counted yet."""
        return cls(np.zeros(people), np.zeros(people))

    def add(self, people: Ints, hits: NDArray[np.bool_]) -> None:
        """Count trials of these people."""
        np.add.at(self.trials, people, 1.0)
        np.add.at(self.hits, people, hits.astype(np.float64))

    def rate(self) -> float:
        """The pooled rate."""
        return float(self.hits.sum() / self.trials.sum())

    def interval(self, *, seed: int = 0) -> tuple[float, float]:
        """95 % by drawing people anew."""
        asked = self.trials > 0
        weights = resample_people([int(asked.sum())], resamples=RESAMPLES, seed=seed)
        rates = (weights @ self.hits[asked]) / (weights @ self.trials[asked])
        low, high = np.quantile(rates, [0.025, 0.975])
        return float(low), float(high)

    def less(self, other: Tally, *, seed: int = 0) -> dict[str, float | list[float]]:
        """How much lower the other's rate is on the same trials, with its interval by drawing people anew."""
        asked = self.trials > 0
        weights = resample_people([int(asked.sum())], resamples=RESAMPLES, seed=seed)
        gone = (weights @ (self.hits - other.hits)[asked]) / (weights @ self.trials[asked])
        low, high = np.quantile(gone, [0.025, 0.975])
        return {"rate": self.rate() - other.rate(), "interval": [float(low), float(high)]}

    def to_json(self) -> dict[str, float | int | list[float]]:
        """Rate, interval and how many trials."""
        return {"rate": self.rate(), "interval": list(self.interval()), "trials": int(self.trials.sum())}


def photos_of(names: Sequence[str], vectors: Float32, *, errata: Iterable[str] = ()) -> Photos:
    """Photos in the order of their names."""
    people, person = np.unique([name.partition("/")[0] for name in names], return_inverse=True)
    faulty = set(errata)
    return Photos(
        tuple(names),
        vectors,
        person.astype(np.int64),
        tuple(np.flatnonzero(person == place) for place in range(len(people))),
        np.array([name in faulty for name in names], np.bool_),
    )


def read_half(app: App, lfw: Lfw, half: str, work: Path, *, most: int | None = None) -> Photos:
    """Every photo of a half through the product's own steps; kept in ``work`` for the same model.

    ``most``: how many may be read that were not before; None: all. What was read is kept all the same.
    """
    kept = work / f"photos-{half}-{app.card.id}-{app.card.sha256[:8]}.npz"
    names, vectors = np.empty(0, str), np.empty((0, app.card.dimension), np.float32)
    unread: set[str] = set()
    if kept.exists():
        with np.load(kept) as found:
            names, vectors = found["names"], found["vectors"]
            unread = set(found["unread"].tolist()) if "unread" in found else set()
    paths = {f"{path.parent.name}/{path.name}": path for photos in lfw.people(half).values() for path in photos}
    known = set(names.tolist()) | unread
    missing = [name for name in paths if name not in known][:most]
    if missing:
        read = read_vectors(
            open_reader(app, aligned=False, quality_level=QUALITY_OFF), [paths[n] for n in missing], app.card.dimension
        )
        fresh = np.array(missing)
        names = np.concatenate([names, fresh[read.read]])
        vectors = np.concatenate([vectors, read.vectors[read.read]])
        unread |= set(fresh[~read.read].tolist())
        work.mkdir(parents=True, exist_ok=True)
        np.savez(kept, names=names, vectors=vectors, unread=np.array(sorted(unread), str))
    return photos_of(names.tolist(), vectors, errata=lfw.errata())


def draw(
    photos: Photos,
    *,
    size: int,
    templates: int,
    seed: int,
    among: NDArray[np.bool_] | None = None,
    keep: Ints | None = None,
) -> Drawn:
    """``size`` people with ``templates`` photos each at random; everybody else is a stranger.

    Args:
        photos: of one half.
        size: people enrolled.
        templates: photos of each.
        seed: of the draw.
        among: (P,) who may be enrolled and who may come; all by default.
        keep: photo rows that are never enrolled, because a pass is made of them.
    """
    rng = np.random.default_rng([seed, size, templates])
    kept = set() if keep is None else set(keep.tolist())
    usable = [np.array([row for row in rows if row not in kept], np.int64) for rows in photos.rows]
    allowed = np.ones(len(usable), np.bool_) if among is None else among
    able = np.flatnonzero(np.array([len(rows) >= templates for rows in usable]) & allowed)
    enrolled = np.sort(rng.choice(able, size, replace=False))
    shuffled = {int(person): rng.permutation(usable[int(person)]) for person in enrolled}
    entries = [
        GalleryEntry(f"{person:06d}-{row:06d}", f"{person:06d}", photos.vectors[row])
        for person, rows in shuffled.items()
        for row in rows[:templates]
    ]
    spare = np.concatenate([rows[templates:] for rows in shuffled.values()])
    outside = ~np.isin(photos.person, enrolled) & allowed[photos.person]
    return Drawn(enrolled, tuple(entries), spare.astype(np.int64), np.flatnonzero(outside))


def gallery_of(drawn: Drawn, card_id: str) -> ExactGallery:
    """The product's mirror of these people."""
    gallery = ExactGallery(card_id, drawn.entries[0].vector.shape[0])
    gallery.upsert(drawn.entries)
    return gallery


def point_of(drawn: Drawn, measured: Measured, target_fpir: float, *, min_frames: int = 1) -> OperatingPoint:
    """The operating point that the product computes for these people."""
    return operating_point(roster_of(drawn.entries), measured, Chosen(target_fpir, None, min_frames))


def taken_for(candidates: Sequence[Sequence[Candidate]], rule: Rule) -> list[int | None]:
    """Whom each is taken for by the product's rule: a person's number, None for refused or asked."""
    found = [decide(each, rule) for each in candidates]
    return [int(d.best.identity_id) if d.outcome is Outcome.KNOWN and d.best is not None else None for d in found]


def judge_cell(
    photos: Photos,
    rules: Callable[[Drawn], Sequence[Rule]],
    *,
    size: int,
    templates: int,
    draws: int,
    among: NDArray[np.bool_] | None = None,
) -> list[tuple[Tally, Tally]]:
    """(strangers accepted, known photos missed) over all draws, for each of the rules made for a draw."""
    tallies: list[tuple[Tally, Tally]] = []
    people = len(photos.rows)
    for seed in range(draws):
        drawn = draw(photos, size=size, templates=templates, seed=seed, among=among)
        gallery = gallery_of(drawn, "promise")
        others = gallery.nearest(photos.vectors[drawn.strangers], k=2)
        own = gallery.nearest(photos.vectors[drawn.probes], k=2) if len(drawn.probes) else []
        for place, rule in enumerate(rules(drawn)):
            if place == len(tallies):
                tallies.append((Tally.empty(people), Tally.empty(people)))
            accepted = np.array([who is not None for who in taken_for(others, rule)], np.bool_)
            tallies[place][0].add(photos.person[drawn.strangers], accepted)
            truth = photos.person[drawn.probes]
            missed = [who != int(true) for who, true in zip(taken_for(own, rule), truth, strict=True)]
            tallies[place][1].add(truth, np.array(missed, np.bool_))
    return tallies


def groups_of_alike(photos: Photos, *, groups: int, seed: int) -> Ints:
    """Each person's group (P,), out of ``groups`` of people who look alike: k-means of their mean directions."""
    means = np.stack([photos.vectors[rows].mean(axis=0) for rows in photos.rows])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    centres = means[np.random.default_rng(seed).choice(len(means), groups, replace=False)]
    nearest = np.zeros(len(means), np.int64)
    for _ in range(30):
        nearest = np.argmax(means @ centres.T, axis=1).astype(np.int64)
        for group in range(groups):
            if np.any(nearest == group):
                total = means[nearest == group].sum(axis=0)
                centres[group] = total / np.linalg.norm(total)
    return nearest
