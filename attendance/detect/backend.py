"""Who runs the three networks: processor threads piece by piece, or a device that takes everything at once.

Both read their input from integral images, so that no resized picture is ever made by other means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attendance.detect import pyramid
from attendance.detect.kernels import WINDOW_HEADS
from attendance.detect.pyramid import Level, UInt32
from attendance.detect.quick import QuickNets, QuickONet, QuickRNet, quick
from attendance.detect.weights import FILES, load_weights, weights_folder
from attendance.detect.workers import Workers
from attendance.nets.device import Mode, mode_for, placed
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.nets.replayed import Network
from attendance.types import Float32

RNET_SIDE_PX = 24
ONET_SIDE_PX = 48
CROP_HEADS = {RNET_SIDE_PX: 6, ONET_SIDE_PX: 16}

# What one thread takes through a network in one go: enough that calls cost little, not so much that memory grows with
# the picture. A level of PIECE_PX input pixels or more is cut into as many bands as there are threads, or more.
PIECE_PX = 16_384
MOST_PIECE_PX = 262_144
PIECE_CROPS = {RNET_SIDE_PX: 64, ONET_SIDE_PX: 16}
DEVICE_CROPS = 4096

RECORDED = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Crops in a batch that a CUDA device keeps a recording for. PNet's batches have the sizes of the pictures' levels,
which are too many."""

Piece = tuple[int, int, int, int]  # first image, past the last, first row of windows, past the last

Cut = Callable[[slice, Float32], None]
"""Fills an array (n, side, side, 3) with the crops of a piece of all boxes; called from several threads."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Pictures of one size, as integral images (N, H + 1, W + 1, 3), see `pyramid.integral`, and their levels.

    ``first`` is the number of their first one among the pictures of all scans.
    """

    first: int
    sums: UInt32
    levels: Sequence[Level]


class Backend(ABC):
    """Runs the networks, on the pictures of scans and on crops."""

    @abstractmethod
    def windows(self, scans: Sequence[Scan], least_logit: float) -> list[list[Float32]]:
        """PNet on every level of every scan.

        Returns:
            Per scan one array (N, rows, columns, 5) per level: difference of the logits, four box offsets. The offsets
            are there where the difference reaches ``least_logit``, and mean nothing elsewhere.
        """

    @abstractmethod
    def crops(self, side_px: int, count: int, cut: Cut) -> Float32:
        """RNet (``side_px`` 24) or ONet (48) on so many crops: (count, 6) or (count, 16)."""


def backend(workers: Workers, device: torch.device, *, precision: str = "auto", graphs: bool = False) -> Backend:
    """The one for this device; where the processor cannot run our kernels, torch's plain networks do its work.

    Raises:
        ModelError: the weights are missing or damaged, or the device has no such precision, see `mode_for`.
    """
    mode = mode_for(device.type, precision=precision, graphs=graphs)
    nets = plain_nets()
    quick_nets = quick(*nets) if device.type == "cpu" else None
    if quick_nets is not None:
        return ProcessorBackend(workers, quick_nets)
    return DeviceBackend(workers, device, nets, mode=mode)


class ProcessorBackend(Backend):
    """Pieces, each resized and taken through the whole network by one thread."""

    def __init__(self, workers: Workers, nets: QuickNets) -> None:
        self._workers = workers
        self._pnet = nets.pnet
        self._nets: dict[int, QuickRNet | QuickONet] = {RNET_SIDE_PX: nets.rnet, ONET_SIDE_PX: nets.onet}

    def windows(self, scans: Sequence[Scan], least_logit: float) -> list[list[Float32]]:
        """As `Backend.windows`."""
        maps = [
            [np.empty((len(scan.sums), level.rows, level.columns, WINDOW_HEADS), np.float32) for level in scan.levels]
            for scan in scans
        ]
        jobs = [
            (scan.sums, level, into, piece)
            for scan, levels in zip(scans, maps, strict=True)
            for level, into in zip(scan.levels, levels, strict=True)
            for piece in _pieces(len(scan.sums), level, self._workers.threads)
        ]

        def run(job: tuple[UInt32, Level, Float32, Piece]) -> None:
            sums, level, into, (first, past, top, bottom) = job
            rows = min(2 * (bottom - top) + 10, level.height - 2 * top)
            picture = np.empty((past - first, rows, level.width, 3), np.float32)
            pyramid.resized_rows(sums[first:past], level.height, 2 * top, picture)
            into[first:past, top:bottom] = self._pnet(picture, least_logit)

        self._workers.map(run, jobs)
        return maps

    def crops(self, side_px: int, count: int, cut: Cut) -> Float32:
        """As `Backend.crops`."""
        found = np.empty((count, CROP_HEADS[side_px]), np.float32)

        def run(piece: slice) -> None:
            pictures = np.empty((piece.stop - piece.start, side_px, side_px, 3), np.float32)
            cut(piece, pictures)
            found[piece] = self._nets[side_px](pictures)

        self._workers.map(run, _shares(count, PIECE_CROPS[side_px], self._workers.threads))
        return found


class DeviceBackend(Backend):
    """A whole level, and thousands of crops, at once on a device; pictures are resized on the processor."""

    def __init__(
        self, workers: Workers, device: torch.device, nets: tuple[PNet, RNet, ONet], *, mode: Mode | None = None
    ) -> None:
        self._workers = workers
        self._device = device
        mode = Mode() if mode is None else mode
        pnet, rnet, onet = nets
        self._pnet = placed(pnet, str(device), mode)
        self._nets: dict[int, Network] = {
            RNET_SIDE_PX: placed(rnet, str(device), mode, sizes=RECORDED),
            ONET_SIDE_PX: placed(onet, str(device), mode, sizes=RECORDED),
        }

    def windows(self, scans: Sequence[Scan], least_logit: float) -> list[list[Float32]]:
        """As `Backend.windows`; offsets are there for every window."""
        pictures = [
            [np.empty((len(scan.sums), level.height, level.width, 3), np.float32) for level in scan.levels]
            for scan in scans
        ]

        def resize(job: tuple[UInt32, Float32]) -> None:
            sums, into = job
            pyramid.resized_rows(sums, into.shape[1], 0, into)

        jobs = [
            (scan.sums[n : n + 1], picture[n : n + 1])
            for scan, mine in zip(scans, pictures, strict=True)
            for picture in mine
            for n in range(len(scan.sums))
        ]
        self._workers.map(resize, jobs)
        with torch.inference_mode():
            return [[self._level(picture) for picture in mine] for mine in pictures]

    def _level(self, picture: Float32) -> Float32:
        heads = self._pnet(self._there(picture))
        maps = torch.cat((heads[:, 1:2] - heads[:, :1], heads[:, 2:]), dim=1)
        windows: Float32 = maps.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return windows

    def crops(self, side_px: int, count: int, cut: Cut) -> Float32:
        """As `Backend.crops`."""
        pictures = np.empty((count, side_px, side_px, 3), np.float32)
        shares = _shares(count, PIECE_CROPS[side_px], self._workers.threads)
        self._workers.map(lambda piece: cut(piece, pictures[piece]), shares)
        found = np.empty((count, CROP_HEADS[side_px]), np.float32)
        with torch.inference_mode():
            for start in range(0, count, DEVICE_CROPS):
                piece = slice(start, start + DEVICE_CROPS)
                found[piece] = self._nets[side_px](self._there(pictures[piece])).cpu().numpy()
        return found

    def _there(self, pictures: Float32) -> Tensor:
        return torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)


def plain_nets() -> tuple[PNet, RNet, ONet]:
    """The three with the published weights."""
    folder = weights_folder()
    nets = PNet(), RNet(), ONet()
    for net, name in zip(nets, FILES, strict=True):
        load_weights(net, folder / name)
        net.requires_grad_(requires_grad=False).eval()
    return nets


def _pieces(count: int, level: Level, threads: int) -> Iterator[Piece]:
    """Cut a level of ``count`` images into pieces: bands of one image, or several small images.

    A window reads 12 rows and the next one starts 2 below, so a band of windows is exact by itself.
    """
    pixels = level.height * level.width
    together = max(1, PIECE_PX // pixels)
    bands = threads * -(-pixels // (threads * MOST_PIECE_PX)) if pixels > PIECE_PX and count < threads else 1
    bands = min(level.rows, max(bands, -(-pixels // MOST_PIECE_PX)))
    for first in range(0, count, together):
        for band in range(bands):
            top, bottom = level.rows * band // bands, level.rows * (band + 1) // bands
            yield first, min(first + together, count), top, bottom


def _shares(count: int, most: int, threads: int) -> Iterator[slice]:
    """Cut ``count`` crops into equal shares of at most ``most``, as many for each thread."""
    shares = min(count, -(-count // (most * threads)) * threads)
    for share in range(shares):
        yield slice(count * share // shares, count * (share + 1) // shares)
