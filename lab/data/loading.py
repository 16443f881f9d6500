"""Faces to the network: read and varied in worker processes, handed over as bytes, made numbers on the device."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from attendance.types import Float32, RGBImage
from lab.data.augment import Augment, augment, draws
from lab.data.samplers import Draw, Place, Sampler
from lab.data.source import Ints, Source

MIDDLE = 127.5
PREFETCHED = 4
"""Batches that each worker holds ready."""

# A DataLoader draws a seed for its workers whenever it is gone through. Given a generator of its own, it leaves alone
# the one that dropout draws from, which a resumed run must find as it was.


class Batch(NamedTuple):
    """``faces`` RGB uint8 (N, S, S, 3) and ``labels`` int64 (N,), still on the processor.

    ``targets`` (N, D) float32 are a teacher's embeddings of the faces, where the source keeps them.
    """

    faces: Tensor
    labels: Tensor
    targets: Tensor | None = None


class TrainingFaces(Dataset[tuple[RGBImage, int, Float32 | None]]):
    """The faces of a source by `Draw`, varied, with their class and what a teacher made of them unvaried."""

    def __init__(self, source: Source, chosen: Ints, classes: Ints, *, size_px: int, how: Augment, seed: int) -> None:
        self.source, self.chosen, self.size_px, self.how, self.seed = source, chosen, size_px, how, seed
        self.labels = classes[source.labels[chosen]]

    def __getitem__(self, draw: Draw) -> tuple[RGBImage, int, Float32 | None]:
        face = self.source.read(int(self.chosen[draw.index]), self.size_px)
        varied = augment(face, self.how, draws(self.seed, draw.epoch, draw.position))
        targets = self.source.targets
        return varied, int(self.labels[draw.index]), None if targets is None else targets[self.chosen[draw.index]]


class PlainFaces(Dataset[tuple[RGBImage, int, Float32 | None]]):
    """Chosen faces of a source as they are, with their place among the chosen."""

    def __init__(self, source: Source, chosen: Ints, *, size_px: int) -> None:
        self.source, self.chosen, self.size_px = source, chosen, size_px

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[RGBImage, int, Float32 | None]:
        return self.source.read(int(self.chosen[index]), self.size_px), index, None


def training_batches(
    faces: TrainingFaces, sampler: Sampler, start: Place, *, rank: int, world: int, workers: int, pinned: bool
) -> Generator[Batch, None, None]:
    """Batches from ``start`` on, for ever, the same whoever reads them: workers only change how soon they come."""
    loader: DataLoader[tuple[RGBImage, int, Float32 | None]] = DataLoader(
        faces,
        batch_sampler=_Draws(sampler, start, rank, world),
        collate_fn=_collated,
        num_workers=workers,
        pin_memory=pinned,
        worker_init_fn=_begin_worker,
        prefetch_factor=PREFETCHED if workers else None,
        generator=torch.Generator(),
    )
    yield from loader


def plain_batches(faces: PlainFaces, *, batch_size: int, workers: int = 0) -> Iterator[Batch]:
    """All faces once, in order; ``labels`` are their places."""
    loader: DataLoader[tuple[RGBImage, int, Float32 | None]] = DataLoader(
        faces,
        batch_size=batch_size,
        collate_fn=_collated,
        num_workers=workers,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),
    )
    yield from loader


def to_input(faces: Tensor, device: torch.device, *, channels_last: bool = False) -> Tensor:
    """RGB uint8 (N, S, S, 3) -> float32 (N, 3, S, S), (x - 127.5) / 127.5, on the device."""
    moved = faces.to(device, non_blocking=True).permute(0, 3, 1, 2)
    scaled = (moved.float() - MIDDLE) / MIDDLE
    # Bytes come with the channels last; float() keeps that, and contiguous() is free where it is wanted.
    return scaled.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@dataclass(frozen=True, slots=True)
class _Draws:
    """What a DataLoader iterates over."""

    sampler: Sampler
    start: Place
    rank: int
    world: int

    def __iter__(self) -> Iterator[list[Draw]]:
        return self.sampler.draws(self.start, rank=self.rank, world=self.world)


def _collated(rows: Sequence[tuple[RGBImage, int, Float32 | None]]) -> Batch:
    faces = torch.from_numpy(np.stack([face for face, _, _ in rows]))
    labels = torch.tensor([label for _, label, _ in rows], dtype=torch.int64)
    targets = [target for _, _, target in rows if target is not None]
    return Batch(faces, labels, torch.from_numpy(np.stack(targets)) if targets else None)


def _begin_worker(_: int) -> None:
    # Workers are many: one thread in each, or they fight for the processor.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Ctrl-C goes to a terminal's whole group. The loop finishes its step, so the workers go on until it lets them go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
