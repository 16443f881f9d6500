"""The compiled loops of the exact lookup: eight-bit codes made, and looked through for one query or for several.

Sums of products of whole numbers are written in LLVM's vectors, which numba compiles for the processor at hand: a
vector instruction multiplies 16 pairs and adds neighbours, and a block of 4 people by 3 queries keeps its sums in
registers, so each code is loaded once for three queries. All of it is one file because numba notices a change of the
file that a kernel stands in, and of no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.types import Float32

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]

LARGEST = 127
"""The largest number of a code."""

BLOCK = 64
"""Codes looked through together; how many there are is filled up to a multiple, and so is their dimension."""

TOGETHER = 3
"""Queries multiplied together where there are several."""

_ROWS = 4
_LANES = 16
_AHEAD = 4096
"""Bytes asked for before they are needed."""

_WORD = ir.IntType(64)
_SUM = ir.IntType(32)
_SUMS = ir.VectorType(_SUM, 8)


def _order(lanes: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(_SUM, len(lanes)), list(lanes))


def _lanes(builder: Any, address: Any, bits: int) -> Any:
    """16 numbers of so many bits from an address, as numbers of 16 bits."""
    kind = ir.VectorType(ir.IntType(bits), _LANES)
    numbers = builder.load(builder.inttoptr(address, kind.as_pointer()))
    numbers.align = 1
    return numbers if bits == 16 else builder.sext(numbers, ir.VectorType(ir.IntType(16), _LANES))


def _pairs(builder: Any, one: Any, other: Any) -> Any:
    """Products of 16 numbers of 16 bits, each added to its neighbour's."""
    if llvmlite.binding.get_host_cpu_features().get("avx2"):
        kind = ir.FunctionType(_SUMS, [one.type, other.type])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd"), [one, other]
        )
    halves = []
    for first in (0, 1):
        pick = _order(range(first, _LANES, 2))
        wide = [builder.sext(builder.shuffle_vector(x, x, pick), _SUMS) for x in (one, other)]
        halves.append(builder.mul(*wide))
    return builder.add(*halves)


def _folded(builder: Any, one: Any, other: Any) -> Any:
    """Sums of neighbours: of each half two of ``one`` and two of ``other``."""
    even = _order([0, 2, 8, 10, 4, 6, 12, 14])
    odd = _order([1, 3, 9, 11, 5, 7, 13, 15])
    return builder.add(builder.shuffle_vector(one, other, even), builder.shuffle_vector(one, other, odd))


def _accumulate(builder: Any, rows: Sequence[Any], queries: Sequence[Any], at: Any, sums: Sequence[Any]) -> None:
    """Add a block's products of the 16 numbers ``at`` that place to its sums."""
    numbers = [_lanes(builder, builder.add(query, builder.mul(at, _WORD(2))), 16) for query in queries]
    for row, start in enumerate(rows):
        code = _lanes(builder, builder.add(start, at), 8)
        for index, number in enumerate(numbers):
            place = sums[row * len(queries) + index]
            builder.store(builder.add(builder.load(place), _pairs(builder, code, number)), place)


def _ask_for(builder: Any, address: Any) -> None:
    """Tell the processor that a line of memory will be read; one that is not there does no harm."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _SUM, _SUM, _SUM])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.inttoptr(address, pointer), _SUM(0), _SUM(3), _SUM(1)])


def _write_totals(builder: Any, sums: Sequence[Any], address: Any) -> None:
    """The four sums of a query, each over its lanes, to an address."""
    ends = [builder.load(place) for place in sums]
    both = _folded(builder, _folded(builder, *ends[:2]), _folded(builder, *ends[2:]))
    low, high = (builder.shuffle_vector(both, both, _order(range(first, first + 4))) for first in (0, 4))
    total = builder.add(low, high)
    builder.store(total, builder.inttoptr(address, total.type.as_pointer())).align = 4


def _multiplying(count: int) -> Any:
    """Sums of products of 4 codes with ``count`` queries: addresses of both and of the int32 sums, and D."""

    @intrinsic
    def function(typing: Any, codes: Any, queries: Any, dimension: Any, totals: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes, queries, dimension, totals = arguments
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_SUMS, [0] * 8)) for _ in range(_ROWS * count)]
            for place in sums:
                builder.store(ir.Constant(_SUMS, [0] * 8), place)
            rows = [builder.add(codes, builder.mul(dimension, _WORD(row))) for row in range(_ROWS)]
            starts = [builder.add(queries, builder.mul(dimension, _WORD(2 * index))) for index in range(count)]
            with cgutils.for_range(builder, builder.udiv(dimension, _WORD(BLOCK)), intp=_WORD) as loop:
                for part in range(0, BLOCK, _LANES):
                    at = builder.add(builder.mul(loop.index, _WORD(BLOCK)), _WORD(part))
                    _accumulate(builder, rows, starts, at, sums)
                    _ask_for(builder, builder.add(builder.add(rows[part // _LANES], at), _WORD(_AHEAD)))
            for index in range(count):
                place = builder.add(totals, _WORD(4 * BLOCK * index))
                _write_totals(builder, sums[index::count], place)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return function


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


_multiply_one, _multiply = _multiplying(1), _multiplying(TOGETHER)


@compiled
def look(
    table: Int64,
    centred: Float32,
    queries: Int16,
    numbers: Float32,
    best: Float32,
    places: Int64,
    uppers: Float32,
    counts: Int64,
    at: Int64,
) -> bool:
    """Note everybody whose upper bound reaches the k-th largest lower bound met so far; see `shortlist`.

    Args:
        table: (chunks, 5): addresses of the codes (n, D) int8, of scales and rests (n,) float32, n, and the first
            place; n and D multiples of ``BLOCK``.
        centred: (queries, chunks) cosines of queries and chunks' centres.
        queries: (m, D) codes; m at least ``queries``: 1, or a multiple of ``TOGETHER``.
        numbers: (queries, 3) scale, length of the coded query, and what is uncertain with whomever.
        best: (queries, k) largest lower bounds, largest first, brought up to date.
        places: (queries, room) filled with the noted places in their order; ``room`` is at least 2 ``BLOCK``.
        uppers: (queries, room) filled with their upper bounds.
        counts: (queries,) how many are noted, brought up to date.
        at: (2,) chunk and row to begin at, brought up to date.

    Returns:
        False where there is no more room: go on with the same, in larger ``places`` and ``uppers``.
    """
    dimension = queries.shape[1]
    totals = np.empty((queries.shape[0], BLOCK), np.int32)
    upper = np.empty(BLOCK, np.float32)
    last = best.shape[1] - 1
    for chunk in range(at[0], table.shape[0]):
        count = table[chunk, 3]
        scales = numba.carray(_pointer(table[chunk, 1]), (count,), np.float32)
        rests = numba.carray(_pointer(table[chunk, 2]), (count,), np.float32)
        for row in range(at[1], count, BLOCK):
            if not _has_room(best, places, uppers, counts):
                at[0], at[1] = chunk, row
                return False
            _multiply_block(table[chunk, 0] + row * dimension, queries, totals)
            for index in range(best.shape[0]):
                limit = best[index, last]
                centre, scale = centred[index, chunk], numbers[index, 0]
                length, unsure = numbers[index, 1], numbers[index, 2]
                hits = 0
                for i in range(BLOCK):
                    middle = centre + np.float32(totals[index, i]) * (scales[row + i] * scale)
                    upper[i] = middle + (rests[row + i] * length + unsure)
                    hits += upper[i] >= limit
                if hits == 0:
                    continue
                for i in range(BLOCK):
                    if upper[i] >= best[index, last]:
                        places[index, counts[index]] = table[chunk, 4] + row + i
                        uppers[index, counts[index]] = upper[i]
                        counts[index] += 1
                        middle = centre + np.float32(totals[index, i]) * (scales[row + i] * scale)
                        _insert(best[index], middle - (rests[row + i] * length + unsure))
        at[1] = 0
    at[0] = table.shape[0]
    return True


@compiled
def _multiply_block(codes: int, queries: Int16, totals: NDArray[np.int32]) -> None:
    """Sums of products of ``BLOCK`` codes with every query."""
    dimension = queries.shape[1]
    if queries.shape[0] == 1:
        for row in range(0, BLOCK, _ROWS):
            _multiply_one(codes + row * dimension, queries.ctypes.data, dimension, totals.ctypes.data + 4 * row)
        return
    for first in range(0, queries.shape[0], TOGETHER):
        query = queries.ctypes.data + 2 * first * dimension
        for row in range(0, BLOCK, _ROWS):
            _multiply(codes + row * dimension, query, dimension, totals.ctypes.data + 4 * (first * BLOCK + row))


@compiled
def _has_room(best: Float32, places: Int64, uppers: Float32, counts: Int64) -> bool:
    """Whether each list takes a block more, after those are dropped that can no longer be among the nearest."""
    for index in range(best.shape[0]):
        if counts[index] + BLOCK <= places.shape[1]:
            continue
        kept = 0
        for i in range(counts[index]):
            if uppers[index, i] >= best[index, best.shape[1] - 1]:
                places[index, kept], uppers[index, kept] = places[index, i], uppers[index, i]
                kept += 1
        counts[index] = kept
        # Half of the room is to be free again, so that a full list is not looked through at every block.
        if kept > places.shape[1] // 2:
            return False
    return True


@compiled
def _insert(best: Float32, value: float) -> None:
    place = best.shape[0] - 1
    if not value > best[place]:
        return
    while place > 0 and best[place - 1] < value:
        best[place] = best[place - 1]
        place -= 1
    best[place] = value


@compiled
def keep_largest(values: Float32, best: Float32) -> None:
    """Bring ``best`` (k,), largest first, up to date with ``values`` (n,); NaN counts for nothing."""
    for i in range(values.shape[0]):
        _insert(best, values[i])


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
def encode(vectors: Float32, centre: Float32, whole: Int8, scales: Float32, rests: Float32) -> None:
    """Codes of vectors (n, D) less ``centre`` (D,), see `shortlist.Codes`; what is written may be larger than those."""
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
        rests[i] = np.float32(np.sqrt(rest) * (1.0 + 1e-6))
