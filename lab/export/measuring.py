"""Right, fast and small: what a file is before and after its numbers were made coarser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attendance.embed.port import Embedder
from attendance.types import Float32, RGBImage
from lab.data.source import Ints
from lab.train.faces import spread
from lab.train.validate import all_pairs, verification

MOST_PHOTOS = 3000
"""Photos whose pairs are judged: four and a half million pairs."""

TIMED = 20


def judged(vectors: Float32, people: Ints) -> dict[str, Any]:
    """AUC, EER and TAR at FAR of all pairs of unit vectors (N, D), of at most `MOST_PHOTOS` photos."""
    chosen = spread(np.arange(len(vectors)), MOST_PHOTOS)
    return verification(*all_pairs(torch.from_numpy(vectors[chosen]), people[chosen]))


def milliseconds_a_face(embedder: Embedder, chip: RGBImage, *, runs: int = TIMED) -> float:
    """Median time of one face (S, S, 3) alone, after one run that is not counted."""
    face = chip[None]
    embedder.embed(face)
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        embedder.embed(face)
        taken.append(time.perf_counter() - begun)
    return 1000.0 * float(np.median(taken))


def file_figures(path: Path, embedder: Embedder, chips: RGBImage, people: Ints) -> tuple[Float32, dict[str, Any]]:
    """Embeddings (N, D) of all faces by this file, and its size, speed and verification figures."""
    vectors = embedder.embed(chips)
    figures = {
        "bytes": path.stat().st_size,
        "ms_a_face": milliseconds_a_face(embedder, chips[0]),
        **judged(vectors, people),
    }
    return vectors, figures


def agreement(one: Float32, other: Float32) -> dict[str, float]:
    """Cosines between two files' embeddings of the same faces: the mean, and the worst."""
    cosines = (one.astype(np.float64) * other).sum(axis=1)
    return {"mean": float(cosines.mean()), "worst": float(cosines.min())}
