"""What an embedded gallery needs of the file system: private modes, data on the disk, files let go."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attendance.errors import GalleryError

_RELEASE_S = 5.0


def await_release(path: Path) -> None:
    """Wait until the threads that Chroma stops in the background have closed its files (where the system can tell)."""
    folder, listing = str(path.resolve()), Path("/proc/self/fd")
    end = time.monotonic() + _RELEASE_S
    while listing.exists() and time.monotonic() < end:
        if not any(target.startswith(folder + os.sep) for target in _open_files(listing)):
            return
        time.sleep(0.002)


def _open_files(listing: Path) -> Iterator[str]:
    for entry in listing.iterdir():
        try:
            yield str(entry.readlink())
        except OSError:
            continue


def make_private(path: Path) -> None:
    """Take everything in the folder away from group and others."""
    for file in path.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)


def write_mark(mark: Path) -> None:
    """Make the empty file ``mark`` and have its name written to the disk."""
    with file_errors(mark):
        mark.touch(mode=0o600)
        sync(mark.parent, deep=False)


def sync(folder: Path, *, deep: bool = True) -> None:
    """Have the folder, and with ``deep`` everything in it, written to the disk."""
    for path in [*folder.rglob("*"), folder] if deep else [folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove the folder with everything in it, where there is one."""
    if path.exists():
        with file_errors(path):
            shutil.rmtree(path)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a GalleryError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise GalleryError(
            f"the gallery needs to write at {path}, got {error}: check the disk and its rights"
        ) from error
