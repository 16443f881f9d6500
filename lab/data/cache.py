"""Crops cut once and kept as one file that is mapped into memory: every later run, epoch and worker reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attendance.errors import ImageError, SourceError, StoreError
from attendance.types import RGBImage
from lab.data.source import Source, Unread, fitted

VERSION = 1
CROPS, LABELS, ABOUT, TARGETS = "crops.npy", "labels.npy", "about.json", "targets.npy"

Progress = Callable[[Iterable[int]], Iterable[int]]


class CachedSource(Source):
    """The readable faces of a source, all of one size, in a folder of their own.

    ``unread`` are those that gave no crop. A person without any crop is left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.people = tuple(about["people"])
        self.places: list[str] = about["places"]
        self.unread = tuple(Unread(*row) for row in about["unread"])
        self.fingerprint = about["key"]
        self.labels = np.load(folder / LABELS)
        if (folder / TARGETS).exists():
            self.targets = np.load(folder / TARGETS).astype(np.float32)
        self._crops: NDArray[np.uint8] | None = None

    def read(self, index: int, size_px: int) -> RGBImage:
        """See `Source`."""
        if self._crops is None:
            self._crops = np.load(self.folder / CROPS, mmap_mode="r")
        return fitted(np.asarray(self._crops[index]), size_px)

    def place(self, index: int) -> str:
        """See `Source`."""
        return self.places[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crops": None}  # a worker maps the file itself


def cached(source: Source, root: Path, *, size_px: int, progress: Progress = iter) -> CachedSource:
    """The source's crops, cut at that size on first use and found again afterwards.

    Args:
        source: its fingerprint, which covers the files and how faces are cut, and the size name the cache.
        root: folder of the caches.
        size_px: side of the crops.
        progress: wraps the faces' numbers, to show how far it is.

    Raises:
        SourceError: not one face could be read.
        StoreError: the folder cannot be written.
    """
    key = hashlib.sha256(f"{VERSION} {size_px} {source.fingerprint}".encode()).hexdigest()
    folder = root / key[:32]
    if not (folder / ABOUT).exists():
        try:
            _build(source, folder, key=key, size_px=size_px, progress=progress)
        except OSError as error:
            raise StoreError(
                f"{root}: the cache cannot be written ({error.strerror}): name another data.cache"
            ) from error
    return CachedSource(folder)


def _build(source: Source, folder: Path, *, key: str, size_px: int, progress: Progress) -> None:
    # Written beside its place and moved there whole: a build that was killed leaves nothing that looks finished.
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    try:
        shape = (len(source), size_px, size_px, 3)
        crops = np.lib.format.open_memmap(building / "all.npy", mode="w+", dtype=np.uint8, shape=shape)
        kept, unread = _fill(source, crops, size_px, progress)
        _write(source, building, crops, kept, unread=unread, key=key)
        del crops
        (building / "all.npy").unlink(missing_ok=True)
        with (building / CROPS).open("rb") as file:
            os.fsync(file.fileno())
        try:
            building.rename(folder)
        except OSError:
            if not (folder / ABOUT).exists():  # another run made the same one first
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _fill(source: Source, crops: NDArray[np.uint8], size_px: int, progress: Progress) -> tuple[list[int], list[Unread]]:
    """Read every face; the readable ones move up to the front."""
    kept: list[int] = []
    unread = []
    for index in progress(range(len(source))):
        try:
            crops[len(kept)] = source.read(index, size_px)
        except ImageError as error:
            unread.append(Unread(source.place(index), str(error.reason), error.detail))
        else:
            kept.append(index)
    if not kept:
        first = unread[0] if unread else Unread("it", "empty", "holds no photo")
        raise SourceError(f"expected faces, not one could be read: {first.place}: {first.detail}")
    return kept, unread


def _write(
    source: Source, folder: Path, crops: NDArray[np.uint8], kept: list[int], *, unread: list[Unread], key: str
) -> None:
    if unread:
        fewer = np.lib.format.open_memmap(
            folder / CROPS, mode="w+", dtype=np.uint8, shape=(len(kept), *crops.shape[1:])
        )
        for row in range(len(kept)):
            fewer[row] = crops[row]
        del fewer
    else:
        (folder / "all.npy").rename(folder / CROPS)
    found, labels = np.unique(source.labels[kept], return_inverse=True)
    np.save(folder / LABELS, labels.astype(np.int64))
    about = {
        "key": key,
        "people": [source.people[int(label)] for label in found],
        "places": [source.place(index) for index in kept],
        "unread": [[face.place, face.reason, face.detail] for face in unread],
    }
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
