"""Tar and zip files read member by member: nothing is unpacked to a place that the archive names."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from attendance.errors import ModelError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What the readers raise on bytes that are no archive, or an encrypted or damaged one."""


class Archive(ABC):
    """The plain files of an archive by name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> set[str]:
        """The names of the plain files."""

    @abstractmethod
    def _stream(self, name: str) -> IO[bytes]:
        """The bytes of one of `names`."""

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """The bytes of a member.

        Raises:
            ModelError: there is no such plain file, or it is damaged.
        """
        try:
            with self._stream(name) as stream:
                yield stream
        except (KeyError, *_DAMAGED) as error:
            raise ModelError(f"{self.path}: expected a readable {name} in it, got: {error}") from error


class _Tar(Archive):
    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        super().__init__(path)
        self._tar = tar
        self._members = {member.name: member for member in tar if _is_safe(member.name) and member.isreg()}

    def names(self) -> set[str]:
        return set(self._members)

    def _stream(self, name: str) -> IO[bytes]:
        stream = self._tar.extractfile(self._members[name])
        if stream is None:
            raise KeyError(name)
        return stream


class _Zip(Archive):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(path)
        self._zip = archive

    def names(self) -> set[str]:
        return {info.filename for info in self._zip.infolist() if _is_safe(info.filename) and not info.is_dir()}

    def _stream(self, name: str) -> IO[bytes]:
        if name not in self.names():
            raise KeyError(name)
        return self._zip.open(name)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive | None]:
    """The archive, None where the file is neither tar nor zip.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _Zip(path, archive)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                yield _Tar(path, tar)
        else:
            yield None
    except (OSError, *_DAMAGED) as error:
        raise ModelError(f"{path}: expected a readable file, got: {error}") from error


def _is_safe(name: str) -> bool:
    """Whether a name stays inside: relative, without a step up, and without another system's separators."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and ":" not in parts[0]
