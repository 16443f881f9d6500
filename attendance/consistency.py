"""Whether the photos of one person show one person, and which of many of them say most. Pure.

Photos that stand under one name are judged by each other: a photo is an outlier when it is farther from the mean
direction of the others than a stranger's photo would be with some small probability. So a photo of somebody else is
kept out, and so is one on which nobody would know the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attendance.types import Float32, Float64


@dataclass(frozen=True, slots=True)
class OutlierLimits:
    """Least cosine of a photo to one other photo of the person (``pair``), or to the mean direction of several."""

    pair: float
    mean: float

    def least(self, others: int) -> float:
        """The limit against so many other photos."""
        return self.pair if others == 1 else self.mean


@dataclass(frozen=True, slots=True)
class Outlier:
    """A photo that does not fit: its place in the list, its cosine to the others, and the limit that it missed.

    ``undecided``: one of two that were left and do not fit each other, so that either may be right.
    """

    place: int
    similarity: float
    least: float
    undecided: bool = False


def outliers(vectors: Float32, limits: OutlierLimits) -> list[Outlier]:
    """The photos that do not fit the others, the worst first.

    The worst is taken away and the rest judged again, so that one bad photo does not condemn good ones. Where two are
    left that do not fit each other, nothing tells which is right, and both are outliers. The answer does not depend on
    the order of the photos, and the photos that are left have no outlier among them.

    Args:
        vectors: the photos of one person, float32 (n, D) of unit length.
        limits: what each needs.
    """
    products = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    left = list(range(len(vectors)))
    found: list[Outlier] = []
    while len(left) > 1:
        similarity = _to_the_others(products[np.ix_(left, left)])
        worst = int(np.argmin(similarity))
        least = limits.least(len(left) - 1)
        if similarity[worst] >= least:
            break
        gone = left if len(left) == 2 else [left[worst]]
        two = len(left) == 2
        found += [Outlier(place, float(similarity[left.index(place)]), least, undecided=two) for place in gone]
        left = [place for place in left if place not in gone]
    return found


def covering(candidates: Float32, taken: Float32, room: int) -> list[int]:
    """The photos that cover a person's looks best: places in ``candidates``, in the order in which they were chosen.

    Each next one is that which is least like all chosen before it (Gonzalez 1985, farthest point first), beginning
    with the one nearest to the mean direction where none is taken yet. Doubles come last.

    Args:
        candidates: vectors (n, D) of unit length.
        taken: those that are in already, (m, D).
        room: how many may be chosen.
    """
    if room >= len(candidates):
        return list(range(len(candidates)))
    vectors = candidates.astype(np.float64)
    chosen: list[int] = []
    first = len(taken) == 0
    nearest = -(vectors @ vectors.sum(axis=0)) if first else (vectors @ taken.astype(np.float64).T).max(axis=1)
    while len(chosen) < room:
        place = int(np.argmin(np.where(np.isin(np.arange(len(vectors)), chosen), np.inf, nearest)))
        similarity = vectors @ vectors[place]
        nearest = similarity if first and not chosen else np.maximum(nearest, similarity)
        chosen.append(place)
    return chosen


def similarity_to_others(vectors: Float32) -> Sequence[float]:
    """Cosine of each photo to the mean direction of the other photos, n of 2 or more."""
    wide = vectors.astype(np.float64)
    return [float(value) for value in _to_the_others(wide @ wide.T)]


def _to_the_others(products: Float64) -> Float64:
    """The same from the matrix of dot products: the sum of the others is the sum of all less the photo itself."""
    total = float(products.sum())
    rows = products.sum(axis=1)
    own = np.diag(products)
    length = np.sqrt(np.maximum(total - 2.0 * rows + own, 1e-24))
    similarity: Float64 = (rows - own) / length
    return similarity
