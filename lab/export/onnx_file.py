"""A trained network as an ONNX file, held to the network it came from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from attendance.errors import ModelError
from attendance.types import Float32, RGBImage
from lab.train.weights import MIDDLE

INPUT, OUTPUT = "faces", "embeddings"
OPSET = 20

MOST_DIFFERENCE = 1e-4
"""Largest difference of a unit embedding's number that another order of adding explains."""

BATCH = 32


def write_onnx(net: nn.Module, path: Path, *, input_px: int) -> None:
    """Write a network in evaluation mode: input ``faces`` float32 (N, 3, S, S), output ``embeddings`` (N, D), N open.

    Raises:
        ModelError: the exporter does not know an operation of the network.
    """
    example = (torch.zeros(2, 3, input_px, input_px),)
    with warnings.catch_warnings():
        # The exporter of torch 2.13 uses names that torch 2.13 calls deprecated.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        try:
            program = torch.onnx.export(
                net.eval(),
                example,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            line = " ".join(str(error).split())[:300]
            raise ModelError(f"expected a network that can be written as ONNX, the exporter failed: {line}") from error
    if program is None:
        raise ModelError("expected the exporter to give a program, it gave none: torch and onnxscript do not fit")
    program.save(path)


@torch.inference_mode()
def torch_embeddings(net: nn.Module, chips: RGBImage) -> Float32:
    """What the network itself gives: RGB uint8 (N, S, S, 3) -> float32 (N, D) of unit length."""
    found = []
    for start in range(0, len(chips), BATCH):
        faces = torch.from_numpy(np.ascontiguousarray(chips[start : start + BATCH])).permute(0, 3, 1, 2).float()
        found.append(nn.functional.normalize(net((faces - MIDDLE) / MIDDLE), dim=1))
    vectors: Float32 = torch.cat(found).numpy()
    return vectors


def require_parity(wanted: Float32, given: Float32) -> float:
    """The largest difference between the network's and the file's embeddings (N, D) of the same faces.

    Raises:
        ModelError: it is beyond `MOST_DIFFERENCE`.
    """
    difference = float(np.max(np.abs(wanted - given)))
    if not difference <= MOST_DIFFERENCE:
        raise ModelError(
            f"expected the exported file to differ from the network by {MOST_DIFFERENCE:g} at most, got "
            f"{difference:.2g}: it is not kept"
        )
    return difference
