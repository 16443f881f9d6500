"""Convolutions on a processor, in blocks that stay in its registers: direct ones, and 3x3 ones by Winograd's method.

Pictures lie with their channels innermost. The innermost loops are written in LLVM's vectors, which numba compiles for
the processor at hand, because no loop over numbers keeps a block of sums in registers. Winograd's method computes
tiles of m x m results from m + 2 x m + 2 numbers with (m + 2)^2 multiplications instead of 9 m^2 (Lavin and Gray 2016,
"Fast Algorithms for Convolutional Neural Networks", section 4).

Every result is a sum in one order, whatever is computed beside it: a face's vector does not depend on the batch it
came in. All of it is one file because numba notices a change of the file that a kernel stands in, and of no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.embed.winograd import FROM_INPUT, TO_OUTPUT, Matrix
from attendance.types import Float32

Int64 = NDArray[np.int64]

ROWS = 6
"""Results computed together, each of two vectors of channels: 12 sums, 2 weights and a factor fit 16 registers."""

FEW = 4
"""Results computed together where fewer than ``ROWS`` are left."""

TILES = 27
"""Tiles taken through Winograd's method together: what is between its steps then stays in a core's own cache."""


class Step(NamedTuple):
    """An operation on the maps in the work space; all places are counted in numbers, ``*_at`` are places in tables.

    Maps of several pictures lie ``*_slot`` apart. ``tile`` is Winograd's m, or 0 for a direct convolution of ``bands``
    rows and ``length`` numbers of each; ``bands`` 0 halves the map and -1 takes the maxima of 3x3 squares. The tables
    list for each result, or tile of them, where it begins in the input and the output, and under ``reach_at`` the rows
    and columns of a tile that the map has.
    ``add`` 1 adds what the output holds.
    """

    x: int
    x_slot: int
    x_row: int
    out: int
    out_slot: int
    out_row: int
    channels_in: int
    channels_out: int
    tile: int
    bands: int
    length: int
    places: int
    x_at: int
    out_at: int
    reach_at: int
    weights_at: int
    biases_at: int
    add: int


class Space(NamedTuple):
    """What all steps share, and the room of one thread. ``width`` is two vectors, the panels that weights lie in."""

    tables: Int64
    weights: Float32
    biases: Float32
    work: Float32
    before: Float32
    after: Float32
    width: int


def lanes() -> int:
    """Numbers of one vector of this processor."""
    return 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8


class _Code:
    """Writes operations on vectors of float32 into a function of LLVM that numba is about to compile."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self._vector = ir.VectorType(ir.FloatType(), lanes())
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{lanes()}f32")
        self.zero = self.constant(0.0)

    def constant(self, value: float) -> Any:
        return ir.Constant(self._vector, [float(value)] * lanes())

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
        positive = self.builder.fcmp_ordered(">", value, self.zero)
        self.store(self.builder.select(positive, value, self.zero), place)

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
            pair = self.at(weights, self.times(loop.index, 2 * lanes()))
            halves = self.load(pair), self.load(self.at(pair, lanes()))
            for row, start in enumerate(starts):
                factor = self._spread(self.builder.load(self.at(start, loop.index)))
                for place, weight in zip(sums[2 * row : 2 * row + 2], halves, strict=True):
                    total = self.builder.call(self._fma, [factor, weight, self.builder.load(place)])
                    self.builder.store(total, place)

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
                total = self.builder.call(self._fma, [self.constant(factor), vector, total])
        return total

    def _spread(self, scalar: Any) -> Any:
        first = self.builder.insert_element(self.zero, scalar, ir.Constant(ir.IntType(32), 0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), lanes()), [0] * lanes())
        return self.builder.shuffle_vector(first, self.zero, order)


def _vectorised(write: Callable[..., None]) -> Any:
    """What compiled code calls with a tuple, of a function that writes its operations.

    Arrays of the tuple come to it as the place they lie at.
    """

    @intrinsic
    def function(typing: Any, kinds: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = zip(kinds, cgutils.unpack_tuple(builder, arguments[0]), strict=True)
            write(
                _Code(builder),
                *(
                    context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                    for kind, value in given
                ),
            )
            return context.get_dummy_value()

        return types.void(kinds), generate

    return function


def _producing(most: int) -> Any:
    """A matrix product of ``most`` rows or fewer and two vectors of columns."""

    def write(code: _Code, x: Any, length: Any, rows: Any, weights: Any, out: Any, out_row: Any) -> None:
        sums = code.sums(2 * most, [code.zero])
        starts = [code.at(x, code.times(code.existing(row, rows), length)) for row in range(most)]
        code.accumulate(starts, weights, length, sums)
        for row in range(most):
            with code.builder.if_then(code.below(row, rows), likely=True):
                place = code.at(out, code.times(row, out_row))
                for half in range(2):
                    code.store(code.builder.load(sums[2 * row + half]), code.at(place, half * lanes()))

    return _vectorised(write)


def _write_convolution(
    code: _Code, x: Any, x_at: Any, bands: Any, length: Any, x_row: Any, weights: Any, biases: Any, out: Any, *rest: Any
) -> None:
    """``ROWS`` places of a convolution or fewer, two vectors of channels: bias, what ``out`` holds if ``add``, ReLU."""
    out_at, rows, add = rest
    sums = code.sums(2 * ROWS, [code.load(biases), code.load(code.at(biases, lanes()))])
    places = [code.existing(row, rows) for row in range(ROWS)]
    starts = [code.at(x, code.builder.load(code.at(x_at, place))) for place in places]
    with cgutils.for_range(code.builder, bands, intp=ir.IntType(64)) as band:
        panel = code.at(weights, code.times(code.times(band.index, length), 2 * lanes()))
        moved = code.times(band.index, x_row)
        code.accumulate([code.at(start, moved) for start in starts], panel, length, sums)
    for row, place in enumerate(places):
        with code.builder.if_then(code.below(row, rows), likely=True):
            target = code.at(out, code.builder.load(code.at(out_at, place)))
            for half in range(2):
                code.finish(code.builder.load(sums[2 * row + half]), code.at(target, half * lanes()), add)


def _spreading(m: int) -> Any:
    """The first step of Winograd's method: B^T d B of a tile, for a vector of channels."""

    def write(code: _Code, x: Any, x_row: Any, channels: Any, out: Any, stride: Any) -> None:
        side = range(m + 2)
        rows = [[code.load(code.at(x, code.times(x_row, r), code.times(channels, c))) for c in side] for r in side]
        halfway = [code.combined(FROM_INPUT[m], column) for column in zip(*rows, strict=True)]
        for row in side:
            for column, value in enumerate(code.combined(FROM_INPUT[m], [half[row] for half in halfway])):
                code.store(value, code.at(out, code.times(stride, row * (m + 2) + column)))

    return _vectorised(write)


def _gathering(m: int) -> Any:
    """The last step: A^T M A of a tile, bias, what ``out`` holds if ``add``, ReLU, as far as the map reaches."""

    def write(code: _Code, x: Any, stride: Any, biases: Any, out: Any, out_row: Any, channels: Any, *rest: Any) -> None:
        rows, columns, add = rest
        side = range(m + 2)
        grid = [[code.load(code.at(x, code.times(stride, r * (m + 2) + c))) for c in side] for r in side]
        halfway = [code.combined(TO_OUTPUT[m], column) for column in zip(*grid, strict=True)]
        bias = code.load(biases)
        for row in range(m):
            for column, value in enumerate(code.combined(TO_OUTPUT[m], [half[row] for half in halfway])):
                within = code.builder.and_(code.below(row, rows), code.below(column, columns))
                with code.builder.if_then(within, likely=True):
                    place = code.at(out, code.times(out_row, row), code.times(channels, column))
                    code.finish(code.builder.fadd(value, bias), place, add)

    return _vectorised(write)


_product, _product_few = _producing(ROWS), _producing(FEW)
_convolution = _vectorised(_write_convolution)
_spread_2, _spread_4 = _spreading(2), _spreading(4)
_gather_2, _gather_4 = _gathering(2), _gathering(4)


@compiled
def multiply(x: Float32, rows: int, length: int, weights: Float32, columns: int, out: Float32, width: int) -> None:
    """(rows, length) times (length, columns), the weights in panels of ``width`` columns."""
    for column in range(0, columns, width):
        panel = weights[column * length :]
        row = 0
        while row < rows:
            left = rows - row
            start, target = x[row * length :], out[row * columns + column :]
            if left <= FEW or left in (ROWS + 1, ROWS + 2):
                _product_few((start, length, min(FEW, left), panel, target, columns))
                row += FEW
            else:
                _product((start, length, min(ROWS, left), panel, target, columns))
                row += ROWS


@compiled
def _direct(space: Space, step: Step, x: Float32, out: Float32, places: int) -> None:
    for column in range(0, step.channels_out, space.width):
        weights = space.weights[step.weights_at + column * step.bands * step.length :]
        biases = space.biases[step.biases_at + column :]
        for first in range(0, places, ROWS):
            x_at, out_at = space.tables[step.x_at + first :], space.tables[step.out_at + first :]
            rows = min(ROWS, places - first)
            _convolution(
                (
                    x,
                    x_at,
                    step.bands,
                    step.length,
                    step.x_row,
                    weights,
                    biases,
                    out[column:],
                    out_at,
                    rows,
                    step.add != 0,
                )
            )


@compiled
def _spread(space: Space, step: Step, x: Float32, start: int, count: int) -> None:
    stride = TILES * step.channels_in
    for tile in range(count):
        place = space.tables[step.x_at + start + tile]
        for channel in range(0, step.channels_in, space.width // 2):
            given, taken = x[place + channel :], space.before[tile * step.channels_in + channel :]
            if step.tile == 4:
                _spread_4((given, step.x_row, step.channels_in, taken, stride))
            else:
                _spread_2((given, step.x_row, step.channels_in, taken, stride))


@compiled
def _gather(space: Space, step: Step, out: Float32, start: int, count: int) -> None:
    stride, channels, add = TILES * step.channels_out, step.channels_out, step.add != 0
    for tile in range(count):
        place = space.tables[step.out_at + start + tile]
        reach = space.tables[step.reach_at + 2 * (start + tile) :]
        for channel in range(0, channels, space.width // 2):
            given, taken = space.after[tile * channels + channel :], out[place + channel :]
            biases = space.biases[step.biases_at + channel :]
            if step.tile == 4:
                _gather_4((given, stride, biases, taken, step.out_row, channels, reach[0], reach[1], add))
            else:
                _gather_2((given, stride, biases, taken, step.out_row, channels, reach[0], reach[1], add))


@compiled
def _winograd(space: Space, step: Step, x: Float32, out: Float32, tiles: int) -> None:
    for start in range(0, tiles, TILES):
        count = min(TILES, tiles - start)
        _spread(space, step, x, start, count)
        for product in range((step.tile + 2) ** 2):
            weights = space.weights[step.weights_at + product * step.channels_in * step.channels_out :]
            before = space.before[product * TILES * step.channels_in :]
            after = space.after[product * TILES * step.channels_out :]
            multiply(before, count, step.channels_in, weights, step.channels_out, after, space.width)
        _gather(space, step, out, start, count)


@compiled
def _halve(space: Space, step: Step, x: Float32, out: Float32, places: int) -> None:
    """The mean of squares of 2x2 into the first channels, 0 into the others."""
    channels = step.channels_in
    for place in range(places):
        top = x[space.tables[step.x_at + place] :]
        low = top[step.x_row :]
        target = out[space.tables[step.out_at + place] :]
        for channel in range(channels):
            together = (top[channel] + top[channels + channel]) + (low[channel] + low[channels + channel])
            target[channel] = together * np.float32(0.25)
        target[channels : step.channels_out] = 0


@compiled
def _maximum(space: Space, step: Step, x: Float32, out: Float32, places: int) -> None:
    """The maximum of squares of 3x3."""
    channels = step.channels_in
    for place in range(places):
        top = x[space.tables[step.x_at + place] :]
        target = out[space.tables[step.out_at + place] :]
        for row in range(3):
            line = top[row * step.x_row :]
            for channel in range(channels):
                most = target[channel] if row > 0 else line[channel]
                most = line[channel] if line[channel] > most else most
                most = line[channels + channel] if line[channels + channel] > most else most
                target[channel] = line[2 * channels + channel] if line[2 * channels + channel] > most else most


@compiled
def run(space: Space, steps: Int64, slot: int, pictures: int) -> None:
    """Take so many pictures, the first of them in ``slot``, through the steps, one a row."""
    for row in steps:
        step = Step(
            row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8],
            row[9], row[10], row[11], row[12], row[13], row[14], row[15], row[16], row[17],
        )  # fmt: skip
        x, out = space.work[step.x + slot * step.x_slot :], space.work[step.out + slot * step.out_slot :]
        count = pictures * step.places
        if step.tile > 0:
            _winograd(space, step, x, out, count)
        elif step.bands > 0:
            _direct(space, step, x, out, count)
        elif step.bands == 0:
            _halve(space, step, x, out, count)
        else:
            _maximum(space, step, x, out, count)
