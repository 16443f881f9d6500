"""InsightFace's training files, ``train.rec`` and ``train.idx``, read without mxnet.

A record file is a row of parts: the word 0xced7230a, a word whose upper 3 bits say whether the part is whole (0), the
first (1), a middle (2) or the last (3) of a record and whose lower 29 are its length, the bytes, and zeros up to a
multiple of 4. A record that itself holds the magic word (at a multiple of 4) is cut there, the word left out. All words
are little-endian. A record of an image begins with flag (uint32), label (float32), id and id2 (uint64); where the flag
is above 0, so many float32 labels follow and stand for the label. The index names each record's key and offset.

In a training file the record 0 holds no image but two labels: the images are the keys from 1 up to the first of them,
and the keys from there to the second are people, whose two labels are the range of their images.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attendance.errors import SourceError
from attendance.types import RGBImage
from lab.data.encoded import decode_crop
from lab.data.source import Ints, Source, fitted

MAGIC = 0xCED7230A
WORD = struct.Struct("<I")
PART = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
LENGTH_BITS = 29
WHOLE, FIRST, LAST = 0, 1, 3
MAX_LABELS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One record: its labels, one or more, and its image's bytes, which may be none."""

    labels: tuple[float, ...]
    image: bytes


class RecordFile:
    """Records by key; ``keys`` (R,) int64, rising. Every process opens the file for itself: workers may share one."""

    def __init__(self, rec: Path) -> None:
        self.rec = rec
        self._open_in: tuple[int, int] | None = None
        self.keys, self._offsets = _read_index(rec.with_suffix(".idx"))

    def record(self, key: int) -> Record:
        """The record of that key.

        Raises:
            SourceError: no such key, or no record where the index says.
        """
        return _parse(self._read(self._offset(key)), f"{self.rec}: record {key}")

    def label(self, key: int) -> float:
        """The first label of that record, without reading its image.

        Raises:
            SourceError: as `record`.
        """
        offset = self._offset(key)
        magic, word = self._words(offset)
        length = word & ((1 << LENGTH_BITS) - 1)
        if magic != MAGIC or length < HEADER.size + WORD.size:
            return self.record(key).labels[0]
        head = self._bytes(offset + PART.size, HEADER.size + WORD.size)
        flag, label, _, _ = HEADER.unpack_from(head)
        return float(label if flag == 0 else struct.unpack_from("<f", head, HEADER.size)[0])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open_in": None}

    def _offset(self, key: int) -> int:
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise SourceError(f"{self.rec}: expected the record {key}, the index has none: use the index made with it")
        return int(self._offsets[place])

    def _read(self, offset: int) -> bytes:
        parts, kind = [], FIRST
        while kind not in (WHOLE, LAST):
            magic, word = self._words(offset)
            if magic != MAGIC:
                raise SourceError(
                    f"{self.rec}: expected a record at byte {offset}, got {magic:#x}: use the index made with it"
                )
            kind, length = word >> LENGTH_BITS, word & ((1 << LENGTH_BITS) - 1)
            parts.append(self._bytes(offset + PART.size, length))
            offset += PART.size + (length + 3) // 4 * 4
        return WORD.pack(MAGIC).join(parts)

    def _words(self, offset: int) -> tuple[int, int]:
        magic, word = PART.unpack(self._bytes(offset, PART.size))
        return magic, word

    def _bytes(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor(), length, offset)
        if len(data) != length:
            raise SourceError(
                f"{self.rec}: expected {length} bytes at {offset}, got {len(data)}: the file is cut off, fetch it again"
            )
        return data

    def _descriptor(self) -> int:
        # A descriptor is a process's own: a worker that was forked opens its own.
        if self._open_in is None or self._open_in[0] != os.getpid():
            try:
                self._open_in = (os.getpid(), os.open(self.rec, os.O_RDONLY))
            except OSError as error:
                raise SourceError(f"{self.rec}: cannot be read ({error.strerror}): name a train.rec") from error
        return self._open_in[1]

    def close(self) -> None:
        """Give the file back; it is opened again when it is read again."""
        if self._open_in is not None and self._open_in[0] == os.getpid():
            os.close(self._open_in[1])
        self._open_in = None

    def __del__(self) -> None:
        self.close()


class RecordSource(Source):
    """The faces of a training file: crops already, of people named by their number."""

    def __init__(self, rec: Path) -> None:
        self.file = RecordFile(rec)
        self._keys = _image_keys(self.file)
        numbers = np.array([int(self.file.label(int(key))) for key in self._keys], dtype=np.int64)
        found, self.labels = np.unique(numbers, return_inverse=True)
        self.people = tuple(str(number) for number in found)
        status = rec.stat()
        text = f"{rec.resolve()} {status.st_size} {status.st_mtime_ns}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def read(self, index: int, size_px: int) -> RGBImage:
        """See `Source`."""
        return fitted(decode_crop(self.file.record(int(self._keys[index])).image, self.place(index)), size_px)

    def place(self, index: int) -> str:
        """See `Source`."""
        return f"{self.file.rec.name}: record {self._keys[index]}"


def _image_keys(file: RecordFile) -> Ints:
    keys = file.keys
    if len(keys) == 0:
        raise SourceError(f"{file.rec}: the index names no record: use the index made with it")
    first = file.record(int(keys[0]))
    if first.image or len(first.labels) < 2:
        return keys
    images: Ints = keys[(keys > keys[0]) & (keys < int(first.labels[0]))]
    return images


def _read_index(path: Path) -> tuple[Ints, Ints]:
    """Keys, rising, and their offsets: arrays, since millions of numbers in a dict fill the memory of every worker."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: the index cannot be read ({error}): it lies beside the .rec, as .idx") from error
    try:
        numbers = np.array(text.split(), dtype=np.int64).reshape(-1, 2)
    except ValueError:
        line, said = _faulty(text)
        raise SourceError(f"{path}: line {line}: expected a key, a tab and an offset, got {said!r}") from None
    numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
    return np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1])


def _faulty(text: str) -> tuple[int, str]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            return number, line
    return 1, text[:80]


def _parse(data: bytes, place: str) -> Record:
    if len(data) < HEADER.size:
        raise SourceError(f"{place}: expected a header of {HEADER.size} bytes, got {len(data)}: fetch the file again")
    flag, label, _, _ = HEADER.unpack_from(data)
    if flag == 0:
        return Record((label,), data[HEADER.size :])
    end = HEADER.size + 4 * flag
    if flag > MAX_LABELS or end > len(data):
        raise SourceError(f"{place}: expected {flag} labels, got {len(data) - HEADER.size} bytes: fetch the file again")
    return Record(struct.unpack_from(f"<{flag}f", data, HEADER.size), data[end:])
