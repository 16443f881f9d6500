"""What this machine can do at most: multiply-adds and bytes a second; and the memory that this process takes."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.types import Float32

SIDE = 2048
"""Side of the square matrices that are multiplied: large enough that memory does not matter."""

MEMORY_BYTES = 2**28
"""Bytes that are read once: more than any cache holds."""


class Matrix:
    """Large float32 products, by torch's library or by NumPy's OpenBLAS on so many threads."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = library, threads
        rng = np.random.default_rng(0)
        self._a = rng.standard_normal((SIDE, SIDE), np.float32)
        self._b = rng.standard_normal((SIDE, SIDE), np.float32)
        self._out = np.empty((SIDE, SIDE), np.float32)

    def rate(self) -> float:
        """Multiply-adds a second of one product."""
        before = torch.get_num_threads()
        if self.library == "torch":
            torch.set_num_threads(self.threads)
            a, b, out = (torch.from_numpy(each) for each in (self._a, self._b, self._out))
            seconds = seconds_of(lambda: torch.mm(a, b, out=out))
            torch.set_num_threads(before)
        else:
            set_openblas_threads(self.threads)
            seconds = seconds_of(lambda: np.matmul(self._a, self._b, out=self._out))
            set_openblas_threads(os.cpu_count() or 1)
        return SIDE**3 / seconds


def libraries() -> tuple[str, ...]:
    """Which libraries' products can be timed on a given number of threads here."""
    return ("torch", "numpy") if _openblas() is not None else ("torch",)


def set_openblas_threads(threads: int) -> None:
    """Threads of NumPy's own OpenBLAS, where it has one."""
    setter = _openblas()
    if setter is not None:
        setter(threads)


def _openblas() -> Callable[[int], None] | None:
    for folder in Path(np.__file__).parents[1].glob("numpy.libs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))
            for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
                if hasattr(library, name):
                    setter: Callable[[int], None] = getattr(library, name)
                    return setter
    return None


def memory_rate(array: NDArray[np.uint8], pool: ThreadPoolExecutor, *, threads: int) -> float:
    """Bytes a second of reading ``array`` once, a part of it by each of so many threads of ``pool``."""
    parts = np.array_split(array.view(np.uint64), threads)
    return array.nbytes / seconds_of(lambda: [int(folded) for folded in pool.map(_folded, parts)])


@compiled
def _folded(words: NDArray[np.uint64]) -> np.uint64:
    total = np.uint64(0)
    for i in range(words.shape[0]):
        total ^= words[i]
    return total


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident_mb() -> float:
    """Memory of this process that is in use now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def large_array() -> NDArray[np.uint8]:
    """Memory to read, touched."""
    return np.ones(MEMORY_BYTES, np.uint8)


def slope(x: Float32 | list[float], y: Float32 | list[float]) -> float:
    """The least-squares slope of y over x."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    xs = xs - xs.mean()
    return float((xs * (ys - ys.mean())).sum() / (xs * xs).sum())
