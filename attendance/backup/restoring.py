"""Restoring a backup: everything is unpacked and checked beside the store's files before any of them is touched."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attendance.backup.archive import CONFIGURATION, LEDGER, Manifest
from attendance.backup.keys import Keys
from attendance.backup.reading import read_backup
from attendance.backup.snapshot import counts_of, move_up
from attendance.backup.writing import file_errors, publish, working_folder
from attendance.errors import BackupError
from attendance.ledger.copying import Copied, copy_ledger
from attendance.ledger.port import Ledger
from attendance.ledger.registry import COPIED
from attendance.search.folder import sync

WORK = "restore.part"
BEGUN = "restore.begun"
RESTORED_CONFIGURATION = "restored-configuration.yaml"

OpenFile = Callable[[Path], Ledger]


def restore_file(path: Path, *, keys: Keys, store: Path) -> Manifest:
    """Restore into the store's own ledger file, which must not exist; all or nothing.

    An older schema is moved up on the way. The ledger is the last that appears. BackupError names what stands in the
    way.
    """
    _refuse_ledger(store)
    with _unpacked(path, keys, store) as (manifest, work):
        _move_up(work / LEDGER, manifest)
        with file_errors("restored ledger", store):
            _publish_models(manifest, work, store)
            sync(work)
            _refuse_ledger(store)
            publish(work / LEDGER, store / LEDGER)
    return manifest


def restore_server(
    path: Path, *, keys: Keys, store: Path, open_file: OpenFile, server: Ledger, place: str
) -> tuple[Manifest, Copied]:
    """Restore into a server's empty ledger, compared by counts and hashes; run again, it goes on where it was.

    ``open_file`` opens a ledger file by the present rules, ``place`` tells one server from another. The store gets the
    models, and remembers meanwhile that this backup is being restored there.
    """
    begun = store / BEGUN
    with _unpacked(path, keys, store) as (manifest, work):
        mark = f"{hashlib.sha256(manifest.to_json()).hexdigest()} {place}\n"
        if not begun.exists() or begun.read_text("utf-8") != mark:
            _refuse_records(server)
        with file_errors("mark of the restore", begun):
            begun.write_text(mark, encoding="utf-8")
            _publish_models(manifest, work, store)
        _move_up(work / LEDGER, manifest)
        with open_file(work / LEDGER) as ledger:
            copied = copy_ledger(ledger, server)
        begun.unlink()
    return manifest, copied


@contextmanager
def _unpacked(path: Path, keys: Keys, store: Path) -> Iterator[tuple[Manifest, Path]]:
    with working_folder(store, WORK) as work:
        with file_errors("restored copy", work):
            manifest = read_backup(path, keys, work)
            for file in work.rglob("*"):
                file.chmod(0o700 if file.is_dir() else 0o600)
        _refuse_other_models(manifest, store)
        yield manifest, work


def _refuse_ledger(store: Path) -> None:
    """An empty ledger stands in the way too: a program that has it open would write where nobody looks again."""
    for name in (LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm"):
        if (store / name).exists():
            raise BackupError(
                f"a backup is restored into a store without a ledger, got {store / name}: restore into another "
                f"--store, or stop every program on this one and move {LEDGER}, {LEDGER}-wal and {LEDGER}-shm away"
            )


def _refuse_records(server: Ledger) -> None:
    found = [
        *(["people"] if server.person_versions() else []),
        *(["settings"] if server.settings() else []),
        *(str(register) for register in COPIED if server.registered(register)),
    ]
    # Asked for only where nobody is enrolled, since all of them are read.
    if not found and server.digest("punches").count:
        found = ["punches"]
    if found:
        raise BackupError(
            f"a backup is restored into an empty database, got one with {', '.join(found)}: name a new one in "
            "ledger.url, or empty this one"
        )


def _refuse_other_models(manifest: Manifest, store: Path) -> None:
    for entry in manifest.files:
        present = store / entry.path
        if entry.path.startswith("models/") and present.exists():
            with file_errors("model's file", present), present.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256:
                    continue
            raise BackupError(f"{present} is another file than the backup's: move the folder away, and do it again")


def _move_up(file: Path, manifest: Manifest) -> None:
    """Bring an unpacked ledger to the present schema and compare what it holds with what was backed up."""
    move_up(file)
    counts = counts_of(file)
    found = (counts.people, counts.templates, counts.punches)
    wanted = (manifest.people, manifest.templates, manifest.punches)
    if found != wanted:
        raise BackupError(f"the backup must hold {wanted} people, templates and punches, got {found}: take another")


def _publish_models(manifest: Manifest, work: Path, store: Path) -> None:
    for entry in manifest.files:
        target = store / entry.path
        if entry.path.startswith("models/") and not target.exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (work / entry.path).replace(target)
    shutil.copyfile(work / CONFIGURATION, store / RESTORED_CONFIGURATION)
    (store / RESTORED_CONFIGURATION).chmod(0o600)
