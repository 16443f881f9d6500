"""Vectors that the exact lookup is measured with: random, about a common direction, and of real faces, mixed to many.

Mixed faces: a person made of two real ones, m + cos(a) (x - m) + sin(a) (y - m) for the mean face m and a random angle
a, normalised. That keeps the mean and the covariance of real faces, so how alike strangers are, in any number.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attendance.config import load
from attendance.types import Float32
from benchmarks.lfw import DEFAULT_DATA, HALVES, Lfw
from benchmarks.promise_draws import read_half
from lab.read import open_app

COMMON = 0.92
"""Length of the common part of the face-like vectors: two strangers' cosine is about its square, 0.85."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Vectors of real photos (n, D), and ``people`` (n,), who is on each."""

    vectors: Float32
    people: np.ndarray


def read_faces(kept: Path | None) -> Faces:
    """Every photo of lfw-dev through the product; or what an .npz file holds: ``names`` person/photo, and ``V``."""
    if kept is not None:
        with np.load(kept) as found:
            names, vectors = found["names"].tolist(), np.asarray(found["V"], np.float32)
    else:
        names, parts = [], []
        app = open_app(load(None, overrides={"model.threads": 2}), model_flag=None)
        with tempfile.TemporaryDirectory() as work:
            for half in HALVES:
                photos = read_half(app, Lfw(DEFAULT_DATA), half, Path(work))
                names += list(photos.names)
                parts.append(photos.vectors)
        vectors = np.concatenate(parts)
    there = np.linalg.norm(vectors, axis=1) > 0.5
    people = np.array([name.partition("/")[0] for name in names])
    return Faces(np.ascontiguousarray(vectors[there]), people[there])


def made_vectors(people: int, dimension: int, kind: str) -> Float32:
    """Unit vectors (people, dimension): ``random``, or ``face-like`` about a common direction."""
    rng = np.random.default_rng(people + dimension)
    rows = _unit(rng.standard_normal((people, dimension), np.float32))
    if kind == "face-like":
        rows *= np.float32(np.sqrt(1.0 - COMMON**2))
        rows[:, 0] += np.float32(COMMON)
        rows = _unit(rows)
    return rows


def changed_vectors(vectors: Float32, count: int) -> Float32:
    """Queries: ``count`` of the vectors, somewhat changed."""
    rng = np.random.default_rng(1)
    chosen = vectors[rng.integers(0, len(vectors), count)]
    return _unit(chosen + np.float32(0.2 / np.sqrt(vectors.shape[1])) * rng.standard_normal(chosen.shape, np.float32))


def mixed_faces(faces: Faces, people: int, queries: int) -> tuple[Float32, Float32]:
    """Vectors (people, D) of as many real people as there are and then of mixed ones; queries are other photos of
    the first people (or of whomever there is)."""
    _, first, index = np.unique(faces.people, return_index=True, return_inverse=True)
    others = np.setdiff1d(np.arange(len(index)), first)
    rng = np.random.default_rng(people)
    asked = rng.permutation(others)[:queries]
    wanted = first[index[asked]]
    rest = rng.permutation(np.setdiff1d(first, wanted))
    real = faces.vectors[np.concatenate([np.unique(wanted), rest])][:people]
    mean = faces.vectors.mean(axis=0)
    more = people - len(real)
    one, other = (faces.vectors[rng.integers(0, len(faces.vectors), more)] - mean for _ in range(2))
    angle = rng.uniform(0.0, np.pi / 2, (more, 1)).astype(np.float32)
    mixed = _unit(mean + np.cos(angle) * one + np.sin(angle) * other)
    return np.concatenate([real, mixed]), faces.vectors[asked]


def _unit(rows: Float32) -> Float32:
    unit: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
