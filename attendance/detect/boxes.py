"""Boxes: window scores to proposals, suppression of overlapping ones, and the arithmetic between the stages.

Boxes are float32 x1, y1, x2, y2 in pixels. All arithmetic is float32 and in the reference's order of operations, since
a box floored to its neighbour changes every result after it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from attendance.compiled import compiled
from attendance.types import Float32

Int64 = NDArray[np.int64]


def logit(probability: float) -> float:
    """The difference of logits from which on the probability is reached; infinite at 0 and 1."""
    if probability <= 0.0:
        return -math.inf
    return math.inf if probability >= 1.0 else math.log(probability / (1.0 - probability))


def probability(logits: Float32) -> Float32:
    """(N, 2 or more) logits (no face, face, ...) -> (N,) probability of a face."""
    with np.errstate(over="ignore"):  # exp of a large logit is infinite, and 1 / infinity is the 0 that is meant
        scores: Float32 = np.float32(1) / (np.float32(1) + np.exp(logits[:, 0] - logits[:, 1]))
    return scores


@compiled
def window_proposals(windows: Float32, scale: float, least_logit: float) -> Float32:
    """Windows whose logit difference reaches ``least_logit``.

    Args:
        windows: (rows, columns, 5) of one level: logit difference, four box offsets.
        scale: the level's scale.
        least_logit: see `logit`.

    Returns:
        (N, 9): box, probability, four offsets; rows from top to bottom, left to right.
    """
    count = 0
    for y in range(windows.shape[0]):
        for x in range(windows.shape[1]):
            count += windows[y, x, 0] >= least_logit
    found = np.empty((count, 9), np.float32)
    divisor = np.float32(scale)
    n = 0
    for y in range(windows.shape[0]):
        for x in range(windows.shape[1]):
            if windows[y, x, 0] >= least_logit:
                found[n, 0] = math.floor(np.float32(2 * x + 1) / divisor)
                found[n, 1] = math.floor(np.float32(2 * y + 1) / divisor)
                found[n, 2] = math.floor(np.float32(2 * x + 12) / divisor)
                found[n, 3] = math.floor(np.float32(2 * y + 12) / divisor)
                found[n, 4] = np.float32(1) / (np.float32(1) + np.float32(math.exp(-windows[y, x, 0])))
                for c in range(4):
                    found[n, 5 + c] = windows[y, x, 1 + c]
                n += 1
    return found


def keep_by_union(scored: Float32, most: float) -> Int64:
    """Greedy suppression of boxes that overlap a better one by more than ``most`` of their union.

    Args:
        scored: (N, 5 or more) box, score.
        most: 0..1.

    Returns:
        (K,) indices of the kept, best first; of equal scores the earlier is better, as in torchvision.
    """
    return _keep(scored, np.argsort(-scored[:, 4], kind="stable"), np.float32(most), np.float32(0), by_smaller=False)


def keep_by_smaller(scored: Float32, most: float) -> Int64:
    """As `keep_by_union`, but the overlap is a share of the smaller box, sides count their last pixel (+ 1), and of
    equal scores the later is better: how the reference suppresses faces inside faces."""
    order = np.ascontiguousarray(np.argsort(scored[:, 4], kind="stable")[::-1])
    return _keep(scored, order, np.float32(most), np.float32(1), by_smaller=True)


@compiled
def _keep(scored: Float32, order: Int64, most: np.float32, last_pixel: np.float32, by_smaller: bool) -> Int64:
    areas = (scored[:, 2] - scored[:, 0] + last_pixel) * (scored[:, 3] - scored[:, 1] + last_pixel)
    dropped = np.zeros(order.shape[0], np.bool_)
    kept = np.empty(order.shape[0], np.int64)
    n = 0
    for i in range(order.shape[0]):
        if dropped[i]:
            continue
        best = order[i]
        kept[n] = best
        n += 1
        left, top, right, bottom = scored[best, 0], scored[best, 1], scored[best, 2], scored[best, 3]
        for j in range(i + 1, order.shape[0]):
            other = order[j]
            wide = min(right, scored[other, 2]) - max(left, scored[other, 0]) + last_pixel
            high = min(bottom, scored[other, 3]) - max(top, scored[other, 1]) + last_pixel
            if dropped[j] or wide <= 0 or high <= 0:
                continue
            shared = wide * high
            whole = min(areas[best], areas[other]) if by_smaller else areas[best] + areas[other] - shared
            dropped[j] = shared / whole > most
    return kept[:n]


@compiled
def shifted(boxes: Float32, offsets: Float32, last_pixel: float) -> Float32:
    """Boxes moved by offsets that are shares of their sides; ``last_pixel`` (0 or 1) is added to the sides first."""
    moved = np.empty((len(boxes), 4), np.float32)
    more = np.float32(last_pixel)
    for n in range(len(boxes)):
        wide = boxes[n, 2] - boxes[n, 0] + more
        high = boxes[n, 3] - boxes[n, 1] + more
        for c in range(4):
            moved[n, c] = boxes[n, c] + offsets[n, c] * (wide if c % 2 == 0 else high)
    return moved


@compiled
def squared(boxes: Float32) -> Float32:
    """The square on the longer side of each box, about the same centre."""
    squares = np.empty((len(boxes), 4), np.float32)
    half = np.float32(0.5)
    for n in range(len(boxes)):
        wide = boxes[n, 2] - boxes[n, 0]
        high = boxes[n, 3] - boxes[n, 1]
        side = max(wide, high)
        squares[n, 0] = boxes[n, 0] + wide * half - side * half
        squares[n, 1] = boxes[n, 1] + high * half - side * half
        squares[n, 2] = squares[n, 0] + side
        squares[n, 3] = squares[n, 1] + side
    return squares


@compiled
def placed(boxes: Float32, points: Float32) -> Float32:
    """(N, 10) points as shares of a box (five x, five y) -> (N, 5, 2) pixels, with the reference's shift of one."""
    found = np.empty((len(boxes), 5, 2), np.float32)
    one = np.float32(1)
    for n in range(len(boxes)):
        wide = boxes[n, 2] - boxes[n, 0] + one
        high = boxes[n, 3] - boxes[n, 1] + one
        for point in range(5):
            found[n, point, 0] = wide * points[n, point] + boxes[n, 0] - one
            found[n, point, 1] = high * points[n, 5 + point] + boxes[n, 1] - one
    return found
