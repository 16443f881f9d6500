"""The key that crops are encrypted with: an age key (X25519), whose public part alone can keep crops and not read them.

A file, or a text from the environment, holds lines of ``AGE-SECRET-KEY-1...`` or ``age1...``; the last one encrypts.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage
from pyrage import x25519

from attendance.errors import UsageError

_PRIVATE, _PUBLIC = "AGE-SECRET-KEY-1", "age1"
HOW_TO_GET_ONE = "make one with `python -m attendance crops new-key FILE`"


@dataclass(frozen=True, slots=True)
class CropKeys:
    """What encrypts (``recipient``, known by ``fingerprint``), and what decrypts: fingerprint to private key."""

    recipient: Any
    fingerprint: str
    identities: Mapping[str, Any] = field(repr=False)

    @property
    def can_read(self) -> bool:
        """Whether these open what they close."""
        return self.fingerprint in self.identities


def _fingerprint(recipient: Any) -> str:
    """The first 64 bits of a SHA-256 of the public part, as 16 hex digits: it tells keys apart."""
    return hashlib.sha256(str(recipient).encode()).hexdigest()[:16]


def keys_of_text(text: str, *, origin: str) -> CropKeys:
    """The keys in a text; UsageError, which names ``origin`` and shows no key, where it holds none or anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    identities: dict[str, Any] = {}
    recipient: Any = None
    for line in lines:
        try:
            if line.startswith(_PRIVATE):
                identity = x25519.Identity.from_str(line)
                recipient = identity.to_public()
                identities[_fingerprint(recipient)] = identity
            elif line.startswith(_PUBLIC):
                recipient = x25519.Recipient.from_str(line)
            else:
                raise ValueError("a line of something else")
        except (pyrage.IdentityError, pyrage.RecipientError, ValueError) as error:
            raise UsageError(
                f"{origin} must hold lines of {_PRIVATE}... or {_PUBLIC}..., got one that is none: take another copy "
                f"of it, or {HOW_TO_GET_ONE}"
            ) from error
    if recipient is None:
        raise UsageError(f"{origin} must hold a key, got none: {HOW_TO_GET_ONE}")
    return CropKeys(recipient, _fingerprint(recipient), identities)


def read_crop_keys(path: Path, *, store: Path) -> CropKeys:
    """The keys of a file; UsageError where it cannot be read, is open to others, or lies in the store itself."""
    _require_outside(path, store)
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"crops.key_file must be a readable file of age keys, got {path} ({error}): name the right one, or "
            f"{HOW_TO_GET_ONE}"
        ) from error
    keys = keys_of_text(text, origin=f"crops.key_file {path}")
    if keys.identities and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"crops.key_file {path} must be its owner's alone (mode 0600), got {stat.S_IMODE(mode):04o}: chmod 600 "
            f"{path}, and rotate the key if somebody else may have read it"
        )
    return keys


def _require_outside(path: Path, store: Path) -> None:
    if path.resolve().is_relative_to(store.resolve()):
        raise UsageError(f"crops.key_file {path} lies in the store that it protects: move it out of {store}")


def add_crop_key(path: Path, *, store: Path) -> CropKeys:
    """Make a new key behind those of a file, or in a new file (mode 0600), replaced as a whole; the keys in it then."""
    _require_outside(path, store)
    before = ""
    if path.exists():
        if not read_crop_keys(path, store=store).identities:
            raise UsageError(f"{path} holds a public key alone: make the new key where the private one is")
        before = path.read_text(encoding="ascii").rstrip("\n") + "\n"
    identity = x25519.Identity.generate()
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"{before}# public key: {identity.to_public()}\n{identity}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UsageError(f"the key cannot be written to {path} ({error.strerror}): name another file") from error
    return keys_of_text(path.read_text(encoding="ascii"), origin=str(path))
