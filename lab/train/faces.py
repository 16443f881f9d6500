"""A recipe's faces: the source opened, cut and divided, the samplers, the verification sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attendance.align import arcface_112
from attendance.detect.port import Detector
from attendance.errors import SourceError
from lab.data.cache import ABOUT, CachedSource, cached
from lab.data.folder import FaceCutter, FolderSource
from lab.data.pairs_bin import PairsFile, read_pairs_bin
from lab.data.recordio import RecordSource
from lab.data.samplers import Balanced, PeopleByPhotos, Sampler, Shuffled
from lab.data.source import Source
from lab.data.split import Split, split_people
from lab.train.processes import Processes
from lab.train.recipe import Data, Stage

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """What a run trains on and is judged by."""

    source: Source
    split: Split
    verify: tuple[PairsFile, ...]
    unread: int


def open_faces(data: Data, processes: Processes, *, seed: int, progress: Progress = iter) -> Faces:
    """Open the recipe's faces; the first process cuts them where they are not cut yet.

    Raises:
        UsageError: they cannot be read, or are too few.
    """
    source, unread = _source(data), 0
    if data.cache is not None and data.kind != "crops":
        if processes.first:
            cached(source, data.cache, size_px=data.input_px, progress=progress)
        processes.wait()
        kept = cached(source, data.cache, size_px=data.input_px)
        source, unread = kept, len(kept.unread)
    split = split_people(
        source.people,
        source.labels,
        seed=seed if data.split_seed is None else data.split_seed,
        most_people=data.people,
        validation_photos=data.validation_photos,
        strangers=data.strangers,
    )
    return Faces(source, split, tuple(_pairs(path) for path in data.verify), unread)


def sampler_of(data: Data, stage: Stage, faces: Faces, *, seed: int) -> Sampler:
    """The stage's order of faces.

    Raises:
        UsageError: not one batch can be made.
    """
    labels = faces.split.classes[faces.source.labels[faces.split.train]]
    if data.sampler == "people":
        return PeopleByPhotos(labels, batch_size=stage.batch_size, seed=seed, photos=data.photos_per_person)
    return (Balanced if data.sampler == "balanced" else Shuffled)(labels, batch_size=stage.batch_size, seed=seed)


def spread(places: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, at equal distances."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]


def _pairs(path: Path) -> PairsFile:
    pairs = read_pairs_bin(path)
    if pairs.same.all() or not pairs.same.any():
        raise SourceError(f"{path}: expected same and different pairs, got one kind only: name another set")
    return pairs


def _source(data: Data) -> Source:
    if data.kind == "record":
        return RecordSource(data.path)
    if data.kind == "crops":
        return _crops(data.path)
    return FolderSource(data.path, cut=None if data.aligned else FaceCutter(arcface_112(), _detector))


def _crops(folder: Path) -> CachedSource:
    if not (folder / ABOUT).is_file():
        raise SourceError(f"{folder}: expected crops as a cache keeps them ({ABOUT}); make them, or name another")
    return CachedSource(folder)


def _detector() -> Detector:
    from attendance.detect.mtcnn import MtcnnDetector

    return MtcnnDetector()
