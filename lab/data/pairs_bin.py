"""InsightFace's verification sets, ``lfw.bin`` and its like: a pickle of encoded crops and of which pairs are same.

A pickle may run any program, and these files come from elsewhere. This reader lets a pickle name only what such a file
needs, and gives it stand-ins of our own in place of numpy's classes: nothing of numpy, and nothing else, is ever called
with what the file says.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.errors import SourceError
from attendance.types import RGBImage
from lab.data.encoded import decode_crop
from lab.data.source import fitted

BYTE_TYPES, BOOL_TYPES = ("u1", "|u1", "uint8"), ("b1", "|b1", "bool", "?")
MAX_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, eq=False)
class PairsFile:
    """``images`` 2 N encoded crops, those of pair i at 2 i and 2 i + 1; ``same`` (N,) bool."""

    name: str
    images: tuple[bytes, ...]
    same: NDArray[np.bool_]

    def crop(self, index: int, size_px: int) -> RGBImage:
        """Crop ``index`` as RGB uint8 (size_px, size_px, 3).

        Raises:
            ImageError: it is no picture.
        """
        return fitted(decode_crop(self.images[index], f"{self.name}: picture {index}"), size_px)


def read_pairs_bin(path: Path) -> PairsFile:
    """Read a verification set.

    Raises:
        SourceError: it cannot be read; it is no such set; it asks for anything that such a set does not need.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(f"{path}: expected a verification set of 4 GiB at most: name another file")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: the verification set cannot be read ({error.strerror}): name a .bin") from error
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error
    except _PICKLE_ERRORS as error:
        raise SourceError(f"{path}: expected a pickled verification set, got none ({error})") from error
    return _checked(path, content)


# What Python's unpickler raises on damaged files, found by feeding it damaged files.
_PICKLE_ERRORS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError,
)  # fmt: skip


class _Type:
    """Stands for numpy.dtype: the name of bytes or of booleans, and nothing else."""

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if text not in (*BYTE_TYPES, *BOOL_TYPES):
            raise SourceError(f"expected arrays of uint8 or bool, got {text!r}: this is no verification set")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which bytes and booleans do not have."""


class _Array:
    """Stands for numpy.ndarray: its bytes."""

    data: bytes = b""

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Type)):
            raise SourceError("expected an array's state, got another: this is no verification set")
        if not isinstance(state[4], bytes):
            raise SourceError("expected an array of bytes, got another: this is no verification set")
        self.data = state[4]


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: object, kind: object, *_: object) -> _Array:
    if not isinstance(data, (bytes, bytearray)) or not isinstance(kind, _Type):
        raise SourceError("expected an array of bytes, got another: this is no verification set")
    array = _Array()
    array.data = bytes(data)
    return array


def _scalar(kind: object, data: object = b"") -> bool:
    if not isinstance(kind, _Type) or not isinstance(data, bytes) or len(data) != 1:
        raise SourceError("expected a boolean, got another: this is no verification set")
    return data != b"\0"


def _encode(text: object, encoding: object = "latin1", *_: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise SourceError("expected bytes written as latin1, got another: this is no verification set")
    return text.encode("latin1")


def _no_bytes(*given: object) -> bytes:
    if given:
        raise SourceError("expected no bytes, got some made by a call: this is no verification set")
    return b""


_NAMES: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _NAMES[f"{_core}.multiarray", "scalar"] = _scalar
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise SourceError(f"expected bytes, booleans and lists, the file asks for {module}.{name}: do not trust it")
        return _NAMES[module, name]

    def persistent_load(self, _: object) -> Any:
        raise SourceError("expected bytes, booleans and lists, the file asks for an outside object: do not trust it")


def _checked(path: Path, content: object) -> PairsFile:
    if not (isinstance(content, (tuple, list)) and len(content) == 2):
        raise SourceError(f"{path}: expected a pair of crops and answers, got {type(content).__name__}")
    crops, answers = content
    images = tuple(_bytes_of(path, crop) for crop in _row(path, crops))
    same = np.array([_bool_of(path, answer) for answer in _row(path, answers)], dtype=bool)
    if len(images) != 2 * len(same) or len(same) == 0:
        raise SourceError(f"{path}: expected two crops for each answer, got {len(images)} for {len(same)}")
    return PairsFile(path.stem, images, same)


def _row(path: Path, content: object) -> list[object]:
    if isinstance(content, _Array):
        return [byte != 0 for byte in content.data]
    if not isinstance(content, (list, tuple)):
        raise SourceError(f"{path}: expected a list, got {type(content).__name__}")
    return list(content)


def _bytes_of(path: Path, crop: object) -> bytes:
    if isinstance(crop, _Array):
        return crop.data
    if not isinstance(crop, (bytes, bytearray)):
        raise SourceError(f"{path}: expected crops as bytes, got {type(crop).__name__}")
    return bytes(crop)


def _bool_of(path: Path, answer: object) -> bool:
    if not isinstance(answer, int) or answer not in (0, 1):
        raise SourceError(f"{path}: expected true or false for each pair, got {answer!r}")
    return bool(answer)
