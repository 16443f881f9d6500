"""A writer for the smallest ONNX file that tests need: the wire format of its protocol buffers, by hand.

Field numbers are those of onnx.proto (IR version 8, operator set 13).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT = 1


def channel_means(weights: NDArray[np.float32], *, side: int, batch: int | str = "n") -> bytes:
    """A model ``x`` (batch, 3, side, side) -> means over the picture of each channel @ ``weights`` (3, D)."""
    nodes = [
        _node("GlobalAveragePool", ["x"], ["means"]),
        _node("Flatten", ["means"], ["flat"]),
        _node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = b"".join(_bytes(1, node) for node in nodes)
    graph += _bytes(2, b"tests") + _bytes(5, _tensor("w", weights))
    graph += _bytes(11, _value("x", [batch, 3, side, side])) + _bytes(12, _value("y", [batch, weights.shape[1]]))
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


def _node(operator: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = b"".join(_bytes(1, name.encode()) for name in inputs)
    return names + b"".join(_bytes(2, name.encode()) for name in outputs) + _bytes(4, operator.encode())


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    dimensions = b"".join(_number(1, size) for size in array.shape)
    return dimensions + _number(2, FLOAT) + _bytes(8, name.encode()) + _bytes(9, array.astype("<f4").tobytes())


def _value(name: str, shape: list[int | str]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, s) if isinstance(s, int) else _bytes(2, s.encode())) for s in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, FLOAT) + _bytes(2, sizes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
