"""From a key to an orthogonal matrix, the same on every machine.

1. seed = HKDF-SHA256 (RFC 5869; input: the key's 32 bytes, salt: ``SALT``, info: model id, NUL, dimension in decimal,
   length 32). So two models, and two dimensions, have matrices that tell nothing of each other.
2. SHAKE-256 (FIPS 202) of the seed gives D * D whole numbers of 64 bits, little-endian; of each the upper 53 bits w
   make u = (w + 1/2) / 2**53, and the inverse normal distribution function of u, rounded to a multiple of 2**-24,
   makes one number of a matrix (D, D), row by row. The rounding takes away what mathematical libraries differ in.
3. QR decomposition by Householder reflections in float64, with the signs that make the diagonal of R positive. Then Q
   is distributed evenly over all orthogonal matrices (Haar; F. Mezzadri, "How to generate random matrices from the
   classical compact groups", 2007). Sums run in a fixed order and norms are summed exactly, instead of by LAPACK,
   whose last bits depend on the processor.

A vector is multiplied in float64 and rounded to float32 once: where machines differ, then in the last bit of a number.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from attendance.protect.keys import TemplateKey
from attendance.types import Float32, Float64

SALT = b"attendance template transform v1"
_GRID = 2.0**24


@lru_cache(maxsize=8)
def rotation(key: TemplateKey, *, model: str, dimension: int) -> Float64:
    """The orthogonal matrix (D, D), float64, that vectors of ``model`` are turned with. It must not be changed."""
    seed = _hkdf(key.secret, info=f"{model}\0{dimension}".encode())
    matrix = _orthogonal(_gaussian(seed, dimension))
    matrix.setflags(write=False)
    return matrix


def turned(vectors: Float32, matrix: Float64, *, back: bool = False) -> Float32:
    """Unit vectors (N, D) as they are stored, float32; ``back``: stored ones as the model made them."""
    return np.asarray(vectors.astype(np.float64) @ (matrix.T if back else matrix), np.float32)


def _hkdf(secret: bytes, *, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256: one block of its expansion."""
    extracted = hmac.digest(SALT, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _gaussian(seed: bytes, dimension: int) -> Float64:
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * dimension * dimension), "<u8") >> np.uint64(11)
    inverse = NormalDist().inv_cdf
    # The largest number rounds to 1, where the distribution ends.
    most = 1.0 - 2.0**-53
    numbers = [round(inverse(min((word + 0.5) / 2.0**53, most)) * _GRID) / _GRID for word in words.tolist()]
    return np.array(numbers, np.float64).reshape(dimension, dimension)


def _orthogonal(numbers: Float64) -> Float64:
    """Q of the QR decomposition with a positive diagonal of R."""
    size = len(numbers)
    # Every reflection is done to the matrix, which becomes R, and to the unit matrix, which becomes Q transposed.
    work = np.hstack([numbers, np.eye(size)])
    for step in range(size):
        part = work[step:, step:]
        column = part[:, 0].copy()
        norm = math.sqrt(math.fsum((column * column).tolist()))
        column[0] += norm if column[0] >= 0.0 else -norm
        scale = math.fsum((column * column).tolist()) / 2.0
        # A running sum is taken in order, where a plain one may be split up differently on another processor.
        products = np.add.accumulate(column[:, None] * part, axis=0)[-1] / scale
        part -= column[:, None] * products
    signs = np.where(np.diagonal(work[:, :size]) >= 0.0, 1.0, -1.0)
    return np.ascontiguousarray((work[:, size:] * signs[:, None]).T)
