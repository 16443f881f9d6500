"""What lies in a backup once it is decrypted: a gzipped tar with a manifest first, and each file by its SHA-256."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from attendance.errors import BackupError

FORMAT = 1
MANIFEST = "manifest.json"
LEDGER = "ledger.sqlite"
CONFIGURATION = "configuration.yaml"

_PART = 1 << 20
_LARGEST_MANIFEST = 16 << 20
# What restoring writes lies under these names, and nowhere else.
_NAME = re.compile(rf"{LEDGER}|{CONFIGURATION}|models/[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._ +-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a backup."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. ``kind`` is the ledger it was taken from, ``sqlite`` or ``mongodb``."""

    format: int
    product: str
    created_at: str
    kind: str
    schema: int
    people: int
    templates: int
    punches: int
    attendance: int
    model: str
    files: tuple[Entry, ...]

    @property
    def models(self) -> list[str]:
        """The models whose files are in it."""
        return sorted({entry.path.split("/")[1] for entry in self.files if entry.path.startswith("models/")})

    def to_json(self) -> bytes:
        """The manifest as it lies in the backup."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def manifest_from(data: bytes) -> Manifest:
    """Read a manifest; BackupError where it is not one of ours, or of a newer release."""
    try:
        values = json.loads(data)
        if values["format"] > FORMAT:
            raise BackupError(
                f"the backup must have format {FORMAT} or lower, got {values['format']}: restore it with the release "
                f"that made it ({values['product']}) or a newer one"
            )
        files = tuple(Entry(**each) for each in values.pop("files"))
        manifest = Manifest(**values, files=files)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"the backup's manifest cannot be read ({error}): take another copy of it") from error
    names = [entry.path for entry in files]
    if LEDGER not in names or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
        raise BackupError(f"the backup must hold a ledger, a configuration and models, got {', '.join(names)}")
    return manifest


def entry_of(path: str, file: Path) -> Entry:
    """A file as the manifest names it."""
    if _NAME.fullmatch(path) is None:
        raise BackupError(f"a backup cannot hold a file of the name {path}: rename it, or move it out of the store")
    found = hashlib.sha256()
    size = 0
    for part in _parts(file):
        found.update(part)
        size += len(part)
    return Entry(path, size, found.hexdigest())


def pack(manifest: Manifest, file_of: Callable[[str], Path]) -> Iterator[bytes]:
    """The archive of the manifest's files, piece by piece. BackupError when one changed since it was listed."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    for part in _tar(manifest, file_of):
        yield squeeze.compress(part)
    yield squeeze.flush()


def _tar(manifest: Manifest, file_of: Callable[[str], Path]) -> Iterator[bytes]:
    listing = manifest.to_json()
    yield from _member(MANIFEST, len(listing), [listing])
    for entry in manifest.files:
        yield from _member(entry.path, entry.size, _unchanged(entry, file_of(entry.path)))
    yield tarfile.NUL * (2 * tarfile.BLOCKSIZE)


def _member(name: str, size: int, parts: Iterable[bytes]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield from parts
    yield tarfile.NUL * (-size % tarfile.BLOCKSIZE)


def _unchanged(entry: Entry, file: Path) -> Iterator[bytes]:
    found, size = hashlib.sha256(), 0
    for part in _parts(file):
        found.update(part)
        size += len(part)
        if size <= entry.size:
            yield part
    if (size, found.hexdigest()) != (entry.size, entry.sha256):
        raise BackupError(f"{file} changed while it was backed up: do it again")


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while part := content.read(_PART):
            yield part


class Stream(io.RawIOBase):
    """Pieces of bytes as a file that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unpack(source: BinaryIO, folder: Path | None) -> Manifest:
    """Read an archive to its end and compare every file with the manifest; write them into ``folder``, if given.

    BackupError for anything else than what `pack` wrote; OSError where the folder cannot be written.
    """
    try:
        with gzip.GzipFile(fileobj=source) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            manifest = _first(archive)
            for entry in manifest.files:
                member = archive.next()
                if member is None or (member.name, member.size, member.isreg()) != (entry.path, entry.size, True):
                    raise BackupError(f"the backup lacks {entry.path}, which its manifest lists: take another copy")
                _take(archive, member, entry, folder)
            if archive.next() is not None:
                raise BackupError("the backup holds more than its manifest lists: take another copy")
            while plain.read(_PART):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"the backup is damaged or cut off ({error}): take another copy of it") from error
    return manifest


def _first(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > _LARGEST_MANIFEST:
        raise BackupError("the file was encrypted with this key, but is no backup: name the right file")
    content = archive.extractfile(member)
    assert content is not None
    return manifest_from(content.read())


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry, folder: Path | None) -> None:
    content = archive.extractfile(member)
    assert content is not None
    found = hashlib.sha256()
    target: BinaryIO | None = None
    if folder is not None:
        path = folder / entry.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = path.open("xb")
    try:
        while part := content.read(_PART):
            found.update(part)
            if target is not None:
                target.write(part)
    finally:
        if target is not None:
            target.close()
    if found.hexdigest() != entry.sha256:
        raise BackupError(f"{entry.path} in the backup is not what its manifest says: take another copy")
