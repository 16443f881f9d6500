"""How loops of our own are compiled: numba, single-threaded, without the interpreter's lock, kept on disk.

No kernel is ``parallel=True``: numba's default threading layer dies when two Python threads enter parallel kernels at
once, and its pool would compete with torch's for the same cores. Work is split over threads of our own instead, each
running whole kernels and single-threaded torch operations (see detect/workers.py).
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import IndexDataCacheFile

_logger = logging.getLogger(__name__)
_F = TypeVar("_F", bound=Callable[..., Any])
_DIGEST_BYTES = hashlib.sha256().digest_size


def compiled(function: _F) -> _F:
    """Compile ``function`` on its first call; later processes load it from numba's cache.

    What a cut-off or overwritten file of the cache held is compiled anew. Where neither the source folder nor the
    user's cache folder can be written, numba refuses to cache: it is then compiled anew in every process.
    """
    try:
        kernel: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        _logger.info("compiled code is not kept, every process compiles anew: %s", error)
        return cast(_F, numba.njit(nogil=True)(function))
    cache = kernel._cache
    cache._cache_file = _SealedFiles(cache._cache_path, f"{cache._impl.filename_base}.sealed", _stamp(cache))
    return cast(_F, kernel)


def _stamp(cache: Any) -> Any:
    return cache._impl.locator.get_source_stamp()


class _SealedFiles(IndexDataCacheFile):
    """numba's files with their SHA-256 in front.

    numba itself loads whatever lies there: half a file, as a power cut leaves it, ends every later start, and a damaged
    one may crash the process.
    """

    def _load_index(self) -> dict[Any, str]:
        body = _opened(Path(self._index_path))
        if body is None:
            return {}
        version, stamp, overloads = pickle.loads(body)  # noqa: S301
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._seal(self._index_path, self._dump((self._version, self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        body = _opened(Path(self._data_path(name)))
        if body is None:
            raise FileNotFoundError(name)  # numba then compiles
        return pickle.loads(body)  # noqa: S301

    def _save_data(self, name: str, data: Any) -> None:
        self._seal(self._data_path(name), self._dump(data))

    def _seal(self, path: str, body: bytes) -> None:
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(body).digest() + body)


def _opened(path: Path) -> bytes | None:
    """What was sealed; None where there is no file or it is not as it was written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() == digest:
        return body
    _logger.warning("%s is damaged: it is compiled anew", path)
    return None
