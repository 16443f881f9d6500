"""How loops of our own are compiled: numba, single-threaded, without the interpreter's lock, kept on disk.

No kernel is ``parallel=True``: numba's default threading layer dies when two Python threads enter parallel kernels at
once, and its pool would compete with torch's for the same cores. Work is split over threads of our own instead, each
running whole kernels and single-threaded torch operations (see detect/workers.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_logger = logging.getLogger(__name__)
_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compile ``function`` on its first call; later processes load it from numba's cache.

    Where neither the source folder nor the user's cache folder can be written, numba refuses to cache: it is then
    compiled anew in every process.
    """
    try:
        kernel: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        _logger.info("compiled code is not kept, every process compiles anew: %s", error)
        kernel = numba.njit(nogil=True)(function)
    return cast(_F, kernel)
