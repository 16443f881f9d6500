"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from attendance.errors import StoreError


def save_atomically(path: Path, content: Any) -> None:
    """Write tensors beside the place and move them there, flushed to the disk.

    Raises:
        StoreError: they cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror}): make room, or name another --out") from error


def flush_folder(folder: Path) -> None:
    """Make new names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
