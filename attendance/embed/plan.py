"""dlib's ResNet laid out for the kernels: its maps in one piece of memory, its weights in their order, its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from attendance.embed import kernels
from attendance.embed.kernels import Int64, Space, Step
from attendance.nets.dlib_resnet29 import INPUT_PX, DlibResNet29, ResidualBlock
from attendance.simd import vectors
from attendance.simd.products import panels
from attendance.simd.winograd import transformed
from attendance.types import Float32

GROUP = 8
"""Pictures that one thread takes through the small maps together."""

TILE_OF = {35: 4, 17: 4, 8: 2, 4: 2, 3: 2}
"""Winograd's m by a map's side, as measured: the larger m takes more memory for weights, which small maps wait for."""


@dataclass(frozen=True, slots=True)
class Map:
    """Where a map (side, side, channels) of one picture or of ``slots`` of them lies in the work space."""

    at: int
    side: int
    channels: int
    border: int
    slots: int

    @property
    def row(self) -> int:
        """From one row to the next. Winograd's tiles reach over the end of a map that they do not divide."""
        return (4 * -(-self.side // 4) + 2 if self.border else self.side) * self.channels

    @property
    def size(self) -> int:
        """Numbers of one picture's."""
        return self.row * self.row // self.channels

    @property
    def slot(self) -> int:
        """From one picture to the next; where there is room for one, each takes the place of the one before."""
        return self.size if self.slots > 1 else 0

    def places(self, rows: Int64, columns: Int64, pictures: int) -> Int64:
        """Where numbers of so many pictures lie, counted from ``at``."""
        one = (rows + self.border) * self.row + (columns + self.border) * self.channels
        return (np.arange(pictures)[:, None] * self.size + one).ravel()


class Plan:
    """The network as steps, int64 (n, fields of `Step`): ``alone`` for one picture, then ``together`` for a group.

    ``picture`` is where the input goes, ``features`` where what the ``last`` matrix takes comes out.
    """

    def __init__(self, network: DlibResNet29) -> None:
        self._tables: list[Int64] = []
        self._weights: list[Float32] = []
        self._biases: list[Float32] = []
        self._work = self._room = 0
        self._steps: list[Step] = []
        self._pictures = 1
        self._width = 2 * vectors.lanes()
        blocks = [block for block in network.blocks if isinstance(block, ResidualBlock)]
        # The first map of the group's part is written picture by picture.
        border = next(i for i, block in enumerate(blocks) if block.down and block.conv1.in_channels > 32)
        self.picture = self._map(INPUT_PX, 3, border=0)
        x = self._begin(network)
        for block in blocks[:border]:
            x = self._block(block, x)
        self.alone = np.array(self._steps, np.int64)
        self._steps, self._pictures = [], GROUP
        for block in blocks[border:]:
            x = self._block(block, x)
        self.features = self._map(1, x.channels, border=0, slots=GROUP)
        self._halve(x, self.features)
        self.together = np.array(self._steps, np.int64)
        self.last = panels(network.fc.weight.detach()[None], self._width).ravel()
        self._all_tables = np.concatenate(self._tables)
        self._all_weights, self._all_biases = np.concatenate(self._weights), np.concatenate(self._biases)

    def space(self) -> Space:
        """A thread's room; all maps are zeros, and their borders stay so."""
        work, before, after = (np.zeros(size, np.float32) for size in (self._work, self._room, self._room))
        return Space(self._all_tables, self._all_weights, self._all_biases, work, before, after, self._width)

    def _begin(self, network: DlibResNet29) -> Map:
        wide = self._map((INPUT_PX - 7) // 2 + 1, 32, border=0)
        self._direct(network.stem, network.stem.weight.detach(), self.picture, wide, stride=2)
        x = self._map((wide.side - 3) // 2 + 1, 32)
        rows, columns = _grid(x.side)
        given, taken = wide.places(2 * rows, 2 * columns, self._pictures), x.places(rows, columns, self._pictures)
        self._step(wide, x, bands=-1, places=x.side**2, x_at=self._table(given), out_at=self._table(taken))
        return x

    def _block(self, block: ResidualBlock, x: Map) -> Map:
        if not block.down:
            between = self._map(x.side, block.conv1.out_channels, slots=self._pictures)
            self._convolution(block.conv1, x, between)
            self._convolution(block.conv2, between, x, add=True)
            return x
        between = self._map((x.side - 3) // 2 + 1, block.conv1.out_channels, slots=self._pictures)
        self._direct(block.conv1, block.conv1.weight.detach(), x, between, stride=2)
        out = self._map(x.side // 2, block.conv2.out_channels, slots=GROUP)
        self._halve(x, out)
        self._convolution(block.conv2, between, out, add=True)
        return out

    def _convolution(self, convolution: nn.Conv2d, x: Map, out: Map, *, add: bool = False) -> None:
        """A 3x3 convolution that keeps the size; what it gives may be smaller than ``out``, in its upper left."""
        weight = convolution.weight.detach()
        if x.side == 1:
            # All but the middle falls on zeros.
            self._direct(convolution, weight[:, :, 1:2, 1:2], x, out, stride=1, add=add)
            return
        tile = TILE_OF[x.side]
        first = np.arange(0, x.side, tile)
        rows, columns = (corner.ravel() for corner in np.meshgrid(first, first, indexing="ij"))
        reach = np.minimum(x.side - np.stack([rows, columns], axis=1), tile)
        self._room = max(self._room, (tile + 2) ** 2 * kernels.TILES * max(x.channels, out.channels))
        self._step(
            x,
            out,
            tile=tile,
            places=len(rows),
            x_at=self._table(x.places(rows - 1, columns - 1, self._pictures)),
            out_at=self._table(out.places(rows, columns, self._pictures)),
            reach_at=self._table(np.tile(reach.ravel(), self._pictures)),
            weights_at=self._weight(panels(transformed(weight, tile), self._width)),
            biases_at=self._bias(convolution),
            add=int(add),
        )

    def _direct(
        self, convolution: nn.Conv2d, weight: Tensor, x: Map, out: Map, *, stride: int, add: bool = False
    ) -> None:
        """A convolution without a border, or one of a single tap."""
        bands = weight.shape[2]
        rows, columns = _grid((x.side - bands) // stride + 1)
        self._step(
            x,
            out,
            bands=bands,
            length=bands * x.channels,
            places=len(rows),
            x_at=self._table(x.places(stride * rows, stride * columns, self._pictures)),
            out_at=self._table(out.places(rows, columns, self._pictures)),
            weights_at=self._weight(panels(weight.permute(0, 2, 3, 1).flatten(1)[None], self._width)),
            biases_at=self._bias(convolution),
            add=int(add),
        )

    def _halve(self, x: Map, out: Map) -> None:
        rows, columns = _grid(out.side)
        given, taken = x.places(2 * rows, 2 * columns, self._pictures), out.places(rows, columns, self._pictures)
        self._step(x, out, places=out.side**2, x_at=self._table(given), out_at=self._table(taken))

    def _step(self, x: Map, out: Map, **fields: int) -> None:
        maps = {"x": x.at, "x_slot": x.slot, "x_row": x.row, "out": out.at, "out_slot": out.slot, "out_row": out.row}
        channels = {"channels_in": x.channels, "channels_out": out.channels}
        self._steps.append(Step(**(dict.fromkeys(Step._fields, 0) | maps | channels | fields)))

    def _map(self, side: int, channels: int, *, border: int = 1, slots: int = 1) -> Map:
        made = Map(self._work, side, channels, border, slots)
        self._work += made.size * slots
        return made

    def _table(self, places: Int64) -> int:
        return _appended(self._tables, places.astype(np.int64))

    def _weight(self, panels: Float32) -> int:
        return _appended(self._weights, panels.ravel())

    def _bias(self, convolution: nn.Conv2d) -> int:
        assert convolution.bias is not None
        return _appended(self._biases, convolution.bias.detach().numpy())


def _appended(parts: list[NDArray[Any]], part: NDArray[Any]) -> int:
    """Where the part begins when all are joined."""
    at = sum(len(earlier) for earlier in parts)
    parts.append(part)
    return at


def _grid(side: int) -> tuple[Int64, Int64]:
    """Rows and columns of a square's places."""
    rows, columns = np.divmod(np.arange(side**2), side)
    return rows, columns
