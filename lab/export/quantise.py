"""Eight-bit integers instead of floats, by ONNX Runtime's own tools."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from attendance.onnx_runtime import switch_telemetry_off
from attendance.types import Float32, RGBImage
from lab.export.onnx_file import INPUT
from lab.train.weights import MIDDLE

CALIBRATION_BATCH = 8


class Precision(StrEnum):
    """What weights are kept as. Dynamic measures a layer's range while it runs, static did so on sample faces."""

    FLOAT32 = "float32"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_STATIC = "int8-static"


def quantise(source: Path, target: Path, precision: Precision, *, calibration: RGBImage) -> None:
    """Write the eight-bit version of a float file.

    Args:
        source: as `write_onnx` wrote it.
        target: where to.
        precision: one of the two of int8.
        calibration: RGB uint8 (N, S, S, 3), faces that the static version's ranges are taken from.
    """
    switch_telemetry_off()
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name("prepared.onnx")
    with _quiet():
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        if precision is Precision.INT8_DYNAMIC:
            # ONNX Runtime's integer convolution on a processor takes unsigned weights only.
            quantization.quantize_dynamic(prepared, target, weight_type=quantization.QuantType.QUInt8)
        else:
            quantization.quantize_static(
                prepared,
                target,
                _reader(calibration),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
    prepared.unlink()


def _reader(faces: RGBImage) -> Any:
    """A ``CalibrationDataReader``; the class is ONNX Runtime's, which is imported where it is needed."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = _batches(faces)

        def get_next(self) -> dict[str, Float32] | None:
            return next(self._batches, None)

    return Reader()


def _batches(faces: RGBImage) -> Iterator[dict[str, Float32]]:
    for start in range(0, len(faces), CALIBRATION_BATCH):
        pixels = (faces[start : start + CALIBRATION_BATCH].astype(np.float32) - MIDDLE) / MIDDLE
        yield {INPUT: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}


@contextmanager
def _quiet() -> Iterator[None]:
    """Its tools write through the root logger what no user can act on."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
