"""The MTCNN cascade: boxes, scores and five landmarks of all faces, facenet-pytorch's results several times faster.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016. PNet looks at
every window of a pyramid, RNet at the windows it proposes, ONet at those RNet keeps. The weights are the published
ones, the way is our own: one integral image per picture gives the pyramid and all crops exactly, and the windows and
crops of all pictures run together, in pieces spread over the threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch

from attendance.detect import boxes as box_math
from attendance.detect import pyramid
from attendance.detect.backend import ONET_SIDE_PX, RNET_SIDE_PX, Cut, Scan, backend
from attendance.detect.boxes import Int64
from attendance.detect.port import RefiningDetector
from attendance.detect.pyramid import UInt32
from attendance.detect.workers import Workers
from attendance.types import Face, Float32, RGBImage

# Overlaps above which the weaker box goes: within a level, between levels and after RNet, and of the smaller face.
LEVEL_OVERLAP = 0.5
UNION_OVERLAP = 0.7
SMALLER_OVERLAP = 0.7

# Integral images take 12 bytes a pixel: so many pixels run as one batch (200 MB), a larger picture runs alone.
BATCH_PX = 2**24
# Keeps the area under one output pixel below what the integral image's arithmetic holds (see pyramid.integral).
MAX_SIDE_PX = 32_000

NOWHERE = -1  # the image of a box that lies outside its own


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Boxes (M, 4) of the pictures ``images`` (M,), pictures in order."""

    images: Int64
    boxes: Float32

    def by_image(self, count: int) -> list[Int64]:
        """Indices of the boxes of each of ``count`` pictures."""
        return np.split(np.arange(len(self.images)), np.searchsorted(self.images, np.arange(1, count)))


class MtcnnDetector(RefiningDetector):
    """Finds faces from ``min_face_px`` up. Safe to use from several threads at once.

    Args:
        min_face_px: smallest face looked for, at least 12; halving it costs about three times the time.
        thresholds: scores needed after PNet, RNet and ONet, each 0..1.
        scale_factor: ratio of neighbouring pyramid levels, between 0 and 1.
        device: ``cpu`` or a CUDA device.
        threads: processor threads.
        precision: ``auto``, ``fp32`` or, on a CUDA device, ``fp16``.
        graphs: whether a CUDA device replays recordings of RNet and ONet.

    Raises:
        ModelError: the weights are missing or damaged, or the device has no such precision.
        ValueError: an argument out of its range.
    """

    name = "mtcnn"

    def __init__(
        self,
        *,
        min_face_px: float = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        scale_factor: float = 0.709,
        device: str = "cpu",
        threads: int = 2,
        precision: str = "auto",
        graphs: bool = False,
    ) -> None:
        _check_settings(min_face_px, thresholds, scale_factor, threads)
        self._min_face_px = min_face_px
        self._thresholds = thresholds
        self._scale_factor = scale_factor
        self._workers = Workers(threads)
        self._backend = backend(self._workers, torch.device(device), precision=precision, graphs=graphs)
        self._kept = threading.local()

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        """Find the faces of each image, best score first; see `Detector.detect`.

        All run as one batch, those of one size through PNet too. One smaller than ``min_face_px`` has no faces.

        Raises:
            ValueError: an image is not uint8 (H, W, 3), is empty, or is longer than 32,000 pixels on a side.
        """
        for image in images:
            _check_image(image)
        order = sorted(range(len(images)), key=lambda index: images[index].shape)
        found: list[list[Face]] = [[] for _ in images]
        for batch in _batches(order, images):
            for index, faces in zip(batch, self._detect_batch([images[i] for i in batch]), strict=True):
                found[index] = faces
        return found

    def refine(self, image: RGBImage, boxes: Float32) -> list[Face]:
        """Look with ONet alone where faces are expected; see `RefiningDetector.refine`. Boxes are widened to squares.

        Raises:
            ValueError: image or boxes are of another shape or dtype.
        """
        return self.refine_each([image], [boxes])[0]

    def refine_each(self, images: Sequence[RGBImage], boxes: Sequence[Float32]) -> list[list[Face]]:
        """`refine` for several images at once, their crops in one batch."""
        squares, owners = [], []
        for n, (image, mine) in enumerate(zip(images, boxes, strict=True)):
            _check_image(image)
            _check_boxes(mine)
            squares.append(box_math.squared(mine))
            inside = pyramid.inside(squares[n], image.shape[0], image.shape[1])
            owners.append(np.where(inside, n, NOWHERE))
        owner = np.concatenate(owners) if owners else np.empty(0, np.int64)
        faces = [_unseen(box) for mine in boxes for box in mine]
        looked = np.flatnonzero(owner != NOWHERE)
        if len(looked) > 0:
            cut = _cutter_of_images(images, owner[looked], np.concatenate(squares)[looked])
            judged = self._judge(np.concatenate(squares)[looked], cut)
            for index, face in zip(looked.tolist(), judged, strict=True):
                faces[index] = face
        ordered = iter(faces)
        return [list(islice(ordered, len(mine))) for mine in boxes]

    def _detect_batch(self, images: list[RGBImage]) -> list[list[Face]]:
        """Images of one size lie side by side."""
        scans = self._scans(images)
        proposals = self._propose(scans, len(images))
        return self._conclude(scans, self._narrow(scans, proposals, len(images)), len(images))

    def _scans(self, images: list[RGBImage]) -> list[Scan]:
        """Integral images, in memory that this thread keeps for its next call: touching new pages costs as much."""
        lengths = [3 * (image.shape[0] + 1) * (image.shape[1] + 1) for image in images]
        memory: UInt32 = getattr(self._kept, "sums", np.empty(0, np.uint32))
        if len(memory) < sum(lengths):
            memory = np.empty(sum(lengths), np.uint32)
            self._kept.sums = memory if len(memory) <= 3 * BATCH_PX else np.empty(0, np.uint32)
        scans: list[Scan] = []
        used = first = 0
        for shape, alike in groupby(image.shape for image in images):
            count = len(list(alike))
            size = (count, shape[0] + 1, shape[1] + 1, 3)
            sums = memory[used : used + math.prod(size)].reshape(size)
            scans.append(Scan(first, sums, pyramid.levels(shape[:2], self._min_face_px, self._scale_factor)))
            used, first = used + math.prod(size), first + count
        jobs = [(scan.sums[n], images[scan.first + n]) for scan in scans for n in range(len(scan.sums)) if scan.levels]
        self._workers.map(lambda job: pyramid.integral(np.ascontiguousarray(job[1]), job[0]), jobs)
        return [scan for scan in scans if scan.levels]

    def _propose(self, scans: list[Scan], count: int) -> _Candidates:
        """Stage one: PNet's windows on all levels, as squares."""
        least = box_math.logit(self._thresholds[0])
        windows = self._backend.windows(scans, least)
        found: list[Float32] = [np.empty((0, 4), np.float32)] * count

        def collect(job: tuple[Scan, list[Float32], int]) -> None:
            scan, levels, n = job
            scored = []
            for level, maps in zip(scan.levels, levels, strict=True):
                level_found = box_math.window_proposals(maps[n], level.scale, least)
                scored.append(level_found[box_math.keep_by_union(level_found, LEVEL_OVERLAP)])
            merged = np.concatenate(scored)
            merged = merged[box_math.keep_by_union(merged, UNION_OVERLAP)]
            found[scan.first + n] = box_math.squared(box_math.shifted(merged[:, :4], merged[:, 5:], 0))

        jobs = [(s, levels, n) for s, levels in zip(scans, windows, strict=True) for n in range(len(s.sums))]
        self._workers.map(collect, jobs)
        return _together(found, scans)

    def _narrow(self, scans: list[Scan], proposals: _Candidates, count: int) -> _Candidates:
        """Stage two: what RNet keeps, moved by its offsets, as squares."""
        heads = self._backend.crops(RNET_SIDE_PX, len(proposals.boxes), _cutter(scans, proposals))
        scores = box_math.probability(heads)
        found = []
        for mine in proposals.by_image(count):
            likely = mine[scores[mine] > np.float32(self._thresholds[1])]
            scored = np.column_stack((proposals.boxes[likely], scores[likely]))
            kept = likely[box_math.keep_by_union(scored, UNION_OVERLAP)]
            found.append(box_math.squared(box_math.shifted(proposals.boxes[kept], heads[kept, 2:], 1)))
        return _together(found, scans)

    def _conclude(self, scans: list[Scan], candidates: _Candidates, count: int) -> list[list[Face]]:
        """Stage three: what ONet keeps, with its points, best first."""
        faces = self._judge(candidates.boxes, _cutter(scans, candidates))
        found = []
        for mine in candidates.by_image(count):
            likely = [faces[i] for i in mine.tolist() if faces[i].score > self._thresholds[2]]
            scored = np.array([[*face.box, face.score] for face in likely], np.float32).reshape(-1, 5)
            found.append([likely[i] for i in box_math.keep_by_smaller(scored, SMALLER_OVERLAP)])
        return found

    def _judge(self, boxes: Float32, cut: Cut) -> list[Face]:
        heads = self._backend.crops(ONET_SIDE_PX, len(boxes), cut)
        moved = box_math.shifted(boxes, heads[:, 2:6], 1)
        points = box_math.placed(boxes, heads[:, 6:])
        scores = box_math.probability(heads)
        return [Face(box, float(score), five) for box, score, five in zip(moved, scores, points, strict=True)]


def _batches(order: Sequence[int], images: Sequence[RGBImage]) -> Iterator[list[int]]:
    """The indices in their order, in batches of at most ``BATCH_PX`` pixels where one has several."""
    batch: list[int] = []
    pixels = 0
    for index in order:
        size = images[index].shape[0] * images[index].shape[1]
        if batch and pixels + size > BATCH_PX:
            yield batch
            batch, pixels = [], 0
        batch.append(index)
        pixels += size
    if batch:
        yield batch


def _cutter(scans: Sequence[Scan], candidates: _Candidates) -> Cut:
    """Cuts crops of the candidates out of integral images."""

    def cut(piece: slice, crops: Float32) -> None:
        images, boxes = candidates.images[piece], candidates.boxes[piece]
        for scan in scans:
            start, stop = np.searchsorted(images, (scan.first, scan.first + len(scan.sums)))
            if start < stop:
                pyramid.crop(scan.sums, images[start:stop] - scan.first, boxes[start:stop], crops[start:stop])

    return cut


def _cutter_of_images(images: Sequence[RGBImage], owner: Int64, boxes: Float32) -> Cut:
    """Cuts crops out of the images themselves; ``owner`` (M,) says, in order, whose each box is."""
    whole = [np.ascontiguousarray(image) for image in images]

    def cut(piece: slice, crops: Float32) -> None:
        mine, places = owner[piece], boxes[piece]
        for n in range(int(mine[0]), int(mine[-1]) + 1):
            start, stop = np.searchsorted(mine, (n, n + 1))
            if start < stop:
                pyramid.cut(whole[n], places[start:stop], crops[start:stop])

    return cut


def _together(found: list[Float32], scans: Sequence[Scan]) -> _Candidates:
    """Boxes of all pictures in one array, without those that lie outside their picture."""
    boxes = np.concatenate(found)
    images = np.repeat(np.arange(len(found)), [len(mine) for mine in found])
    inside = np.zeros(len(boxes), np.bool_)
    for scan in scans:
        start, stop = np.searchsorted(images, (scan.first, scan.first + len(scan.sums)))
        inside[start:stop] = pyramid.inside(boxes[start:stop], scan.sums.shape[1] - 1, scan.sums.shape[2] - 1)
    return _Candidates(images[inside], boxes[inside])


def _unseen(box: Float32) -> Face:
    centre = (box[:2] + box[2:]) * np.float32(0.5)
    return Face(box, 0.0, np.repeat(centre[None], 5, axis=0))


def _check_boxes(boxes: Float32) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype != np.float32:
        raise ValueError(f"boxes must be float32 of shape (M, 4), got {boxes.dtype} of shape {boxes.shape}")


def _check_image(image: RGBImage) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image must be RGB uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
    if max(image.shape) > MAX_SIDE_PX:
        raise ValueError(f"an image may have {MAX_SIDE_PX} pixels on a side, got shape {image.shape}: shrink it first")


def _check_settings(
    min_face_px: float, thresholds: tuple[float, float, float], scale_factor: float, threads: int
) -> None:
    if min_face_px < pyramid.WINDOW_PX:
        raise ValueError(f"min_face_px must be at least {pyramid.WINDOW_PX}, got {min_face_px}")
    if len(thresholds) != 3 or not all(0.0 <= threshold <= 1.0 for threshold in thresholds):
        raise ValueError(f"thresholds must be three numbers between 0 and 1, got {thresholds}")
    if not 0.0 < scale_factor < 1.0:
        raise ValueError(f"scale_factor must lie between 0 and 1, got {scale_factor}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
