"""The folder of crops, ``STORE/crops``: an age file (mode 0600) for each, named by its template, its photo and its key.

A crop is written when its template is in the ledger already, and `sweep` removes every crop whose template is not: so
the folder holds nobody whom the ledger does not. The names tell no more than the ledger does. Each crop says inside of
the encryption whose it is, so that one in another's place is found out.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage

from attendance.crops.cutting import DAMAGED, Crop, decoded
from attendance.crops.keys import CropKeys
from attendance.errors import CropStoreError, ImageError, UsageError
from attendance.types import Person, Template

_NAME = re.compile(r"(?P<template>[^.]+)\.(?P<sha256>[0-9a-f]{16})\.(?P<key>[0-9a-f]{16})\.age")
_OWNER, _SWEPT = "ledger.id", "swept"
_PART = re.compile(r"\..+\.[0-9]+\.part")
_STALE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A crop that is there: of which template and photo (the first 16 digits of its SHA-256), by which key."""

    path: Path
    template_id: str
    sha256: str
    key: str


class CropStore:
    """Keeps crops in ``folder``. ``keys`` is asked when something is written or read."""

    def __init__(self, folder: Path, keys: Callable[[], CropKeys]) -> None:
        self._folder = folder
        self._keys = keys

    @property
    def keys(self) -> CropKeys:
        """The configured keys; UsageError where there are none, or none that can be used."""
        return self._keys()

    def kept(self) -> list[Kept]:
        """The crops that are there, in order."""
        return [each for folder in sorted(self._folder.glob("??")) for each in _listed(folder)]

    def claim(self, owner: str) -> bool:
        """Whether the crops are those of the ledger ``owner``, which a new folder becomes. Raises as `put`."""
        path = self._folder / _OWNER
        try:
            if not path.exists():
                if not owner:
                    return True
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(path, owner.encode())
            return path.read_text(encoding="ascii") == owner
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def put(self, template: Template, data: bytes) -> None:
        """Keep a template's crop in the place of an older one. CropStoreError where it cannot be written."""
        keys = self.keys
        plain = _label(template) + data
        older = [each.path for each in self._of(template.template_id)]
        folder = self._folder / template.template_id[:2]
        path = folder / f"{template.template_id}.{template.sha256[:16]}.{keys.fingerprint}.age"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, pyrage.encrypt(plain, [keys.recipient]))
            for each in older:
                if each != path:
                    each.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def get(self, template: Template) -> Crop | None:
        """A template's crop, None where there is none.

        UsageError for one whose key is not held; ImageError (``crop_damaged``) for one that was changed.
        """
        found = [each for each in self._of(template.template_id) if each.sha256 == template.sha256[:16]]
        if not found:
            return None
        # A rotation that died leaves one of either key.
        kept = next((each for each in found if each.key in self.keys.identities), found[0])
        plain = self._opened(kept)
        label = _label(template)
        if not plain.startswith(label):
            raise ImageError(DAMAGED, f"the crop {kept.path.name} is another photo's: give the photos")
        return decoded(plain[len(label) :])

    @property
    def swept(self) -> int | None:
        """The ledger's template revision that the last sweep went by; None before the first."""
        try:
            return int((self._folder / _SWEPT).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def sweep(self, people: Callable[[], Iterable[Person]], *, revision: int) -> int:
        """Remove every crop whose template nobody has any more, shelved ones included; how many.

        ``people`` is asked after the folder was listed, so that no crop is taken for nobody's that is being kept.
        CropStoreError where one cannot be removed: the next sweep tries again.
        """
        kept = self.kept()
        held = _held(people()) if kept else set()
        gone = self._remove([each for each in kept if (each.template_id, each.sha256) not in held])
        try:
            self._clear_up()
            self._write(self._folder / _SWEPT, str(revision).encode())
        except OSError as error:
            raise _unswept(self._folder, error) from error
        return gone

    def remove_all(self) -> int:
        """Remove every crop; how many."""
        return self._remove(self.kept())

    def rotate(self) -> Iterator[str | None]:
        """Encrypt every crop of another key with the newest one: None for each that was, or why it cannot be."""
        keys = self.keys
        for each in self.kept():
            if each.key == keys.fingerprint:
                continue
            try:
                data = pyrage.encrypt(self._opened(each), [keys.recipient])
                self._write(each.path.with_name(f"{each.template_id}.{each.sha256}.{keys.fingerprint}.age"), data)
                each.path.unlink(missing_ok=True)
            except OSError as error:
                raise _unwritable(self._folder, error) from error
            except (ImageError, UsageError) as error:
                yield f"{each.path.name}: {error}"
            else:
                yield None

    def _of(self, template_id: str) -> list[Kept]:
        return [each for each in _listed(self._folder / template_id[:2]) if each.template_id == template_id]

    def _opened(self, kept: Kept) -> bytes:
        identity = self.keys.identities.get(kept.key)
        if identity is None:
            held = ", ".join(self.keys.identities) or "a public key alone"
            raise UsageError(
                f"the crops are encrypted with key {kept.key}, held is {held}: name the file that holds the private "
                f"key {kept.key} as crops.key_file"
            )
        try:
            return bytes(pyrage.decrypt(kept.path.read_bytes(), [identity]))
        except (OSError, pyrage.DecryptError) as error:
            reason = " ".join(str(error).split())
            raise ImageError(DAMAGED, f"the crop {kept.path.name} does not open ({reason}): give the photos") from error

    def _remove(self, kept: Collection[Kept]) -> int:
        try:
            for each in kept:
                each.path.unlink(missing_ok=True)
        except OSError as error:
            raise _unswept(self._folder, error) from error
        return len(kept)

    def _clear_up(self) -> None:
        """Remove what a writer left that was killed, long ago."""
        for part in self._folder.glob("*/.*.part"):
            try:
                if _PART.fullmatch(part.name) and time.time() - part.stat().st_mtime > _STALE_S:
                    part.unlink()
            except FileNotFoundError:
                continue

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Kept]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    found = ((name, _NAME.fullmatch(name)) for name in names)
    return [Kept(folder / name, m["template"], m["sha256"], m["key"]) for name, m in found if m is not None]


def _label(template: Template) -> bytes:
    return f"{template.template_id} {template.sha256}\n".encode()


def _held(people: Iterable[Person]) -> set[tuple[str, str]]:
    return {(t.template_id, t.sha256[:16]) for person in people for t in (*person.templates, *person.shelved)}


def _unwritable(folder: Path, error: OSError) -> CropStoreError:
    return CropStoreError(
        f"the folder of crops {folder} must be one that can be written, got '{error.strerror or error}': free space or "
        "look at the permissions; who was enrolled is in, `crops fill` keeps what is missing"
    )


def _unswept(folder: Path, error: OSError) -> CropStoreError:
    return CropStoreError(
        f"crops in {folder} could not be removed ('{error.strerror or error}'): look at the permissions, and run "
        "`crops show`, which removes what is left of people who are gone"
    )
