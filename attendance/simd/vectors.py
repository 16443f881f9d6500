"""Loops in a processor's vectors, written for LLVM, which numba compiles for the processor at hand.

A loop over numbers, however numba compiles it, does not keep a block of sums in registers.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from attendance.compiled import compiled

ROWS = 6
"""Results computed together, each of two vectors of channels: 12 sums, 2 weights and a factor fit 16 registers."""

FEW = 4
"""Results computed together where fewer than ``ROWS`` are left."""

NARROW = 8
"""Numbers of the vectors that layers of few channels are computed in on every processor."""

Matrix = tuple[tuple[float, ...], ...]

_F = TypeVar("_F", bound=Callable[..., Any])


def lanes() -> int:
    """Numbers of one vector of this processor."""
    return 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8


class Filters(NamedTuple):
    """What a convolution multiplies by: ``bands`` rows of ``length`` numbers, each ``x_row`` further on in the map."""

    bands: Any
    length: Any
    x_row: Any
    weights: Any
    biases: Any


class Code:
    """Writes operations on vectors of float32 into a function of LLVM that numba is about to compile."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self._vector = ir.VectorType(ir.FloatType(), lanes)
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{lanes}f32")
        self.zero = self.constant(0.0)

    def constant(self, value: float) -> Any:
        return ir.Constant(self._vector, [float(value)] * self.lanes)

    def number(self, value: Any) -> Any:
        return ir.Constant(ir.IntType(64), value) if isinstance(value, int) else value

    def at(self, place: Any, *offsets: Any) -> Any:
        """The place so many numbers further on."""
        for offset in offsets:
            place = self.builder.gep(place, [self.number(offset)])
        return place

    def times(self, left: Any, right: Any) -> Any:
        return self.builder.mul(self.number(left), self.number(right))

    def below(self, left: Any, right: Any) -> Any:
        return self.builder.icmp_signed("<", self.number(left), self.number(right))

    def load(self, place: Any) -> Any:
        return self.builder.load(self.builder.bitcast(place, self._vector.as_pointer()), align=4)

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, self.builder.bitcast(place, self._vector.as_pointer()), align=4)

    def finish(self, value: Any, place: Any, add: Any) -> None:
        """Store the value there, what stands there added if ``add``, negative ones as 0."""
        value = self.builder.fadd(value, self.builder.select(add, self.load(place), self.zero))
        self.store(self.greater(value, self.zero), place)

    def finish_sloped(self, value: Any, place: Any, slopes: Any) -> None:
        """Store PReLU of the value there."""
        self.finish_sloped_by(value, place, self.load(slopes))

    def finish_sloped_by(self, value: Any, place: Any, slope: Any) -> None:
        self.store(self.sloped(value, slope), place)

    def product(self, left: Any, right: Any, more: Any) -> Any:
        """The product and a third one."""
        return self.builder.call(self._fma, [left, right, more])

    def greater(self, one: Any, other: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", one, other), one, other)

    def lesser(self, one: Any, other: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", one, other), one, other)

    def sloped(self, value: Any, slope: Any) -> Any:
        """PReLU: negative ones times the slope."""
        positive = self.builder.fcmp_ordered(">", value, self.zero)
        return self.builder.select(positive, value, self.builder.fmul(value, slope))

    def sums(self, count: int, first: Sequence[Any]) -> list[Any]:
        """Places for vectors, which the compiler puts in registers, holding those of ``first`` in turn."""
        made = [cgutils.alloca_once(self.builder, self._vector) for _ in range(count)]
        for index, place in enumerate(made):
            self.builder.store(first[index % len(first)], place)
        return made

    def existing(self, row: int, rows: Any) -> Any:
        """The row, or the last one where there are fewer."""
        return self.builder.select(self.below(row, rows), self.number(row), self.builder.sub(rows, self.number(1)))

    def accumulate(self, starts: Sequence[Any], weights: Any, length: Any, sums: Sequence[Any]) -> None:
        """Add to each row's two sums: ``length`` numbers from its start, each times two vectors of weights."""
        with cgutils.for_range(self.builder, length, intp=ir.IntType(64)) as loop:
            pair = self.at(weights, self.times(loop.index, 2 * self.lanes))
            self.add_products([self.at(start, loop.index) for start in starts], pair, sums)

    def convolve(self, x: Any, places: Sequence[Any], filters: Filters) -> list[Any]:
        """Two sums for each row, from the biases on: ``bands`` rows of the map at each row's start times the weights.

        Args:
            x: the map.
            places: of each row, where in the map it begins.
            filters: what it is multiplied by.
        """
        sums = self.sums(2 * len(places), [self.load(filters.biases), self.load(self.at(filters.biases, self.lanes))])
        starts = [self.at(x, place) for place in places]
        with cgutils.for_range(self.builder, filters.bands, intp=ir.IntType(64)) as band:
            panel = self.at(filters.weights, self.times(self.times(band.index, filters.length), 2 * self.lanes))
            moved = self.times(band.index, filters.x_row)
            self.accumulate([self.at(start, moved) for start in starts], panel, filters.length, sums)
        return sums

    def add_products(self, places: Sequence[Any], pair: Any, sums: Sequence[Any]) -> None:
        """Add to each row's two sums the number at its place times the two vectors of weights at ``pair``."""
        halves = self.load(pair), self.load(self.at(pair, self.lanes))
        for row, place in enumerate(places):
            factor = self.spread(self.builder.load(place))
            for total, weight in zip(sums[2 * row : 2 * row + 2], halves, strict=True):
                self.builder.store(self.product(factor, weight, self.builder.load(total)), total)

    def combined(self, matrix: Matrix, vectors: Sequence[Any]) -> list[Any]:
        """A small matrix of constants times vectors."""
        return [self._weighted(row, vectors) for row in matrix]

    def _weighted(self, row: Sequence[float], vectors: Sequence[Any]) -> Any:
        total: Any = None
        for factor, vector in sorted(zip(row, vectors, strict=True), key=lambda pair: pair[0] != 1):
            if factor != 0 and total is None:
                total = vector if factor == 1 else self.builder.fmul(self.constant(factor), vector)
            elif factor in (1, -1):
                total = (self.builder.fadd if factor == 1 else self.builder.fsub)(total, vector)
            elif factor != 0:
                total = self.product(self.constant(factor), vector, total)
        return total

    def spread(self, scalar: Any) -> Any:
        first = self.builder.insert_element(self.zero, scalar, ir.Constant(ir.IntType(32), 0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, self.zero, order)


def vectorised(write: Callable[..., None], *, vector: int | None = None) -> Any:
    """What a `kernel` calls with a tuple, of a function that writes its operations, on vectors of so many numbers
    (those of this processor unless told).

    Arrays of the tuple come to it as the place they lie at.
    """
    return _intrinsic(lambda builder, given: write(Code(builder, lanes() if vector is None else vector), *given))


def either_width(write: Callable[..., None]) -> Any:
    """The same, whose tuple begins with twice the numbers of a vector: those of this processor or ``NARROW``."""

    def both(builder: Any, given: list[Any]) -> None:
        width, *rest = given
        if lanes() == NARROW:
            write(Code(builder, NARROW), *rest)
            return
        narrow = builder.icmp_signed("==", width, ir.Constant(width.type, 2 * NARROW))
        with builder.if_else(narrow) as (then, otherwise):
            with then:
                write(Code(builder, NARROW), *rest)
            with otherwise:
                write(Code(builder, lanes()), *rest)

    return _intrinsic(both)


def _intrinsic(write: Callable[[Any, list[Any]], None]) -> Any:
    @intrinsic
    def function(typing: Any, kinds: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = zip(kinds, cgutils.unpack_tuple(builder, arguments[0]), strict=True)
            write(
                builder,
                [
                    context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                    for kind, value in given
                ],
            )
            return context.get_dummy_value()

        return types.void(kinds), generate

    return function


def kernel(function: _F) -> _F:
    """`compiled`, for loops that take in what `vectorised` gives.

    Numba notices a change of the file that a loop stands in and of no other: it is kept under a name that changes with
    every file of this folder.
    """
    function.__qualname__ += _digest()
    return compiled(function)


@functools.cache
def _digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
