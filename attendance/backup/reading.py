"""Reading a backup: decrypted in one thread, unpacked in another, and compared with its manifest to the last byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from attendance.backup.archive import Manifest, unpack
from attendance.backup.keys import Keys
from attendance.errors import UsageError


def read_backup(path: Path, keys: Keys, folder: Path | None = None) -> Manifest:
    """Read a whole backup and compare every file in it with the manifest; write them into ``folder``, if given.

    Raises BackupError for another key, a damaged or cut file, or something else, UsageError for a file that cannot be
    read, and OSError where ``folder`` cannot be written.
    """
    with _decrypted(path, keys) as plain:
        return unpack(plain, folder)


@contextmanager
def _decrypted(path: Path, keys: Keys) -> Iterator[BinaryIO]:
    """The decrypted content as a stream, to be read to its end; leaving raises what was wrong with the encryption."""
    read_end, write_end = os.pipe()
    with ThreadPoolExecutor(1, thread_name_prefix="decrypt") as pool, os.fdopen(read_end, "rb") as plain:
        work = pool.submit(_decrypt, path, keys, write_end)
        try:
            yield plain
        except Exception:
            plain.close()
            fault = work.exception()
            if fault is not None and not isinstance(fault, BrokenPipeError):
                raise fault from None
            raise
        work.result()


def _decrypt(path: Path, keys: Keys, write_end: int) -> None:
    with os.fdopen(write_end, "wb") as sink:
        try:
            source = path.open("rb")
        except OSError as error:
            raise UsageError(f"the backup must be a file that can be read, got {path} ({error.strerror})") from error
        with source:
            keys.decrypt(source, sink)
