"""Convolutions on a processor, in blocks that stay in its registers: direct ones, and 3x3 ones by Winograd's method.

Pictures lie with their channels innermost. Winograd's method computes tiles of m x m results from m + 2 x m + 2 numbers
with (m + 2)^2 multiplications instead of 9 m^2 (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", section 4).

Every result is a sum in one order, whatever is computed beside it: a face's vector does not depend on the batch it
came in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attendance.simd.products import multiply
from attendance.simd.vectors import ROWS, Code, Filters, kernel, vectorised
from attendance.simd.winograd import gathering, spreading
from attendance.types import Float32

Int64 = NDArray[np.int64]

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


def _write_convolution(
    code: Code, x: Any, x_at: Any, bands: Any, length: Any, x_row: Any, weights: Any, biases: Any, out: Any, *rest: Any
) -> None:
    """``ROWS`` places of a convolution or fewer, two vectors of channels: bias, what ``out`` holds if ``add``, ReLU."""
    out_at, rows, add = rest
    places = [code.existing(row, rows) for row in range(ROWS)]
    begins = [code.builder.load(code.at(x_at, place)) for place in places]
    sums = code.convolve(x, begins, Filters(bands, length, x_row, weights, biases))
    for row, place in enumerate(places):
        with code.builder.if_then(code.below(row, rows), likely=True):
            target = code.at(out, code.builder.load(code.at(out_at, place)))
            for half in range(2):
                code.finish(code.builder.load(sums[2 * row + half]), code.at(target, half * code.lanes), add)


_convolution = vectorised(_write_convolution)
_spread_2, _spread_4 = spreading(2), spreading(4)
_gather_2, _gather_4 = gathering(2, Code.finish), gathering(4, Code.finish)


@kernel
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


@kernel
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


@kernel
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


@kernel
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


@kernel
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


@kernel
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


@kernel
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
