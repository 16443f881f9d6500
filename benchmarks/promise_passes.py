"""Passes for the promise about strangers: videos of one half's people through the path, kept as the vectors decided on.

Each pass goes through the kiosk's own path once, with a gallery that knows nobody and writes down what it is asked. So
every look of a pass (the vector fused of its frames so far) is known, and the pass can be judged against any roster
without running the video again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attendance.app import App
from attendance.decide import Rule, decide
from attendance.errors import GalleryError
from attendance.images import read_photo
from attendance.search.port import Gallery
from attendance.types import Candidate, Float32, Frame, GalleryEntry, Outcome
from benchmarks.lfw import Lfw
from benchmarks.promise_draws import Drawn, Photos, Tally, draw, gallery_of
from benchmarks.walkpast import face_box
from demo.walkpast import FPS, PASS_SECONDS, render_pass

BEGIN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
APART = timedelta(minutes=10)
SEVERAL = 4
"""Photos that half of the passing people have at least, so that they can be enrolled from others than the pass's."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What a pass was decided on, in order: ``vectors`` float32 (N, D), ``frames`` (N,) fused into each, from 1."""

    photo: str
    vectors: Float32
    frames: NDArray[np.int64]


class Listener(Gallery):
    """A gallery without people that notes each query."""

    def __init__(self, card_id: str, dimension: int) -> None:
        self.card_id = card_id
        self.dimension = dimension
        self.heard: list[Float32] = []

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """Holds nobody."""
        raise GalleryError("this gallery only listens")

    def remove(self, template_ids: Sequence[str]) -> int:
        """Nothing to remove."""
        return 0

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """Nobody; the queries are noted."""
        self.heard.extend(queries.copy())
        return [[] for _ in queries]

    def entries(self) -> list[GalleryEntry]:
        """Nothing."""
        return []

    def counts(self) -> tuple[int, int]:
        """Nobody."""
        return 0, 0


def choose(lfw: Lfw, half: str, *, count: int, seed: int) -> list[Path]:
    """One photo each of ``count`` people, half of them people with `SEVERAL` photos or more; none of errata.csv."""
    rng = np.random.default_rng(seed)
    errata = lfw.errata()
    usable = {
        name: [photo for photo in photos if f"{name}/{photo.name}" not in errata]
        for name, photos in lfw.people(half).items()
    }
    names = sorted(name for name, photos in usable.items() if photos)
    order = [names[i] for i in rng.permutation(len(names))]
    several = [name for name in order if len(usable[name]) >= SEVERAL][: count // 2]
    others = [name for name in order if name not in set(several)][: count - len(several)]
    chosen = [usable[name][int(rng.integers(len(usable[name])))] for name in (*several, *others)]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def looks_of_half(app: App, lfw: Lfw, half: str, *, count: int, work: Path, most: int | None = None) -> list[Looks]:
    """The looks of one pass each of ``count`` people of a half; what is done is kept in ``work`` for the same model.

    ``most``: how many passes may be made that were not before; None: all.
    """
    kept = work / f"passes-{half}-{app.card.id}-{app.card.sha256[:8]}.npz"
    photos = choose(lfw, half, count=count, seed=1)
    done = {looks.photo: looks for looks in _load(kept)}
    for number, path in enumerate(photos):
        name = f"{path.parent.name}/{path.name}"
        if name not in done and most != 0:
            most = None if most is None else most - 1
            done[name] = look(app, path, seed=10_000 + number, at=BEGIN + number * APART)
            if number % 10 == 9:
                _save(kept, list(done.values()))
                print(f"\r{half}: pass {number + 1} of {len(photos)}", end="", file=sys.stderr, flush=True)
    if photos:
        _save(kept, list(done.values()))
    names = [f"{path.parent.name}/{path.name}" for path in photos]
    return [done[name] for name in names if name in done]


def look(app: App, path: Path, *, seed: int, at: datetime) -> Looks:
    """The looks of one pass. The app's track section must decide from the first good frame on."""
    listener = Listener(app.card.id, app.card.dimension)
    live = app.live_path(listener)
    for frame in _frames(app, path, seed=seed, at=at):
        live.process(frame)
    live.finish()
    vectors = np.array(listener.heard, np.float32).reshape(-1, app.card.dimension)
    frames = np.minimum(np.arange(1, len(vectors) + 1), app.settings.track.max_frames)
    return Looks(f"{path.parent.name}/{path.name}", vectors, frames)


def pass_taken_for(looks: Looks, candidates: Sequence[Sequence[Candidate]], rule: Rule, min_frames: int) -> str | None:
    """Whom the kiosk takes a pass for: the first match from the ``min_frames``-th good frame on, or what the last
    frame of a shorter pass gives."""
    count = len(looks.vectors)
    for place in range(min(min_frames, count) - 1, count) if count else ():
        found = decide(candidates[place], rule, frames=int(looks.frames[place]))
        if found.outcome is Outcome.KNOWN and found.best is not None:
            return found.best.identity_id
    return None


def judge_passes(
    photos: Photos,
    passes: Sequence[Looks],
    rules: Callable[[Drawn], Sequence[Rule]],
    *,
    size: int,
    templates: int,
    draws: int,
    min_frames: int,
) -> list[tuple[Tally, Tally]]:
    """(strangers' passes accepted, known passes missed) for each rule. Nobody is enrolled from their pass's photo."""
    row_of = {name: row for row, name in enumerate(photos.names)}
    rows = np.array([row_of[one.photo] for one in passes], np.int64)
    people = photos.person[rows]
    tallies: list[tuple[Tally, Tally]] = []
    for seed in range(draws):
        drawn = draw(photos, size=size, templates=templates, seed=seed, keep=rows)
        gallery, enrolled = gallery_of(drawn, "promise"), set(drawn.enrolled.tolist())
        found = [gallery.nearest(one.vectors, k=2) if len(one.vectors) else [] for one in passes]
        for place, rule in enumerate(rules(drawn)):
            if place == len(tallies):
                tallies.append((Tally.empty(len(photos.rows)), Tally.empty(len(photos.rows))))
            who = [pass_taken_for(one, near, rule, min_frames) for one, near in zip(passes, found, strict=True)]
            taken = np.array([-1 if name is None else int(name) for name in who])
            known = np.array([int(person) in enrolled for person in people], np.bool_)
            tallies[place][0].add(people[~known], taken[~known] >= 0)
            tallies[place][1].add(people[known], taken[known] != people[known])
    return tallies


def _load(path: Path) -> list[Looks]:
    if not path.exists():
        return []
    with np.load(path) as found:
        ends = np.cumsum(found["count"])[:-1]
        parts = zip(
            found["photo"].tolist(), np.split(found["vectors"], ends), np.split(found["frames"], ends), strict=True
        )
        return [Looks(photo, vectors, frames) for photo, vectors, frames in parts]


def _save(path: Path, looks: Sequence[Looks]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        photo=np.array([one.photo for one in looks]),
        count=np.array([len(one.vectors) for one in looks]),
        vectors=np.concatenate([one.vectors for one in looks]),
        frames=np.concatenate([one.frames for one in looks]),
    )


def _frames(app: App, path: Path, *, seed: int, at: datetime) -> Iterator[Frame]:
    photo = read_photo(path, max_pixels=app.settings.enrol.max_pixels).image
    images = render_pass(photo, face_box(app, photo), seed=seed, fps=FPS, seconds=PASS_SECONDS)
    for index, image in enumerate(images):
        yield Frame(image, at + timedelta(seconds=index / FPS), index, app.camera(None).id)
