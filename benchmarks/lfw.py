"""The photos that the project is measured on: who is in which half, the pairs, and folders made of them.

Layout: ``images/<person>/<photo>``, ``split.csv`` (person, half, photos), ``pairs_<half>.csv``, ``errata.csv`` (photos
that stand under two names). Settings are tuned on the half ``tune``, numbers are reported on ``report``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data" / "lfw-dev"
HALVES = ("tune", "report")


@dataclass(frozen=True, slots=True)
class Lfw:
    """The data set under ``root``."""

    root: Path

    @property
    def images(self) -> Path:
        """Folder of the people's folders."""
        return self.root / "images"

    def is_there(self) -> bool:
        """Whether the data set lies where it is expected."""
        return (self.root / "split.csv").is_file() and self.images.is_dir()

    def pairs(self, half: str) -> Path:
        """The pair list of a half."""
        return self.root / f"pairs_{half}.csv"

    def people(self, half: str) -> dict[str, list[Path]]:
        """Everybody of a half with their photos, both sorted by name."""
        if half not in HALVES:
            raise ValueError(f"expected a half out of {', '.join(HALVES)}, got {half!r}")
        names = sorted(row["person"] for row in _rows(self.root / "split.csv") if row["half"] == half)
        return {name: sorted((self.images / name).iterdir(), key=lambda path: path.name) for name in names}

    def errata(self) -> set[str]:
        """Photos that stand under two names, as ``person/photo``."""
        return {row["image"] for row in _rows(self.root / "errata.csv")}


@dataclass(frozen=True, slots=True)
class Roster:
    """Photos to enrol, probes of the same people, and photos of others; each person to photos."""

    enrolled: Mapping[str, Sequence[Path]]
    probes: Mapping[str, Sequence[Path]]
    strangers: Mapping[str, Sequence[Path]]


def most_photographed(people: Mapping[str, Sequence[Path]], *, count: int, enrol: int, probe: int) -> Roster:
    """The ``count`` people with most photos (ties by name): the first ``enrol`` photos, then up to ``probe`` probes."""
    ranked = sorted(people, key=lambda name: (-len(people[name]), name))
    chosen = sorted(ranked[:count])
    return Roster(
        enrolled={name: people[name][:enrol] for name in chosen},
        probes={name: people[name][enrol : enrol + probe] for name in chosen if len(people[name]) > enrol},
        strangers={name: people[name] for name in sorted(ranked[count:])},
    )


def materialise(root: Path, photos: Mapping[str, Iterable[Path]]) -> Path:
    """Make ``root/<person>/<photo>`` of symbolic links; returns ``root``."""
    for person, paths in photos.items():
        folder = root / person
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            (folder / path.name).symlink_to(path.resolve())
    return root


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
