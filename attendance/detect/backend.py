"""Who runs the three networks: processor threads piece by piece, or a device that takes everything at once.

Both read their input from integral images, so that no resized picture is ever made by other means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from attendance.detect import pyramid
from attendance.detect.boxes import HEADS, Int64
from attendance.detect.pyramid import Level, UInt32
from attendance.detect.weights import FILES, load_weights, weights_folder
from attendance.detect.workers import Workers
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.types import Float32

RNET_SIDE_PX = 24
ONET_SIDE_PX = 48
ONET_HEADS = 16

# Input pixels and crops that one thread takes through a network in one go, so that activations stay in its cache.
PIECE_PX = 16_384
PIECE_CROPS = {RNET_SIDE_PX: 16, ONET_SIDE_PX: 4}
DEVICE_CROPS = 4096

Piece = tuple[int, int, int, int, int]  # level, first image, past the last, first row of windows, past the last


class Backend(ABC):
    """Runs the networks on pictures given as integral images (N, H + 1, W + 1, 3), see `pyramid.integral`."""

    @abstractmethod
    def windows(self, sums: UInt32, levels: Sequence[Level]) -> list[Float32]:
        """PNet on every level: one array (N, rows, columns, 6) each."""

    @abstractmethod
    def crops(self, side_px: int, sums: UInt32, images: Int64, boxes: Float32) -> Float32:
        """RNet (``side_px`` 24) or ONet (48) on boxes (M, 4) of ``images`` (M,): (M, 6) or (M, 16)."""


class ProcessorBackend(Backend):
    """Pieces that fit a core's cache, each resized and taken through the whole network by one thread."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._pnet, self._nets = _nets(torch.device("cpu"))

    def windows(self, sums: UInt32, levels: Sequence[Level]) -> list[Float32]:
        """As `Backend.windows`."""
        maps = [np.empty((sums.shape[0], level.rows, level.columns, HEADS), np.float32) for level in levels]

        def run(piece: Piece) -> None:
            index, first, past, top, bottom = piece
            level = levels[index]
            rows = min(2 * (bottom - top) + 11, level.height - 2 * top)
            picture = np.empty((past - first, rows, level.width, 3), np.float32)
            pyramid.resized_rows(sums[first:past], level.height, 2 * top, picture)
            with torch.inference_mode():
                found = self._pnet(torch.from_numpy(picture).permute(0, 3, 1, 2))
                maps[index][first:past, top:bottom] = found.permute(0, 2, 3, 1).numpy()[:, : bottom - top]

        self._workers.map(run, _pieces(sums.shape[0], levels))
        return maps

    def crops(self, side_px: int, sums: UInt32, images: Int64, boxes: Float32) -> Float32:
        """As `Backend.crops`."""
        net, heads = self._nets[side_px]
        found = np.empty((len(boxes), heads), np.float32)
        step = PIECE_CROPS[side_px]

        def run(start: int) -> None:
            piece = slice(start, start + step)
            pictures = np.empty((len(boxes[piece]), side_px, side_px, 3), np.float32)
            pyramid.crop(sums, images[piece], boxes[piece], pictures)
            with torch.inference_mode():
                found[piece] = net(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()

        self._workers.map(run, range(0, len(boxes), step))
        return found


class DeviceBackend(Backend):
    """A whole level, and thousands of crops, at once on a device; pictures are resized on the processor."""

    def __init__(self, workers: Workers, device: torch.device) -> None:
        self._workers = workers
        self._device = device
        self._pnet, self._nets = _nets(device)

    def windows(self, sums: UInt32, levels: Sequence[Level]) -> list[Float32]:
        """As `Backend.windows`."""
        pictures = [np.empty((sums.shape[0], level.height, level.width, 3), np.float32) for level in levels]

        def resize(job: tuple[int, int]) -> None:
            index, n = job
            pyramid.resized_rows(sums[n : n + 1], levels[index].height, 0, pictures[index][n : n + 1])

        self._workers.map(resize, [(index, n) for index in range(len(levels)) for n in range(sums.shape[0])])
        with torch.inference_mode():
            found = [self._pnet(self._there(picture)).permute(0, 2, 3, 1).contiguous() for picture in pictures]
            return [windows.cpu().numpy() for windows in found]

    def crops(self, side_px: int, sums: UInt32, images: Int64, boxes: Float32) -> Float32:
        """As `Backend.crops`."""
        net, heads = self._nets[side_px]
        pictures = np.empty((len(boxes), side_px, side_px, 3), np.float32)
        step = PIECE_CROPS[side_px]

        def cut(start: int) -> None:
            piece = slice(start, start + step)
            pyramid.crop(sums, images[piece], boxes[piece], pictures[piece])

        self._workers.map(cut, range(0, len(boxes), step))
        found = np.empty((len(boxes), heads), np.float32)
        with torch.inference_mode():
            for start in range(0, len(boxes), DEVICE_CROPS):
                piece = slice(start, start + DEVICE_CROPS)
                found[piece] = net(self._there(pictures[piece])).cpu().numpy()
        return found

    def _there(self, pictures: Float32) -> torch.Tensor:
        return torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)


def _nets(device: torch.device) -> tuple[nn.Module, dict[int, tuple[nn.Module, int]]]:
    folder = weights_folder()
    nets: dict[str, nn.Module] = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
    for name, net in nets.items():
        load_weights(net, folder / FILES[name])
        net.requires_grad_(requires_grad=False).eval().to(device=device, memory_format=torch.channels_last)
    return nets["pnet"], {RNET_SIDE_PX: (nets["rnet"], HEADS), ONET_SIDE_PX: (nets["onet"], ONET_HEADS)}


def _pieces(count: int, levels: Sequence[Level]) -> Iterator[Piece]:
    """Cut all levels of ``count`` images into pieces of about `PIECE_PX`: bands of one image, or several small images.

    A window reads 12 rows and the next one starts 2 below, so a band of windows is exact by itself.
    """
    for index, level in enumerate(levels):
        together = max(1, PIECE_PX // (level.height * level.width))
        bands = max(1, round(level.height * level.width / PIECE_PX))
        for first in range(0, count, together):
            for band in range(bands):
                top, bottom = level.rows * band // bands, level.rows * (band + 1) // bands
                yield index, first, min(first + together, count), top, bottom
