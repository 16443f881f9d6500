"""How near strangers come to random galleries of one model's vectors: what `StrangerTail` is fitted to.

Galleries of many sizes are drawn among people whose photos are known; everybody else is a stranger, whoever is enrolled
and has a photo to spare a probe. The formula is that of `attendance.types.StrangerTail`; docs/thresholds.md tells how
well it holds on other people.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.errors import UsageError
from attendance.search.port import mean_direction
from attendance.types import Float32, Float64, StrangerTail

Ints = NDArray[np.int64]

TEMPLATES = (1, 2, 3, 5)
SIZES = (10, 20, 50, 100, 200, 400, 700)
RATES = (0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
DRAWS = 20
MOST_ENROLLED = 0.65
"""Share of the people with enough photos that a gallery takes at most: the others are needed as strangers."""

LEAD_CAP = 0.06
LEAD_BASES = (-1.0, -0.8, -0.6, -0.4, -0.2, 0.0)
LEAD_SLOPES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)
LEAD_RATES = (0.01, 0.001)

HALVES_DRAWN = 16
HALVES_GALLERIES = 5
DEVIATION_RATES = (1e-1, 1e-2, 1e-3)

PASS_FRAMES = (1, 3, 5, 10)
PASS_CELLS = ((20, 1), (50, 1), (200, 1), (20, 3), (50, 3), (120, 3))
PASS_RATES = (0.01, 0.003, 0.001)

ALIKE_PHOTOS = 6
ALIKE_SHARE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Photos of known people: ``vectors`` float32 (M, D) of unit length, ``photos`` the rows of each person."""

    vectors: Float32
    photos: tuple[Ints, ...]

    @property
    def counts(self) -> Ints:
        """(P,) photos of each person."""
        return np.array([len(rows) for rows in self.photos], np.int64)

    def of(self, people: Ints) -> World:
        """The same photos with only these people."""
        return World(self.vectors, tuple(self.photos[int(person)] for person in people))


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """One random gallery: ``people`` (N,) of the world, their mean directions, and the photo rows left over."""

    people: Ints
    means: Float32
    first: Float32
    spare: tuple[Ints, ...]

    def nearest_two(self, vectors: Float32) -> tuple[Float64, Ints]:
        """The two best cosines (n, 2), best first, and whose the best is (n,), as a place in ``people``."""
        cosines = (vectors @ self.means.T).astype(np.float64)
        best = np.argmax(cosines, axis=1)
        two = -np.partition(-cosines, 1, axis=1)[:, :2]
        return two, best


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """All draws of one size: the two best cosines of strangers (S, 2) and of probes (G, 2), and who was found right."""

    size: int
    templates: int
    strangers: Float64
    known: Float64
    right: NDArray[np.bool_]
    likeness: Float64


def world_of(vectors: Float32, people: Ints) -> World:
    """Photos (M, D) and whom each shows (M,)."""
    return World(vectors, tuple(np.flatnonzero(people == person) for person in np.unique(people)))


def draw_gallery(world: World, rng: np.random.Generator, *, size: int, templates: int) -> Gallery:
    """``size`` people with ``templates`` photos each, drawn at random."""
    able = np.flatnonzero(world.counts >= templates)
    people = rng.choice(able, size, replace=False)
    shuffled = [rng.permutation(world.photos[int(person)]) for person in people]
    return Gallery(
        people,
        means=np.stack([mean_direction(world.vectors[rows[:templates]]) for rows in shuffled]),
        first=np.stack([world.vectors[rows[0]] for rows in shuffled]),
        spare=tuple(rows[templates:] for rows in shuffled),
    )


def strangers_of(world: World, gallery: Gallery) -> Ints:
    """Photo rows of everybody who is not enrolled."""
    enrolled = set(gallery.people.tolist())
    return np.concatenate([rows for person, rows in enumerate(world.photos) if person not in enrolled])


def measure_cell(world: World, *, size: int, templates: int, draws: int, seed: int) -> Cell:
    """Draw galleries of one size and look everybody up."""
    strangers, known, right, likeness = [], [], [], []
    for draw in range(draws):
        gallery = draw_gallery(world, np.random.default_rng([seed, draw]), size=size, templates=templates)
        strangers.append(gallery.nearest_two(world.vectors[strangers_of(world, gallery)])[0])
        owner = np.repeat(np.arange(size), [len(rows) for rows in gallery.spare])
        if len(owner):
            two, best = gallery.nearest_two(world.vectors[np.concatenate(gallery.spare)])
            known.append(two)
            right.append(best == owner)
        own = gallery.first @ gallery.means.T
        np.fill_diagonal(own, -1.0)
        likeness.append(float(np.median(own.max(axis=1))))
    return Cell(
        size,
        templates,
        strangers=np.concatenate(strangers),
        known=np.concatenate([*known, np.empty((0, 2))]),
        right=np.concatenate([*right, np.empty(0, np.bool_)]),
        likeness=np.array(likeness),
    )


def cells_of(world: World, *, draws: int = DRAWS, seed: int = 0) -> list[Cell]:
    """Every size that these people are enough for.

    Raises:
        UsageError: there are too few people.
    """
    cells = []
    for templates, size in itertools.product(TEMPLATES, SIZES):
        if size <= MOST_ENROLLED * float(np.sum(world.counts >= templates)):
            cells.append(measure_cell(world, size=size, templates=templates, draws=draws, seed=seed))
    if len({cell.size for cell in cells}) < 3 or len({cell.templates for cell in cells}) < 2:
        raise UsageError(
            f"expected people enough for galleries of three sizes, some with two photos each, got {len(world.photos)} "
            "people: measure the card on more"
        )
    return cells


def weight_at(lead: tuple[float, float], size: int) -> float:
    """The lead's weight in a gallery of ``size`` people."""
    return float(np.clip(lead[0] + lead[1] * np.log10(size), 0.0, 1.0))


def scores(two: Float64, weight: float) -> Float64:
    """The score of each pair of best cosines (n, 2): the best, and the lead's part."""
    return np.asarray(two[:, 0] + weight * np.minimum(two[:, 0] - two[:, 1], LEAD_CAP))


def choose_lead(cells: Sequence[Cell]) -> tuple[float, float]:
    """Base and slope of the lead's weight that lose the fewest known people, over all cells at `LEAD_RATES`."""
    judged = [cell for cell in cells if len(cell.right) >= 100]

    def cost(lead: tuple[float, float]) -> float:
        lost = []
        for cell in judged:
            weight = weight_at(lead, cell.size)
            others, own = scores(cell.strangers, weight), scores(cell.known, weight)
            for needed in np.quantile(others, [1.0 - rate for rate in LEAD_RATES]):
                found = int(np.sum((own >= needed) & cell.right))
                lost.append(np.log((len(own) - found + 1.0) / len(own)))
        return float(np.mean(lost)) if lost else 0.0

    return min(itertools.product(LEAD_BASES, LEAD_SLOPES), key=lambda lead: (round(cost(lead), 6), lead[1], -lead[0]))


def fit_scores(cells: Sequence[Cell], lead: tuple[float, float]) -> Float64:
    """base, per_people, per_rate, per_single: by least squares over all cells at `RATES`."""
    rows, wanted = [], []
    for cell in cells:
        rates = [rate for rate in RATES if rate * len(cell.strangers) >= 10]
        found = np.quantile(scores(cell.strangers, weight_at(lead, cell.size)), [1.0 - rate for rate in rates])
        for rate, score in zip(rates, found, strict=True):
            rows.append([1.0, np.log10(cell.size), np.log10(-np.log1p(-rate)), 1.0 / cell.templates])
            wanted.append(score)
    return np.asarray(np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0])


def fit_likeness(cells: Sequence[Cell]) -> tuple[Float64, float]:
    """Base, per_people and per_single of a gallery's likeness, and its deviation times the root of the size."""
    rows = np.array([[1.0, np.log10(cell.size - 1), 1.0 / cell.templates] for cell in cells])
    found = np.array([cell.likeness.mean() for cell in cells])
    spread = [cell.likeness.std() * np.sqrt(cell.size) for cell in cells]
    return np.asarray(np.linalg.lstsq(rows, found, rcond=None)[0]), float(np.mean(spread))


def score_at(fit: Sequence[float] | Float64, rate: float, *, size: int, templates: int) -> float:
    """The fitted score."""
    numbers = (1.0, np.log10(size), np.log10(-np.log1p(-rate)), 1.0 / templates)
    return float(np.dot(np.asarray(fit), numbers))


def deviations(world: World, lead: tuple[float, float], *, seed: int) -> dict[float, float]:
    """Standard deviation of the fitted score at a typical size, by refitting on random halves of the people.

    A half without replacement varies as much around the whole as the whole around all people there are, and never shows
    a person to be a stranger to themself, as a bootstrap would.
    """
    typical = 50
    found = []
    for half in range(HALVES_DRAWN):
        rng = np.random.default_rng([seed, 7, half])
        people = rng.permutation(len(world.photos))[: len(world.photos) // 2]
        fit = fit_scores(cells_of(world.of(people), draws=HALVES_GALLERIES, seed=seed), lead)
        found.append([score_at(fit, rate, size=typical, templates=1) for rate in DEVIATION_RATES])
    return {rate: round(float(value), 5) for rate, value in zip(DEVIATION_RATES, np.std(found, axis=0), strict=True)}


def look_alike_margin(world: World, *, seed: int) -> float:
    """The lead that one of two enrolled halves of a person's photos has over the other, 99 times in 100 at most."""
    leads = []
    rng = np.random.default_rng([seed, 3])
    for rows in world.photos:
        if len(rows) < ALIKE_PHOTOS:
            continue
        mixed = world.vectors[rng.permutation(rows)[:10]]
        halves = np.stack([mean_direction(mixed[:2]), mean_direction(mixed[2:4])])
        cosines = mixed[4:] @ halves.T
        leads.extend(np.abs(cosines[:, 0] - cosines[:, 1]).tolist())
    return round(float(np.quantile(leads, ALIKE_SHARE)), 3) if leads else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A pass: who (a place in the world), and what it was decided on: (n, D) vectors of 1, 2, ... good frames."""

    person: int
    looks: Float32


def pass_frames(
    world: World, passes: Sequence[Pass], fit: Float64, lead: tuple[float, float]
) -> tuple[dict[int, float], float]:
    """What a stranger's pass scores above the fitted score of a photo: at 1 %, and more per decade of the rate.

    By the frame from which on it is decided; the decade's share is one for all.
    """
    rows, above = [], []
    for size, templates in PASS_CELLS:
        if size > MOST_ENROLLED * float(np.sum(world.counts >= templates)):
            continue
        found = _pass_scores(world, passes, weight_at(lead, size), size=size, templates=templates)
        for frames, rate in itertools.product(PASS_FRAMES, PASS_RATES):
            if rate * len(found[frames]) >= 10:
                reached = float(np.quantile(found[frames], 1.0 - rate))
                above.append(reached - score_at(fit, rate, size=size, templates=templates))
                decades = np.log10(np.log1p(-rate) / np.log1p(-PASS_RATES[0]))
                rows.append([*(float(frames == each) for each in PASS_FRAMES), float(decades)])
    if not rows:
        return {}, 0.0
    *added, slope = np.linalg.lstsq(np.array(rows), np.array(above), rcond=None)[0].tolist()
    # Fewer frames are never asked for less: what is left of noise must not turn that round.
    highest = np.maximum.accumulate(np.maximum(added[::-1], 0.0))[::-1]
    shifts = {frames: round(float(shift), 4) for frames, shift in zip(PASS_FRAMES, highest, strict=True)}
    return shifts, round(max(slope, 0.0), 4)


def _pass_scores(
    world: World, passes: Sequence[Pass], weight: float, *, size: int, templates: int, draws: int = 60
) -> Mapping[int, Float64]:
    found: dict[int, list[float]] = {frames: [] for frames in PASS_FRAMES}
    for draw in range(draws):
        gallery = draw_gallery(world, np.random.default_rng([11, draw]), size=size, templates=templates)
        enrolled = set(gallery.people.tolist())
        for one in passes:
            if one.person in enrolled:
                continue
            reached = scores(gallery.nearest_two(one.looks)[0], weight)
            for frames in PASS_FRAMES:
                found[frames].append(float(reached[min(frames, len(reached)) - 1 :].max()))
    return {frames: np.array(values) for frames, values in found.items()}


def fit_tail(vectors: Float32, people: Ints, *, data: str, passes: Sequence[Pass] = (), seed: int = 0) -> StrangerTail:
    """Everything that a card says of strangers.

    Args:
        vectors: float32 (M, D) of unit length.
        people: (M,) whom each shows; a photo under two names must have been left out.
        data: what it was measured on, for the card.
        passes: of people of these; without any, frames add nothing.
        seed: of all draws.

    Raises:
        UsageError: too few people.
    """
    world = world_of(vectors, people)
    cells = cells_of(world, seed=seed)
    lead = choose_lead(cells)
    fit = fit_scores(cells, lead)
    likeness, spread = fit_likeness(cells)
    frames, frames_per_rate = pass_frames(world, passes, fit, lead) if passes else ({}, 0.0)
    base, per_people, per_rate, per_single = (round(float(value), 5) for value in fit)
    return StrangerTail(
        data=data,
        galleries=DRAWS * len(cells),
        base=base,
        per_people=max(per_people, 0.0),
        per_rate=min(per_rate, 0.0),
        per_single=per_single,
        lead_base=lead[0],
        lead_per_people=lead[1],
        lead_cap=LEAD_CAP,
        likeness_base=round(float(likeness[0]), 5),
        likeness_per_people=round(float(likeness[1]), 5),
        likeness_per_single=round(float(likeness[2]), 5),
        likeness_deviation=round(spread, 5),
        look_alike_margin=look_alike_margin(world, seed=seed),
        frames=frames,
        frames_per_rate=frames_per_rate,
        deviations=deviations(world, lead, seed=seed),
    )


def report_lines(tail: StrangerTail, vectors: Float32, people: Ints, *, seed: int = 1) -> Iterator[str]:
    """How well the fit holds on the very people it was made on, in galleries drawn anew."""
    world = world_of(vectors, people)
    lead = (tail.lead_base, tail.lead_per_people)
    fit = (tail.base, tail.per_people, tail.per_rate, tail.per_single)
    for size, templates in ((50, 1), (200, 1), (700, 1), (50, 3), (120, 3), (50, 5)):
        if size > MOST_ENROLLED * float(np.sum(world.counts >= templates)):
            continue
        cell = measure_cell(world, size=size, templates=templates, draws=DRAWS, seed=seed)
        weight = weight_at(lead, size)
        others, own = scores(cell.strangers, weight), scores(cell.known, weight)
        for rate in LEAD_RATES:
            needed = score_at(fit, rate, size=size, templates=templates)
            missed = 1.0 - float(np.mean((own >= needed) & cell.right)) if len(own) else float("nan")
            yield (
                f"{size} people, {templates} photos, target {100 * rate:g} %: {100 * np.mean(others >= needed):.3f} % "
                f"of strangers accepted, {100 * missed:.1f} % of known photos missed"
            )
