"""The loops of the three networks on a processor: convolutions in blocks that stay in its registers, and pooling.

Maps lie with their channels innermost, and a picture goes through a network in strips that stay in a core's own cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from attendance.simd.products import multiply
from attendance.simd.vectors import FEW, NARROW, ROWS, Code, Filters, either_width, kernel, vectorised
from attendance.simd.winograd import gathering, spreading
from attendance.types import Float32

Int64 = NDArray[np.int64]

TILE = 4
"""Winograd's m: a tile of so many rows and columns of results is computed together."""

TILES = 24
"""Tiles taken through Winograd's method together: what is between its steps then stays in a core's own cache."""

STRIP_PX = 1024
"""PNet's strips have so many pixels of its middle maps, or one row of tiles."""

WINDOW_HEADS = 5  # logit difference and four box offsets
WINDOW_CHANNELS = 32


class Layer(NamedTuple):
    """A convolution, or a dense layer as one of a single place, and its PReLU.

    The filter has ``bands`` rows of ``length`` numbers. Channels are filled up with zeros to ``channels``, a multiple
    of ``width``, and the weights lie in panels (channels / width, bands * length, width); those of a layer for
    Winograd's method, transformed, in 36 such matrices of ``length`` / 3 numbers. ``used`` are the true channels.
    ``pool`` is the side of the squares whose maxima are taken behind it, or 0; ``ones`` are the slopes of a layer whose
    PReLU comes with that.
    """

    weights: Float32
    biases: Float32
    slopes: Float32
    ones: Float32
    bands: int
    length: int
    channels: int
    used: int
    width: int
    pool: int


def _convolving(most: int) -> Callable[..., None]:
    """``most`` places of a convolution or fewer, two vectors of channels, and PReLU."""

    def write(code: Code, x: Any, x_at: Any, bands: Any, length: Any, x_row: Any, weights: Any, *rest: Any) -> None:
        biases, slopes, out, out_at, rows = rest
        places = [code.builder.load(code.at(x_at, code.existing(row, rows))) for row in range(most)]
        sums = code.convolve(x, places, Filters(bands, length, x_row, weights, biases))
        _finish(code, sums, slopes, out, out_at, rows)

    return write


def _beginning(most: int) -> Callable[..., None]:
    """The same for 3 bands of 9 numbers, whose loop is over before a processor has learned its length: none."""

    def write(code: Code, x: Any, x_at: Any, _bands: Any, _length: Any, x_row: Any, weights: Any, *rest: Any) -> None:
        biases, slopes, out, out_at, rows = rest
        sums = code.sums(2 * most, [code.load(biases), code.load(code.at(biases, code.lanes))])
        places = [code.existing(row, rows) for row in range(most)]
        starts = [code.at(x, code.builder.load(code.at(x_at, place))) for place in places]
        with cgutils.for_range(code.builder, code.number(3), intp=ir.IntType(64)) as band:
            panel = code.at(weights, code.times(band.index, 18 * code.lanes))
            moved = code.times(band.index, x_row)
            begins = [code.at(start, moved) for start in starts]
            for tap in range(9):
                code.add_products([code.at(begin, tap) for begin in begins], code.at(panel, 2 * tap * code.lanes), sums)
        _finish(code, sums, slopes, out, out_at, rows)

    return write


def _finish(code: Code, sums: Sequence[Any], slopes: Any, out: Any, out_at: Any, rows: Any) -> None:
    """PReLU of each row's two sums, stored where it has a place."""
    both = [code.load(code.at(slopes, half * code.lanes)) for half in range(2)]
    for row in range(len(sums) // 2):
        with code.builder.if_then(code.below(row, rows), likely=True):
            place = code.at(out, code.builder.load(code.at(out_at, row)))
            for half in range(2):
                code.finish_sloped_by(
                    code.builder.load(sums[2 * row + half]), code.at(place, half * code.lanes), both[half]
                )


def _pooling(size: int) -> Callable[..., None]:
    """The largest PReLU of a square of ``size`` x ``size`` places, one vector of channels.

    Slopes may be negative, so that the largest may be that of the smallest number.
    """

    def write(code: Code, x: Any, offsets: Any, slopes: Any, out: Any) -> None:
        places = [code.at(x, code.builder.load(code.at(offsets, n))) for n in range(size * size)]
        low = high = code.load(places[0])
        for place in places[1:]:
            value = code.load(place)
            low, high = code.lesser(low, value), code.greater(high, value)
        slope = code.load(slopes)
        code.store(code.greater(code.sloped(low, slope), code.sloped(high, slope)), out)

    return write


_convolve, _convolve_few = either_width(_convolving(ROWS)), either_width(_convolving(FEW))
_begin, _begin_few = either_width(_beginning(ROWS)), either_width(_beginning(FEW))
_spread = spreading(TILE, vector=NARROW)
_gather = gathering(TILE, Code.finish_sloped, vector=NARROW)
_pool_2, _pool_3 = vectorised(_pooling(2), vector=NARROW), vectorised(_pooling(3), vector=NARROW)


@kernel
def _convolved(
    layer: Layer, slopes_of_all: Float32, x: Float32, x_row: int, x_at: Int64, out: Float32, out_at: Int64
) -> None:
    """Apply the layer where ``x_at`` says, (places,), rows of the input ``x_row`` numbers apart."""
    places, bands, length = len(x_at), layer.bands, layer.length
    beginning = bands == 3 and length == 9
    for channel in range(0, layer.channels, layer.width):
        weights, to = layer.weights[channel * bands * length :], out[channel:]
        biases, slopes = layer.biases[channel:], slopes_of_all[channel:]
        first = 0
        while first < places:
            left = places - first
            given, taken = x_at[first:], out_at[first:]
            few = left <= FEW or left in (ROWS + 1, ROWS + 2)
            rows = min(FEW if few else ROWS, left)
            first += rows
            given_all = (layer.width, x, given, bands, length, x_row, weights, biases, slopes, to, taken, rows)
            if beginning and few:
                _begin_few(given_all)
            elif beginning:
                _begin(given_all)
            elif few:
                _convolve_few(given_all)
            else:
                _convolve(given_all)


@kernel
def _tiled(layer: Layer, slopes: Float32, x: Float32, x_row: int, rows: int, columns: int, out: Float32) -> None:
    """Apply a layer of 3x3 by Winograd's method: ``out`` is (rows, columns, channels), flat.

    ``x`` has as many rows, ``x_row`` numbers apart, and columns as tiles reach over (see `_reach`).
    """
    inputs, channels = layer.length // 3, layer.channels
    out_row = columns * channels
    across = -(-columns // TILE)
    tiles = -(-rows // TILE) * across
    share = -(-tiles // -(-tiles // TILES))
    products = (TILE + 2) ** 2
    before, after = np.empty(products * share * inputs, np.float32), np.empty(products * share * channels, np.float32)
    for start in range(0, tiles, share):
        count = min(share, tiles - start)
        for n in range(count):
            place = (start + n) // across * TILE * x_row + (start + n) % across * TILE * inputs
            for at in range(0, inputs, NARROW):
                channel = min(at, inputs - NARROW)
                _spread((x[place + channel :], x_row, inputs, before[n * inputs + channel :], share * inputs))
        for product in range(products):
            weights = layer.weights[product * inputs * channels :]
            multiply(
                before[product * share * inputs :], count, inputs, weights, channels,
                after[product * share * channels :], layer.width,
            )  # fmt: skip
        for n in range(count):
            row, column = (start + n) // across * TILE, (start + n) % across * TILE
            to = out[row * out_row + column * channels :]
            below, right = min(TILE, rows - row), min(TILE, columns - column)
            for channel in range(0, channels, NARROW):
                given = after[n * channels + channel :]
                biases = layer.biases[channel:]
                _gather((given, share * channels, biases, to[channel:], out_row, channels, below, right,
                         slopes[channel:]))  # fmt: skip


@kernel
def _reach(side: int) -> int:
    """Rows or columns of input that the tiles of so many rows or columns of results read."""
    return TILE * -(-side // TILE) + 2


@kernel
def _pooled(layer: Layer, x: Float32, rows: int, columns: int, out: Float32, out_row: int) -> None:
    """PReLU and the maximum over squares in steps of 2, the last ones cut off by the edge.

    ``x`` is (rows, columns, channels), flat, of which the used channels go to ``out``.
    """
    channels, slopes, size, used = layer.channels, layer.slopes, layer.pool, layer.used
    offsets = np.empty(size * size, np.int64)
    below = right = -1
    for top in range(0, rows - size + 2, 2):
        for left in range(0, columns - size + 2, 2):
            if min(size, rows - top) != below or min(size, columns - left) != right:
                below, right = min(size, rows - top), min(size, columns - left)
                for n in range(size * size):
                    offsets[n] = (min(n // size, below - 1) * columns + min(n % size, right - 1)) * channels
            start, place = (top * columns + left) * channels, top // 2 * out_row + left // 2 * used
            for at in range(0, used, NARROW):
                channel = min(at, used - NARROW)
                if size == 2:
                    _pool_2((x[start + channel :], offsets, slopes[channel:], out[place + channel :]))
                else:
                    _pool_3((x[start + channel :], offsets, slopes[channel:], out[place + channel :]))


@kernel
def _places(rows: int, columns: int, row: int, column: int) -> Int64:
    """Where the numbers of (rows, columns) places begin that lie ``row`` and ``column`` numbers apart."""
    found = np.empty(rows * columns, np.int64)
    for n in range(rows * columns):
        found[n] = n // columns * row + n % columns * column
    return found


@kernel
def propose(first: Layer, second: Layer, third: Layer, heads: Float32, biases: Float32, pictures: Float32,
            least_logit: float, windows: Float32) -> None:  # fmt: skip
    """PNet.

    Args:
        first, second, third: its convolutions.
        heads, biases: (5, 32) and (5,) of the logits' difference and the four offsets.
        pictures: (N, H, W, 3).
        least_logit: from which difference on a window gets offsets; those of others are 0.
        windows: (N, rows, columns, 5), filled.
    """
    rows, columns = windows.shape[1:3]
    height, width = pictures.shape[1:3]
    wide = width - 2
    strip = TILE * max(1, STRIP_PX // (columns + 4) // TILE)
    # Rows of the maps that this strip and the next ones read; those that both read are moved up.
    pooled_row, middle_row = (columns + 4) * first.used, _reach(columns) * second.channels
    pooled = np.empty((strip + 4) * pooled_row, np.float32)
    middle = np.zeros((strip + 2) * middle_row, np.float32)
    last = np.empty(strip * columns * third.channels, np.float32)
    line = np.empty(2 * wide * first.channels, np.float32)
    x_of_line, line_at = _places(2, wide, 3 * width, 3), _places(2, wide, wide * first.channels, first.channels)
    x_of_middle = _places(strip + 2, columns + 2, pooled_row, first.used)
    middle_at = _places(strip + 2, columns + 2, middle_row, second.channels)
    for n in range(len(pictures)):
        begun = 0
        for top in range(0, rows, strip):
            count = min(strip, rows - top)
            if top > 0:
                pooled[: 4 * pooled_row] = pooled[strip * pooled_row :][: 4 * pooled_row]
                middle[: 2 * middle_row] = middle[strip * middle_row :][: 2 * middle_row]
            for row in range(begun, top + count + 4):
                lines = min(2, height - 2 - 2 * row)
                x = pictures[n, 2 * row :].reshape(-1)
                _convolved(first, first.ones, x, 3 * width, x_of_line[: lines * wide], line, line_at[: lines * wide])
                _pooled(first, line, lines, wide, pooled[(row - top) * pooled_row :], pooled_row)
            begun = top + count + 4
            old = 2 if top > 0 else 0
            made = (count + 2 - old) * (columns + 2)
            _convolved(second, second.slopes, pooled[old * pooled_row :], pooled_row, x_of_middle[:made],
                       middle[old * middle_row :], middle_at[:made])  # fmt: skip
            _tiled(third, third.slopes, middle, middle_row, count, columns, last)
            for place in range(count * columns):
                _look(last[place * WINDOW_CHANNELS :][:WINDOW_CHANNELS], heads, biases, least_logit,
                      windows[n, top + place // columns, place % columns])  # fmt: skip


@kernel
def _look(features: Float32, heads: Float32, biases: Float32, least_logit: float, window: Float32) -> None:
    """The heads on one window, as far as they are needed."""
    window[0] = _dot(features, heads[0]) + biases[0]
    for head in range(1, WINDOW_HEADS):
        window[head] = _dot(features, heads[head]) + biases[head] if window[0] >= least_logit else np.float32(0)


@kernel
def _dot(x: Float32, weights: Float32) -> np.float32:
    # Eight sums side by side: one running sum would keep the processor from working on several products at once.
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
    for c in range(0, x.shape[0], 8):
        s0 += x[c] * weights[c]
        s1 += x[c + 1] * weights[c + 1]
        s2 += x[c + 2] * weights[c + 2]
        s3 += x[c + 3] * weights[c + 3]
        s4 += x[c + 4] * weights[c + 4]
        s5 += x[c + 5] * weights[c + 5]
        s6 += x[c + 6] * weights[c + 6]
        s7 += x[c + 7] * weights[c + 7]
    return np.float32(((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)))


@kernel
def _begun(layer: Layer, crop: Float32, raw: Float32, out: Float32, out_row: int) -> None:
    """The first convolution of a crop, PReLU and pooling."""
    side = len(crop)
    wide = side - 2
    out_at = _places(wide, wide, wide * layer.channels, layer.channels)
    _convolved(layer, layer.ones, crop.reshape(-1), side * 3, _places(wide, wide, side * 3, 3), raw, out_at)
    _pooled(layer, raw, wide, wide, out, out_row)


@kernel
def _halved(layer: Layer, side: int, x: Float32, raw: Float32, out: Float32, out_row: int) -> None:
    """A layer of ``side`` x ``side`` places by Winograd's method, PReLU and pooling."""
    _tiled(layer, layer.ones, x, _reach(side) * (layer.length // 3), side, side, raw)
    _pooled(layer, raw, side, side, out, out_row)


@kernel
def refine(first: Layer, second: Layer, crops: Float32) -> Float32:
    """RNet up to its last pooling: (N, 24, 24, 3) -> (N, 4, 4, 48), flat."""
    # Rows of the maps: 22 and 11 behind the first layer, 9 and 4 behind the second.
    wide = crops.shape[1] - 2
    narrow = wide // 2 - 2
    reach, side = _reach(narrow), narrow // 2
    raw, half = np.empty(wide * wide * first.channels, np.float32), np.zeros(reach * reach * first.used, np.float32)
    x_row = side * second.used
    x = np.empty(len(crops) * side * x_row, np.float32)
    for n in range(len(crops)):
        _begun(first, crops[n], raw, half, reach * first.used)
        _halved(second, narrow, half, raw, x[n * side * x_row :], x_row)
    return x


@kernel
def output(first: Layer, second: Layer, third: Layer, crops: Float32) -> Float32:
    """ONet up to its last pooling: (N, 48, 48, 3) -> (N, 4, 4, 64), flat."""
    # Rows of the maps: 46 and 23 behind the first layer, 21 and 10 behind the second, 8 and 4 behind the third.
    wide = crops.shape[1] - 2
    middle = wide // 2 - 2
    narrow = middle // 2 - 2
    reach, next_reach, side = _reach(middle), _reach(narrow), narrow // 2
    raw, half = np.empty(wide * wide * first.channels, np.float32), np.zeros(reach * reach * first.used, np.float32)
    quarter = np.zeros(next_reach * next_reach * second.used, np.float32)
    x_row = side * third.used
    x = np.empty(len(crops) * side * x_row, np.float32)
    for n in range(len(crops)):
        _begun(first, crops[n], raw, half, reach * first.used)
        _halved(second, middle, half, raw, quarter, next_reach * second.used)
        _halved(third, narrow, quarter, raw, x[n * side * x_row :], x_row)
    return x


@kernel
def conclude(last: Layer, dense: Layer, heads: Layer, x: Float32, out: Float32) -> None:
    """The last convolution, 4x4 to 3x3, the dense layer and the heads of all crops: ``out`` (count, heads).

    ``x`` is what `refine` or `output` gives.
    """
    count = len(out)
    crop, inputs, places = len(x) // count, last.length // last.bands, dense.length // last.channels
    x_row = crop // 4
    x_at, rows = np.empty(count * places, np.int64), np.arange(count)
    for n in range(count * places):
        x_at[n] = n // places * crop + n % places // 3 * x_row + n % places % 3 * inputs
    features = np.empty(count * dense.length, np.float32)
    _convolved(last, last.slopes, x, x_row, x_at, features, np.arange(count * places) * last.channels)
    hidden = np.empty(count * dense.channels, np.float32)
    _convolved(dense, dense.slopes, features, x_row, rows * dense.length, hidden, rows * dense.channels)
    found = np.empty(count * heads.channels, np.float32)
    _convolved(heads, heads.ones, hidden, x_row, rows * heads.length, found, rows * heads.channels)
    for n in range(count):
        out[n] = found[n * heads.channels :][: heads.used]
