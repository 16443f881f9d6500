"""Pictures at other sizes, by exact area averages from an integral image.

"Area" is torch's adaptive average: output pixel i of n over a span of m pixels is the unrounded mean of the whole input
pixels floor(i * m / n) to ceil((i + 1) * m / n), also where that enlarges. Output is (mean - 127.5) / 128, what the
networks read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.types import Float32

WINDOW_PX = 12  # side of the square that PNet looks at

UInt8 = NDArray[np.uint8]
UInt32 = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Level:
    """One size of the pyramid: image size times ``scale``, and the size of PNet's output on it."""

    scale: float
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of windows: PNet's first convolution takes 2 off, pooling halves upwards, the other two take 4 off."""
        return (self.height - 1) // 2 - 4

    @property
    def columns(self) -> int:
        """Windows in a row."""
        return (self.width - 1) // 2 - 4


def levels(size: tuple[int, ...], min_face_px: float, scale_factor: float) -> list[Level]:
    """The sizes at which a picture of (H, W) is searched, largest first; none where it is smaller than a face."""
    height, width = size
    scale = WINDOW_PX / min_face_px
    shorter = min(height, width) * scale
    found = []
    while shorter >= WINDOW_PX:
        found.append(Level(scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= scale_factor
        shorter *= scale_factor
    return found


@compiled
def integral(image: UInt8, sums: UInt32) -> None:
    """Fill ``sums`` (H + 1, W + 1, 3): sums[y, x] is the sum of image[:y, :x], modulo 2**32.

    A plain 32-bit sum of 255 overflows at 8.4 (signed) or 16.8 million pixels. Here it is meant to: differences modulo
    2**32 are exact as long as each single area holds less than 8.4 million pixels, and areas are one output pixel.
    """
    height, width = image.shape[0], image.shape[1]
    sums[0] = 0
    for y in range(height):
        red = np.uint32(0)
        green = np.uint32(0)
        blue = np.uint32(0)
        sums[y + 1, 0] = 0
        for x in range(width):
            red = np.uint32(red + image[y, x, 0])
            green = np.uint32(green + image[y, x, 1])
            blue = np.uint32(blue + image[y, x, 2])
            sums[y + 1, x + 1, 0] = np.uint32(sums[y, x + 1, 0] + red)
            sums[y + 1, x + 1, 1] = np.uint32(sums[y, x + 1, 1] + green)
            sums[y + 1, x + 1, 2] = np.uint32(sums[y, x + 1, 2] + blue)


@compiled
def bins(start: int, length: int, count: int) -> NDArray[np.int64]:
    """(count, 2) first and past-the-last input pixel of each of ``count`` output pixels over a span."""
    edges = np.empty((count, 2), np.int64)
    for i in range(count):
        edges[i, 0] = start + (i * length) // count
        edges[i, 1] = start + ((i + 1) * length + count - 1) // count
    return edges


@compiled
def _average_row(sums: UInt32, top: int, bottom: int, columns: NDArray[np.int64], out: Float32) -> None:
    for x in range(columns.shape[0]):
        left = columns[x, 0]
        right = columns[x, 1]
        share = np.float32(0.0078125) / np.float32((bottom - top) * (right - left))
        for c in range(3):
            total = np.int32(sums[bottom, right, c] - sums[top, right, c] - sums[bottom, left, c] + sums[top, left, c])
            out[x, c] = np.float32(total) * share - np.float32(0.99609375)


@compiled
def resized_rows(sums: UInt32, height: int, first_row: int, out: Float32) -> None:
    """Rows ``first_row``, ... of images resized to ``height`` rows.

    Args:
        sums: (N, H + 1, W + 1, 3), see `integral`.
        height: rows of the whole resized image.
        first_row: row of the resized image that ``out`` begins with.
        out: (N, rows, width, 3), written.
    """
    columns = bins(0, sums.shape[2] - 1, out.shape[2])
    rows = bins(0, sums.shape[1] - 1, height)
    for n in range(out.shape[0]):
        for y in range(out.shape[1]):
            _average_row(sums[n], rows[first_row + y, 0], rows[first_row + y, 1], columns, out[n, y])


@compiled
def crop_window(box: Float32, height: int, width: int) -> tuple[Any, Any, Any, Any]:
    """Left, top, right, bottom of the whole pixels that a box covers inside the image, cut as the reference cuts."""
    left = max(int(box[0]), 1) - 1
    top = max(int(box[1]), 1) - 1
    return left, top, min(int(box[2]), width), min(int(box[3]), height)


@compiled
def crop(sums: UInt32, images: NDArray[np.int64], boxes: Float32, out: Float32) -> None:
    """Cut boxes out and resize them to squares.

    Args:
        sums: (N, H + 1, W + 1, 3), see `integral`.
        images: (M,) which image each box belongs to.
        boxes: (M, 4) px; each must hold a pixel of the image (`inside`).
        out: (M, side, side, 3), written.
    """
    side = out.shape[1]
    for m in range(boxes.shape[0]):
        left, top, right, bottom = crop_window(boxes[m], sums.shape[1] - 1, sums.shape[2] - 1)
        columns = bins(left, right - left, side)
        rows = bins(top, bottom - top, side)
        for y in range(side):
            _average_row(sums[images[m]], rows[y, 0], rows[y, 1], columns, out[m, y])


@compiled
def cut(image: UInt8, boxes: Float32, out: Float32) -> None:
    """As `crop`, of one image (H, W, 3) itself: sooner where there are few boxes and no integral image yet."""
    side = out.shape[1]
    lines = image.reshape(image.shape[0], -1)
    for m in range(boxes.shape[0]):
        left, top, right, bottom = crop_window(boxes[m], image.shape[0], image.shape[1])
        columns = bins(0, right - left, side)
        rows = bins(top, bottom - top, side)
        sums = np.empty((right - left) * 3, np.int32)
        for y in range(side):
            sums[:] = 0
            for row in range(rows[y, 0], rows[y, 1]):
                line = lines[row]
                for i in range(sums.shape[0]):
                    sums[i] += line[3 * left + i]
            for x in range(side):
                first, past = columns[x, 0], columns[x, 1]
                share = np.float32(0.0078125) / np.float32((rows[y, 1] - rows[y, 0]) * (past - first))
                for c in range(3):
                    total = np.int32(0)
                    for i in range(first, past):
                        total += sums[3 * i + c]
                    out[m, y, x, c] = np.float32(total) * share - np.float32(0.99609375)


@compiled
def inside(boxes: Float32, height: int, width: int) -> NDArray[np.bool_]:
    """(M,) whether each box covers at least one whole pixel of the image."""
    hits = np.empty(boxes.shape[0], np.bool_)
    for m in range(boxes.shape[0]):
        left, top, right, bottom = crop_window(boxes[m], height, width)
        hits[m] = right > left and bottom > top
    return hits
