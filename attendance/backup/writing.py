"""Making a backup: a copy of the ledger, packed, encrypted, read back, and only then given its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from attendance import __version__
from attendance.backup.archive import (
    CONFIGURATION,
    FORMAT,
    LEDGER,
    Manifest,
    Stream,
    entry_of,
    pack,
)
from attendance.backup.keys import Keys
from attendance.backup.reading import read_backup
from attendance.backup.snapshot import counts_of, model_in_force
from attendance.embed.catalogue import CARD_FILE
from attendance.errors import BackupError, LockHeldError, UsageError
from attendance.ledger.instants import to_text

LOCK = "backup.lock"
WORK = "backup.part"


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that was made. ``verified``: it was read back whole, which a public key alone cannot do."""

    manifest: Manifest
    size: int
    verified: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a backup: ``take_ledger`` writes the ledger's copy to a path.

    ``kind`` is ``sqlite`` or ``mongodb``, ``model`` the configured model, which counts where the ledger does not say
    which is in force, ``configuration`` a text without passwords, ``models_dir`` where models lie; those without a card
    are made again from packages and are left out.
    """

    take_ledger: Callable[[Path], None]
    kind: str
    model: str
    configuration: str
    models_dir: Path | None


def write_backup(target: Path, contents: Contents, *, keys: Keys, store: Path, now: datetime) -> Written:
    """Write a new file (mode 0600) that appears complete or not at all. The copy is made in ``store``.

    UsageError where the file is there already, LockHeldError beside another backup or restore, BackupError where it
    cannot be written.
    """
    _refuse_existing(target)
    with working_folder(store, WORK) as work, file_errors("backup", target):
        files = _collect(contents, work)
        counts = counts_of(files[LEDGER])
        manifest = Manifest(
            format=FORMAT,
            product=__version__,
            created_at=to_text(now),
            kind=contents.kind,
            schema=counts.schema,
            people=counts.people,
            templates=counts.templates,
            punches=counts.punches,
            attendance=counts.attendance,
            model=model_in_force(files[LEDGER]) or contents.model,
            files=tuple(entry_of(name, file) for name, file in files.items()),
        )
        size = _write(target, keys, manifest, files)
    return Written(manifest, size, keys.can_read)


def _refuse_existing(target: Path) -> None:
    if target.is_dir():
        raise UsageError(f"the backup must be a new file, got the folder {target}: name a file in it")
    if target.exists():
        raise UsageError(f"the backup must be a new file, {target} is there already: name another, or move it away")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the backup goes into a folder that exists, got {target.absolute().parent}: make it first")


@contextmanager
def working_folder(store: Path, name: str) -> Iterator[Path]:
    """An empty folder (mode 0700) in the store, removed at the end; a killed run's is emptied first. One at a time."""
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(store / LOCK, mode=0o600)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockHeldError(f"another backup or restore is at work in {store}: wait for it to end") from error
    except OSError as error:
        raise BackupError(f"the store {store} must be a folder that can be written, got '{error}'") from error
    try:
        with file_errors("working copy", store / name):
            shutil.rmtree(store / name, ignore_errors=True)
            (store / name).mkdir(mode=0o700)
        yield store / name
    finally:
        shutil.rmtree(store / name, ignore_errors=True)
        lock.release()


@contextmanager
def file_errors(what: str, path: Path) -> Iterator[None]:
    """The file system's errors as BackupError, in one line."""
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"the {what} {path} needs room and rights to be written, got '{error.strerror or error}': free space, look "
            "at the permissions, and do it again; nothing was left half done"
        ) from error


def _collect(contents: Contents, work: Path) -> dict[str, Path]:
    """Every file by its name in the backup."""
    os.close(os.open(work / LEDGER, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    contents.take_ledger(work / LEDGER)
    (work / CONFIGURATION).write_text(contents.configuration, encoding="utf-8")
    files = {LEDGER: work / LEDGER, CONFIGURATION: work / CONFIGURATION}
    folders = [] if contents.models_dir is None else sorted(contents.models_dir.glob(f"*/{CARD_FILE}"))
    for card in folders:
        files |= {
            f"models/{card.parent.name}/{file.name}": file
            for file in sorted(card.parent.iterdir())
            if file.is_file() and not file.name.startswith(".")
        }
    return files


def _write(target: Path, keys: Keys, manifest: Manifest, files: dict[str, Path]) -> int:
    """Write beside the target and publish what is complete; its size in bytes."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
        try:
            keys.encrypt(Stream(pack(manifest, files.__getitem__)), file)
            file.flush()
            os.fsync(file.fileno())
            if keys.can_read and read_backup(part, keys) != manifest:
                raise BackupError(f"the backup {target} does not read as it was written: look at the disk")
            size = os.fstat(file.fileno()).st_size
            if not os.path.samestat(os.fstat(file.fileno()), part.stat()):
                raise BackupError(f"another program writes the backup {target} too: let one of them do it")
            publish(part, target)
        finally:
            part.unlink(missing_ok=True)
    return size


def publish(part: Path, target: Path) -> None:
    """Give a complete file its name, which must be free, and have the name written to the disk."""
    try:
        os.link(part, target)
    except FileExistsError as error:
        raise UsageError(f"{target} was made by somebody else meanwhile: name another file") from error
    except OSError:
        # A file system without hard links, as on many memory sticks.
        _refuse_existing(target)
        part.rename(target)
    folder = os.open(target.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
