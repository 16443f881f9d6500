"""The matrices of Winograd's method for 3x3 filters, by the side m of a tile of results.

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: Y = A^T [(G g G^T) * (B^T d B)] A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attendance.simd.vectors import Code, Matrix, vectorised

FROM_INPUT: dict[int, Matrix] = {
    2: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    4: (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
}
"""B^T: what a tile of the input is multiplied by from both sides."""

FROM_WEIGHTS: dict[int, Matrix] = {
    2: ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    4: (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
}
"""G: what a filter is multiplied by."""

TO_OUTPUT: dict[int, Matrix] = {
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
}
"""A^T: what the products are multiplied by, which gives a tile of the output."""

Finish = Callable[[Code, Any, Any, Any], None]
"""Stores a vector of results at a place; the last argument is what the kernel gave for it."""


def spreading(m: int, *, vector: int | None = None) -> Any:
    """The first step of Winograd's method: B^T d B of a tile, for a vector of channels."""

    def write(code: Code, x: Any, x_row: Any, channels: Any, out: Any, stride: Any) -> None:
        side = range(m + 2)
        rows = [[code.load(code.at(x, code.times(x_row, r), code.times(channels, c))) for c in side] for r in side]
        halfway = [code.combined(FROM_INPUT[m], column) for column in zip(*rows, strict=True)]
        for row in side:
            for column, value in enumerate(code.combined(FROM_INPUT[m], [half[row] for half in halfway])):
                code.store(value, code.at(out, code.times(stride, row * (m + 2) + column)))

    return vectorised(write, vector=vector)


def gathering(m: int, finish: Finish, *, vector: int | None = None) -> Any:
    """The last step: A^T M A of a tile and the bias, finished as told, as far as the map reaches."""

    def write(code: Code, x: Any, stride: Any, biases: Any, out: Any, out_row: Any, channels: Any, *rest: Any) -> None:
        rows, columns, last = rest
        side = range(m + 2)
        grid = [[code.load(code.at(x, code.times(stride, r * (m + 2) + c))) for c in side] for r in side]
        halfway = [code.combined(TO_OUTPUT[m], column) for column in zip(*grid, strict=True)]
        bias = code.load(biases)
        for row in range(m):
            for column, value in enumerate(code.combined(TO_OUTPUT[m], [half[row] for half in halfway])):
                within = code.builder.and_(code.below(row, rows), code.below(column, columns))
                with code.builder.if_then(within, likely=True):
                    place = code.at(out, code.times(out_row, row), code.times(channels, column))
                    finish(code, code.builder.fadd(value, bias), place, last)

    return vectorised(write, vector=vector)


def transformed(weight: Tensor, m: int) -> Tensor:
    """G g G^T of filters (N, C, 3, 3): ((m + 2)^2, N, C)."""
    matrix = torch.tensor(FROM_WEIGHTS[m], dtype=torch.float64)
    return torch.einsum("ij,ncjk,lk->ilnc", matrix, weight.double(), matrix).flatten(0, 1).float()
