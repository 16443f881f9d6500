"""The first look of an exact lookup: bounds on every cosine from numbers of eight bits, a quarter of the memory.

A lookup among many people takes as long as their vectors take to come from memory. So each is also kept as whole
numbers -127..127 times a scale, with the length of what that rounds off. Faces have much in common, so what is rounded
is the difference r = g - m from a common centre. For a person r = s c + e and a query q = t d + f, c and d whole, e and
f the rests:

    |g.q - m.q - s t c.d| = |e.(t d) + r.f| <= |e| |t d| + |r| |f|        (Cauchy and Schwarz)

so whoever's upper bound lies below the k-th largest lower bound cannot be among the k nearest, and everybody else is
compared exactly. The bound is widened by what float32 arithmetic itself may round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.types import Float32

LARGEST = 127

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Vectors (n, D) less ``centre`` (D,) as whole numbers: ``whole`` (n, D), ``scales`` and ``rests`` (n,), rests
    rounded upwards.

    The scale of one that is absent is NaN, which no comparison lets pass.
    """

    whole: Int8
    scales: Float32
    rests: Float32
    centre: Float32

    @classmethod
    def empty(cls, count: int, centre: Float32) -> Codes:
        """Of so many vectors, none of which is there."""
        nobody = np.full(count, np.nan, np.float32)
        return cls(np.zeros((count, len(centre)), np.int8), nobody, np.zeros(count, np.float32), centre)


@dataclass(frozen=True, slots=True, eq=False)
class QueryCode:
    """A query as whole numbers (D,) of 16 bits times ``scale``; ``length`` of that product, ``rest`` of what is left.

    ``slack`` covers the rounding of the float32 arithmetic in `bounds`.
    """

    whole: Int16
    scale: float
    length: float
    rest: float
    slack: float

    def numbers(self, query: Float32, codes: Codes) -> Float32:
        """What `bounds` needs of this query besides: its cosine with the centre, scale, length, and what is uncertain
        whoever it is compared with. Differences from the centre are no longer than 2."""
        centred = float(codes.centre.astype(np.float64) @ query)
        return np.array([centred, self.scale, self.length, 2.0 * self.rest + self.slack], np.float32)


def encode(vectors: Float32, absent: NDArray[np.bool_]) -> Codes:
    """Encode vectors (n, D), of length 1 or near, about their mean; ``absent`` (n,) marks rows that nobody may find."""
    there = vectors[~absent] if absent.any() else vectors
    centre = np.asarray(there.mean(axis=0, dtype=np.float64) if len(there) else there.sum(axis=0), np.float32)
    codes = Codes.empty(len(vectors), centre)
    _encode(vectors, centre, codes.whole, codes.scales, codes.rests)
    codes.scales[absent] = np.nan
    return codes


def changed(codes: Codes, places: Sequence[int], vectors: Float32, absent: NDArray[np.bool_]) -> Codes:
    """The codes with some places, which may lie behind the last one, encoded anew; the rest and the centre stay.

    Args:
        codes: of (m, D), m <= n.
        places: in 0..n - 1.
        vectors: (n, D), all of them as they are now.
        absent: (n,).
    """
    count = len(codes.scales)
    found, part = Codes.empty(len(vectors), codes.centre), Codes.empty(len(places), codes.centre)
    found.whole[:count], found.scales[:count], found.rests[:count] = codes.whole, codes.scales, codes.rests
    _encode(np.ascontiguousarray(vectors[places]), codes.centre, part.whole, part.scales, part.rests)
    found.whole[places], found.scales[places], found.rests[places] = part.whole, part.scales, part.rests
    found.scales[absent] = np.nan
    return found


def encode_query(query: Float32) -> QueryCode:
    """Encode one query (D,). As finely as 16 bits allow without a sum of products that overflows 32."""
    most = min(2**15 - 1, (2**31 - 1) // (LARGEST * len(query)))
    largest = float(np.abs(query).max())
    scale = largest / most if largest > 0.0 else 1.0
    whole = np.rint(query.astype(np.float64) / scale).clip(-most, most).astype(np.int16)
    product = whole * scale
    length, rest = float(np.linalg.norm(product)), float(np.linalg.norm(query - product))
    # A few roundings of numbers up to |r| |q|, and that unit vectors may be longer than 1 by a thousandth.
    slack = 16 * float(np.finfo(np.float32).eps) * max(length, 1.0) + 4e-3 * rest
    return QueryCode(whole, scale, length, rest, slack)


@compiled
def _encode(vectors: Float32, centre: Float32, whole: Int8, scales: Float32, rests: Float32) -> None:
    for i in range(vectors.shape[0]):
        largest = np.float32(0)
        for j in range(vectors.shape[1]):
            largest = max(largest, abs(vectors[i, j] - centre[j]))
        scale = largest / np.float32(LARGEST) if largest > 0 else np.float32(1)
        rest = 0.0
        for j in range(vectors.shape[1]):
            number = min(max(np.rint((vectors[i, j] - centre[j]) / scale), -LARGEST), LARGEST)
            whole[i, j] = np.int8(number)
            left = np.float64(vectors[i, j]) - np.float64(centre[j]) - np.float64(scale) * number
            rest += left * left
        scales[i] = scale
        # A little more than it is: a bound must not be rounded below.
        rests[i] = np.float32(math.sqrt(rest) * (1.0 + 1e-6))


@compiled
def bounds(
    whole: Int8,
    scales: Float32,
    rests: Float32,
    query: Int16,
    numbers: Float32,
    upper: Float32,
    best: Float32,
) -> None:
    """Bounds on the cosines of vectors with one query.

    Args:
        whole: (n, D) with ``scales`` and ``rests``, see `Codes`.
        scales: (n,).
        rests: (n,).
        query: (D,), see `QueryCode`.
        numbers: (4,), see `QueryCode.numbers`.
        upper: (n,) upper bounds, written; NaN for the absent.
        best: (k,) the largest lower bounds so far, largest first, brought up to date.
    """
    last = best.shape[0] - 1
    for i in range(whole.shape[0]):
        total = np.int32(0)
        for j in range(query.shape[0]):
            total += np.int32(whole[i, j]) * np.int32(query[j])
        middle = numbers[0] + np.float32(total) * (scales[i] * numbers[1])
        wide = rests[i] * numbers[2] + numbers[3]
        upper[i] = middle + wide
        lower = middle - wide
        if lower > best[last]:
            place = last
            while place > 0 and best[place - 1] < lower:
                best[place] = best[place - 1]
                place -= 1
            best[place] = lower


@compiled
def at_least(values: Float32, least: float) -> Int64:
    """Indices of the values that are not below ``least``; NaN is."""
    count = 0
    for i in range(values.shape[0]):
        count += values[i] >= least
    found = np.empty(count, np.int64)
    n = 0
    for i in range(values.shape[0]):
        if values[i] >= least:
            found[n] = i
            n += 1
    return found


@compiled
def keep_largest(values: Float32, best: Float32) -> None:
    """Bring ``best`` (k,), largest first, up to date with ``values`` (n,); NaN counts for nothing."""
    last = best.shape[0] - 1
    for i in range(values.shape[0]):
        value = values[i]
        if value > best[last]:
            place = last
            while place > 0 and best[place - 1] < value:
                best[place] = best[place - 1]
                place -= 1
            best[place] = value
