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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.search import kernels
from attendance.search.kernels import BLOCK, LARGEST, TOGETHER, Int8, Int16, Int64
from attendance.types import Float32, Float64

_FIRST_ROOM = 4 * BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Vectors (n, D) less ``centre`` (D,) as whole numbers: ``whole`` (n', D'), ``scales`` and ``rests`` (n',), rests
    rounded upwards; n' and D' are the next multiples of `kernels.BLOCK`.

    The scale of one that is absent is NaN, which no comparison lets pass.
    """

    whole: Int8
    scales: Float32
    rests: Float32
    centre: Float32

    @classmethod
    def empty(cls, count: int, centre: Float32) -> Codes:
        """Room for so many vectors, none of which is there."""
        rows = _filled_up(count, BLOCK)
        nobody = np.full(rows, np.nan, np.float32)
        whole = np.zeros((rows, _filled_up(len(centre), BLOCK)), np.int8)
        return cls(whole, nobody, np.zeros(rows, np.float32), centre)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Where the codes of several chunks lie, as `kernels.look` wants it, and their centres (chunks, D)."""

    codes: Sequence[Codes]
    table: Int64
    centres: Float64

    @classmethod
    def of(cls, codes: Sequence[Codes], *, places: int) -> Coded:
        """The codes of chunks that hold ``places`` people each; keeps them alive."""
        table = np.empty((len(codes), 5), np.int64)
        for index, part in enumerate(codes):
            addresses = (part.whole.ctypes.data, part.scales.ctypes.data, part.rests.ctypes.data)
            table[index] = (*addresses, len(part.scales), index * places)
        return cls(codes, table, np.stack([part.centre for part in codes]).astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class QueryCodes:
    """Queries (m, D) as whole numbers of 16 bits: ``whole`` (m', D') filled up with zeros as `kernels.look` wants it.

    ``numbers`` (m, 3): the scale, the length of code times scale, and the share of the bound that does not depend on
    the person: twice the length of what the query's own code rounds off, and what float32 arithmetic rounds.
    """

    whole: Int16
    numbers: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Of each query the places that may be among its nearest with their upper bounds, and the k largest lower ones."""

    best: Float32
    places: Sequence[Int64]
    uppers: Sequence[Float32]


def encode(vectors: Float32, absent: NDArray[np.bool_]) -> Codes:
    """Encode vectors (n, D), of length 1 or near, about their mean; ``absent`` (n,) marks rows that nobody may find."""
    there = vectors[~absent] if absent.any() else vectors
    centre = np.asarray(there.mean(axis=0, dtype=np.float64) if len(there) else there.sum(axis=0), np.float32)
    codes = Codes.empty(len(vectors), centre)
    kernels.encode(vectors, centre, codes.whole, codes.scales, codes.rests)
    codes.scales[: len(absent)][absent] = np.nan
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
    kernels.encode(np.ascontiguousarray(vectors[places]), codes.centre, part.whole, part.scales, part.rests)
    written = slice(len(places))
    found.whole[places] = part.whole[written]
    found.scales[places], found.rests[places] = part.scales[written], part.rests[written]
    found.scales[: len(absent)][absent] = np.nan
    return found


def encode_queries(queries: Float32) -> QueryCodes:
    """Encode queries (m, D), m >= 1. As finely as 16 bits allow without a sum of products that overflows 32."""
    count, dimension = queries.shape
    most = min(2**15 - 1, (2**31 - 1) // (LARGEST * dimension))
    wide = queries.astype(np.float64)
    scales = np.abs(wide).max(axis=1, keepdims=True) / most
    scales[scales == 0.0] = 1.0
    # A scale is what `look` multiplies by: of float32, so that it is the very number that is rounded with here.
    scales = scales.astype(np.float32).astype(np.float64)
    numbers = np.rint(wide / scales).clip(-most, most)
    whole = np.zeros((1 if count == 1 else _filled_up(count, TOGETHER), _filled_up(dimension, BLOCK)), np.int16)
    whole[:count, :dimension] = numbers
    length = np.linalg.norm(numbers * scales, axis=1)
    rest = np.linalg.norm(wide - numbers * scales, axis=1)
    # A few roundings of numbers up to |r| |q|, and that unit vectors may be longer than 1 by a thousandth.
    slack = 16 * float(np.finfo(np.float32).eps) * np.maximum(length, 1.0) + 4e-3 * rest
    return QueryCodes(whole, np.stack([scales[:, 0], length, 2.0 * rest + slack], axis=1).astype(np.float32))


def look(coded: Coded, chunks: slice, queries: Float32, codes: QueryCodes, *, k: int) -> Found:
    """Everybody in some of the chunks who may be among the k nearest of each query (m, D)."""
    count = len(queries)
    table = coded.table[chunks]
    centred = np.ascontiguousarray(queries @ coded.centres[chunks].T, np.float32)
    best = np.full((count, k), -np.inf, np.float32)
    room = _FIRST_ROOM
    places, uppers = np.empty((count, room), np.int64), np.empty((count, room), np.float32)
    counts, at = np.zeros(count, np.int64), np.zeros(2, np.int64)
    while not kernels.look(table, centred, codes.whole, codes.numbers, best, places, uppers, counts, at):
        places, uppers = np.tile(places, 2), np.tile(uppers, 2)
    ends = counts.tolist()
    noted = [(places[i, :end], uppers[i, :end]) for i, end in enumerate(ends)]
    return Found(best, [each for each, _ in noted], [each for _, each in noted])


def nearest_places(parts: Sequence[Found]) -> list[Int64]:
    """Of each query the places, in the order of the parts, whose upper bound reaches the k-th largest lower bound."""
    found = []
    for index in range(len(parts[0].best)):
        best = parts[0].best[index]
        for part in parts[1:]:
            kernels.keep_largest(part.best[index], best)
        found.append(np.concatenate([part.places[index][part.uppers[index] >= best[-1]] for part in parts]))
    return found


def _filled_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
