"""Matrix products by blocks against numpy's, for every number of rows that a block may be cut to."""

import numpy as np
import pytest
import torch

from attendance.simd import vectors
from attendance.simd.products import multiply, panels


@pytest.mark.parametrize("width", sorted({16, 2 * vectors.lanes()}))
def test_products(width: int) -> None:
    generator = np.random.default_rng(0)
    length, columns = 7, 2 * width
    weights = generator.normal(size=(columns, length)).astype(np.float32)
    laid = panels(torch.from_numpy(weights)[None], width).ravel()
    for rows in range(1, 20):
        x = generator.normal(size=(rows, length)).astype(np.float32)
        out = np.full((rows + 1) * columns, 7, np.float32)
        multiply(x.ravel(), rows, length, laid, columns, out, width)
        np.testing.assert_allclose(out[: rows * columns].reshape(rows, columns), x @ weights.T, rtol=0, atol=1e-5)
        assert (out[rows * columns :] == 7).all()


def test_the_name_a_kernel_is_kept_under_changes_with_the_folder() -> None:
    # What numba keeps is found by file and name; that of a kernel must not outlive a change of what it takes in.
    assert multiply.py_func.__qualname__.removeprefix("multiply") == vectors._digest()  # type: ignore[attr-defined]
    assert len(vectors._digest()) == 12
