"""The keys of backups, and encryption with them in the age format (https://age-encryption.org/v1).

With a key file a backup is one age file. With a passphrase it is a ZIP of two: ``key.age``, a fresh age key encrypted
with the passphrase (scrypt), and ``backup.age``, encrypted to that key, since age's own passphrase form cannot be
streamed. Either can be opened with age's own tool, without this program. age authenticates every 64 KiB and the end: a
byte that was changed, left out or moved is an error.
"""

from __future__ import annotations

import logging
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyrage
from pyrage import x25519

from attendance.errors import BackupError, UsageError

logger = logging.getLogger(__name__)

LEAST_CHARACTERS = 12
_PRIVATE, _PUBLIC = "AGE-SECRET-KEY-1", "age1"
_AGE, _ZIP = b"age-encryption.org/", b"PK\x03\x04"
_WRAPPED_KEY, _CONTENT = "key.age", "backup.age"
_LONGEST_KEY = 65_536

HOW_TO_GET_ONE = (
    "make one with `python -m attendance backup --make-key FILE` and name it with backup.key_file, or give "
    "ATTENDANCE_BACKUP__PASSPHRASE"
)


class Source(Protocol):
    """What can be read."""

    def read(self, size: int = -1, /) -> bytes: ...


class Sink(Protocol):
    """What can be written."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """What encrypts (``recipients``) and decrypts (``identities``), or the passphrase that does both."""

    recipients: tuple[Any, ...] = ()
    identities: tuple[Any, ...] = ()
    passphrase: str = ""

    def __post_init__(self) -> None:
        if not self.recipients and not self.passphrase:
            raise UsageError(f"a backup is encrypted, and there is no default key: {HOW_TO_GET_ONE}")
        if self.passphrase and len(self.passphrase) < LEAST_CHARACTERS:
            raise UsageError(
                f"the passphrase of a backup must have {LEAST_CHARACTERS} characters or more, got "
                f"{len(self.passphrase)}: take several random words"
            )

    def __repr__(self) -> str:
        return f"Keys({len(self.recipients)} recipients, {len(self.identities)} identities)"

    @property
    def can_read(self) -> bool:
        """Whether these keys open what they close."""
        return bool(self.identities or self.passphrase)

    def encrypt(self, source: Source, target: BinaryIO) -> None:
        """Encrypt ``source`` to its end into ``target``, an empty file. An error of either comes through as it is."""
        if self.recipients and self.passphrase:
            raise UsageError("backup.key_file and a passphrase are both set, and one of them encrypts: keep one")
        if self.recipients:
            _through(pyrage.encrypt_io, source, target, list(self.recipients))
            return
        fresh = x25519.Identity.generate()
        with zipfile.ZipFile(target, "w") as parts:
            parts.writestr(_WRAPPED_KEY, pyrage.passphrase.encrypt(f"{fresh}\n".encode(), self.passphrase))
            with parts.open(_CONTENT, "w", force_zip64=True) as content:
                _through(pyrage.encrypt_io, source, content, [fresh.to_public()])

    def decrypt(self, source: BinaryIO, target: Sink) -> None:
        """Decrypt a backup into ``target``; what was written is only to be trusted when this returns.

        BackupError for another key and for a damaged file; an error of ``target`` comes through as it is.
        """
        start = source.read(len(_AGE))
        source.seek(0)
        if start == _AGE:
            self._open(source, target, self.identities, "backup.key_file with the private key")
        elif start.startswith(_ZIP):
            self._decrypt_parts(source, target)
        else:
            raise BackupError(
                "expected a backup (an age file, or a ZIP of two), got something else: name the right file"
            )

    def _decrypt_parts(self, source: BinaryIO, target: Sink) -> None:
        if not self.passphrase:
            raise BackupError("this backup was made with a passphrase: give it as ATTENDANCE_BACKUP__PASSPHRASE")
        try:
            with zipfile.ZipFile(source) as parts:
                with parts.open(_WRAPPED_KEY) as wrapped:
                    key = pyrage.passphrase.decrypt(wrapped.read(_LONGEST_KEY), self.passphrase)
                identity = x25519.Identity.from_str(key.decode().strip())
                with parts.open(_CONTENT) as content:
                    self._open(content, target, (identity,), "")
        except pyrage.DecryptError as error:
            raise BackupError(
                f"the passphrase does not open this backup ({error}): give the one that it was made with, or take "
                "another copy where the file is damaged"
            ) from error
        except (zipfile.BadZipFile, KeyError, EOFError, pyrage.IdentityError, ValueError) as error:
            raise _damaged(error) from error

    def _open(self, source: Source, target: Sink, identities: tuple[Any, ...], needed: str) -> None:
        if not identities:
            raise BackupError(f"this backup is opened by a key file: set {needed}")
        try:
            _through(pyrage.decrypt_io, source, target, list(identities))
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise BackupError(
                    "the key does not open this backup: set backup.key_file to the key that it was made with"
                ) from error
            raise _damaged(error) from error
        except _DamagedError as error:
            raise _damaged(error) from error


class _DamagedError(Exception):
    """age met something that it did not write."""


def _damaged(error: Exception) -> BackupError:
    return BackupError(
        f"the backup must be as it was written, but is damaged or cut off ({' '.join(str(error).split())}): take "
        "another copy of it"
    )


class _Watched:
    """A file for age's eyes that remembers the error it met, since age only passes its words on."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        return bytes(self._watch(lambda: self._file.read(size)))

    def write(self, data: bytes) -> int:
        return int(self._watch(lambda: self._file.write(data)))

    def flush(self) -> None:
        self._watch(self._file.flush)

    def _watch(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except BaseException as error:
            self.error = error
            raise


def _through(work: Callable[..., None], source: Source, target: Any, keys: list[Any]) -> None:
    """Run age over two files; their own errors come through, age's about damage as `_DamagedError`."""
    watched = _Watched(source), _Watched(target)
    try:
        work(*watched, keys)
    except (pyrage.EncryptError, pyrage.DecryptError, OSError) as error:
        for file in watched:
            if isinstance(file.error, zipfile.BadZipFile | EOFError):
                raise _DamagedError(str(file.error)) from error
            if file.error is not None:
                raise file.error from None
        if isinstance(error, OSError):
            raise _DamagedError(str(error)) from error
        raise


def read_key_file(path: Path) -> Keys:
    """The key in a file as ``age-keygen`` writes it: private keys, or public ones alone, which cannot restore.

    UsageError for a file that cannot be read or holds anything else.
    """
    try:
        text = path.read_text(encoding="ascii")
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise UsageError(
            f"backup.key_file must be a readable age key, got {path} ({error}): {HOW_TO_GET_ONE}"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        identities = tuple(x25519.Identity.from_str(line) for line in lines if line.startswith(_PRIVATE))
        recipients = tuple(x25519.Recipient.from_str(line) for line in lines if line.startswith(_PUBLIC))
    except (pyrage.IdentityError, pyrage.RecipientError) as error:
        raise UsageError(f"backup.key_file {path} holds a key that is none ({error}): {HOW_TO_GET_ONE}") from error
    if not lines or len(identities) + len(recipients) != len(lines):
        raise UsageError(
            f"backup.key_file {path} must hold lines of {_PRIVATE}... or {_PUBLIC}..., got something else: "
            f"{HOW_TO_GET_ONE}"
        )
    if identities and mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("the key of the backups can be read by others: chmod 600 %s", path)
    return Keys(recipients=(*recipients, *(identity.to_public() for identity in identities)), identities=identities)


def read_passphrase_file(path: Path) -> str:
    """The passphrase, a file's first line; empty where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"backup.passphrase_file must be a readable text file, got {path} ({error})") from error
    return lines[0] if lines else ""


def make_key(path: Path) -> str:
    """Make a new key in a new file (mode 0600) and return its public part; UsageError where the file is there."""
    identity = x25519.Identity.generate()
    public = str(identity.to_public())
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already, and a key is never overwritten: name a new file") from error
    except OSError as error:
        raise UsageError(f"the key cannot be written to {path} ({error.strerror}): name another file") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"# public key: {public}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())
    return public
