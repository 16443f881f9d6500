"""Matrix products."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from attendance.simd.vectors import FEW, ROWS, Code, either_width, kernel
from attendance.types import Float32


def _producing(most: int) -> Any:
    """A matrix product of ``most`` rows or fewer and two vectors of columns."""

    def write(code: Code, x: Any, length: Any, rows: Any, weights: Any, out: Any, out_row: Any) -> None:
        sums = code.sums(2 * most, [code.zero])
        starts = [code.at(x, code.times(code.existing(row, rows), length)) for row in range(most)]
        code.accumulate(starts, weights, length, sums)
        for row in range(most):
            with code.builder.if_then(code.below(row, rows), likely=True):
                place = code.at(out, code.times(row, out_row))
                for half in range(2):
                    code.store(code.builder.load(sums[2 * row + half]), code.at(place, half * code.lanes))

    return either_width(write)


_product, _product_few = _producing(ROWS), _producing(FEW)


@kernel
def multiply(x: Float32, rows: int, length: int, weights: Float32, columns: int, out: Float32, width: int) -> None:
    """(rows, length) times (length, columns), the weights in panels of ``width`` columns: two vectors, see
    `either_width`."""
    for column in range(0, columns, width):
        panel = weights[column * length :]
        row = 0
        while row < rows:
            left = rows - row
            start, target = x[row * length :], out[row * columns + column :]
            if left <= FEW or left in (ROWS + 1, ROWS + 2):
                _product_few((width, start, length, min(FEW, left), panel, target, columns))
                row += FEW
            else:
                _product((width, start, length, min(ROWS, left), panel, target, columns))
                row += ROWS


def panels(matrices: Tensor, width: int) -> Float32:
    """Matrices (products, N, K) as (products, panels, K, width): ``width`` columns side by side; N divides by it."""
    found: Float32 = matrices.reshape(len(matrices), -1, width, matrices.shape[2]).transpose(2, 3).contiguous().numpy()
    return found
