"""ONNX Runtime's only door: models opened and run the same way for every step, and its telemetry kept off.

The official builds report to their maker: on import they write an identifier of the device and a database of events
into the user's cache folder, and send them. The switch must be set before the first import in the process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.errors import ModelError
from attendance.types import Float32

TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"

FLOAT = "tensor(float)"

_CUDA = "CUDAExecutionProvider"

_FAULTS = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "RuntimeException", "EPFail")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model: ``type`` such as ``tensor(float)``; sizes that are open are names or None."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def fits(self, *sizes: int | None) -> bool:
        """Whether it is a float tensor of so many dimensions, which are open or have these sizes; None: any size."""
        return (
            self.type == FLOAT
            and len(self.shape) == len(sizes)
            and all(
                want is None or not isinstance(s, int) or s == want for s, want in zip(self.shape, sizes, strict=True)
            )
        )

    def __str__(self) -> str:
        return f"{self.name} {self.type} {list(self.shape)}"


class OnnxModel:
    """An ONNX model in memory, ready to run. Safe to use from several threads at once.

    Args:
        label: what errors call it, such as ``model arcface``.
        data: the file's bytes.
        device: ``cpu`` or ``cuda``.
        threads: processor threads of one run.

    Raises:
        ModelError: ``data`` is no model that this runtime can run, or the device is not there.
    """

    def __init__(self, label: str, data: bytes, *, device: str, threads: int) -> None:
        self.label = label
        self._runtime = _import_runtime()
        self._faults = _faults()
        self._session = self._open(data, device=device, threads=threads)
        self.inputs = [Port(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs()]
        self.outputs = [Port(o.name, o.type, tuple(o.shape)) for o in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Float32], names: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """The outputs called ``names`` (None: all, in the model's order) for the inputs by name.

        Raises:
            ModelError: the runtime failed.
        """
        try:
            return [np.asarray(output) for output in self._session.run(names, dict(feeds))]
        except self._faults as error:
            shapes = ", ".join(str(array.shape) for array in feeds.values())
            raise ModelError(f"{self.label}: ONNX Runtime failed on a batch of {shapes}: {error}") from error

    def _open(self, data: bytes, *, device: str, threads: int) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads beside torch's make both two to four times slower.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # Its warnings about a file (unused weights, say) would stand on the user's console.
        options.log_severity_level = 3
        provider = _CUDA if device == "cuda" else "CPUExecutionProvider"
        available = self._runtime.get_available_providers()
        if provider not in available:
            raise ModelError(
                f"{self.label}: expected an ONNX Runtime with {provider} for device {device}, it has "
                f"{', '.join(available)}: use model.device cpu or install onnxruntime-gpu"
            )
        try:
            return self._runtime.InferenceSession(data, sess_options=options, providers=[provider])
        except self._faults as error:
            raise ModelError(
                f"{self.label}: expected an ONNX model, got a file that cannot be used: {error}"
            ) from error


def has_cuda() -> bool:
    """Whether this build of ONNX Runtime can use a CUDA device."""
    return _CUDA in _import_runtime().get_available_providers()


def switch_telemetry_off() -> None:
    """To be called before anything of ``onnxruntime`` is imported."""
    os.environ.setdefault(TELEMETRY_SWITCH, "1")


def _import_runtime() -> ModuleType:
    switch_telemetry_off()
    import onnxruntime

    runtime: ModuleType = onnxruntime
    return runtime


def _faults() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(getattr(state, name) for name in _FAULTS)
