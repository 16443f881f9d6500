"""dlib's ResNet on a processor by kernels of our own: Winograd's method where it pays, one thread a picture.

The network is laid out once as a list of steps on one piece of memory that holds all maps, each with a border of zeros.
The large maps are taken through picture by picture, because one picture's fill a core's cache; the small ones by the
group, because there the weights are what is large.
"""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba.core.errors import NumbaError
from torch import nn

from attendance.compiled import compiled
from attendance.embed import kernels
from attendance.embed.card import ColourOrder, InputSpec
from attendance.embed.kernels import Space
from attendance.embed.plan import GROUP, Plan
from attendance.nets.dlib_resnet29 import DIMENSION, INPUT_PX, DlibResNet29
from attendance.simd.products import multiply
from attendance.types import Float32, RGBImage

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999999


def quick(network: nn.Module, *, threads: int) -> QuickDlibResNet29 | None:
    """The network by our kernels where it is dlib's and they compute the same here; else None."""
    if not isinstance(network, DlibResNet29):
        return None
    chips = np.random.default_rng(0).integers(0, 256, (1, INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    spec = InputSpec(INPUT_PX, ColourOrder.RGB, (127.5,) * 3, (1 / 128,) * 3)
    try:
        made = QuickDlibResNet29(network, threads=threads)
        found = made(chips, spec)[0]
    except NumbaError as error:
        logger.info("the embedder's kernels cannot be compiled here, it runs without: %s", error)
        return None
    with torch.inference_mode():
        pixels = (torch.from_numpy(chips).permute(0, 3, 1, 2).float() - 127.5) / 128
        wanted: Float32 = network(pixels)[0].numpy()
    cosine = float(found @ wanted) / max(float(np.linalg.norm(found) * np.linalg.norm(wanted)), 1e-12)
    if not cosine >= LEAST_COSINE:
        logger.warning("the embedder's kernels give other numbers here (cosine %.6f), it runs without", cosine)
        return None
    return made


class QuickDlibResNet29:
    """Results equal those of `DlibResNet29` up to rounding and do not depend on the batch. Safe to share by threads."""

    def __init__(self, network: DlibResNet29, *, threads: int) -> None:
        self._plan = Plan(network)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._rooms = threading.local()

    def __call__(self, chips: RGBImage, spec: InputSpec) -> Float32:
        """RGB uint8 (N, 150, 150, 3) -> float32 (N, 128), with ``spec.mirror`` that of the mirror image added."""
        chips = np.ascontiguousarray(chips)
        count = len(chips) * (2 if spec.mirror else 1)
        out = np.empty((count, DIMENSION), np.float32)
        tasks = self._threads * -(-count // (self._threads * GROUP))
        bounds = np.linspace(0, count, min(tasks, count) + 1).astype(int).tolist()
        parts = list(itertools.pairwise(bounds))
        for _ in self._pool.map(lambda part: self._run(chips, spec, slice(*part), out), parts):
            pass
        if spec.mirror:
            return np.asarray(out[: len(chips)] + out[len(chips) :], dtype=np.float32)
        return out

    def _run(self, chips: RGBImage, spec: InputSpec, part: slice, out: Float32) -> None:
        plan, space = self._plan, self._space()
        mean, scale = np.array(spec.mean, np.float32), np.array(spec.scale, np.float32)
        swapped = spec.colour_order is ColourOrder.BGR
        for slot, picture in enumerate(range(part.start, part.stop)):
            chip, mirrored = chips[picture % len(chips)], picture >= len(chips)
            _prepare(chip, mean, scale, swapped, mirrored, space.work[plan.picture.at :])
            kernels.run(space, plan.alone, slot, 1)
        count = part.stop - part.start
        kernels.run(space, plan.together, 0, count)
        features = space.work[plan.features.at :]
        multiply(features, count, plan.features.channels, plan.last, DIMENSION, out[part].reshape(-1), space.width)

    def _space(self) -> Space:
        """The present thread's room."""
        if not hasattr(self._rooms, "space"):
            self._rooms.space = self._plan.space()
        space: Space = self._rooms.space
        return space


@compiled
def _prepare(chip: RGBImage, mean: Float32, scale: Float32, swapped: bool, mirrored: bool, out: Float32) -> None:
    """A picture (S, S, 3) uint8 to (x - mean) * scale, flat; red and blue swapped, left and right swapped if so."""
    side = chip.shape[1]
    for row in range(chip.shape[0]):
        for column in range(side):
            pixel = chip[row, side - 1 - column if mirrored else column]
            for colour in range(3):
                value = np.float32(pixel[2 - colour if swapped else colour])
                out[(row * side + column) * 3 + colour] = (value - mean[colour]) * scale[colour]
