"""The keys that templates are protected with: 32 random bytes each, in a file that its owner alone can read.

A line ``ATK1-<fingerprint>-<64 hex digits>`` is a key; lines that begin with # are notes. A file holds several while a
rotation is under way: which of them is in force, the ledger says by the fingerprint.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attendance.errors import ModelError, UsageError

KEY_BYTES = 32
_LINE = re.compile(r"ATK1-(?P<fingerprint>[0-9a-f]{16})-(?P<secret>[0-9a-f]{64})")
_FINGERPRINT = b"attendance template key, fingerprint v1\0"

HOW_TO_GET_ONE = "make one with `python -m attendance protect new-key FILE`"


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """A secret of 32 bytes. Its ``fingerprint`` may be known to everybody: it tells keys apart and gives none away."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a template key has {KEY_BYTES} bytes, got {len(self.secret)}")

    @property
    def fingerprint(self) -> str:
        """The first 64 bits of a SHA-256 of the key, as 16 hex digits."""
        return hashlib.sha256(_FINGERPRINT + self.secret).hexdigest()[:16]


def read_keys(path: Path) -> tuple[TemplateKey, ...]:
    """The keys of a file in order, one at least.

    UsageError for a file that is missing, that others than its owner can read or write, or that holds anything else.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"model.template_key_file must be a readable file of template keys, got {path} ({error}): {HOW_TO_GET_ONE}"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"model.template_key_file {path} must be its owner's alone (mode 0600), got {stat.S_IMODE(mode):04o}: "
            f"chmod 600 {path}, and rotate the key if somebody else may have read it"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    keys = tuple(_key_of(line, path) for line in lines)
    if not keys:
        raise UsageError(f"model.template_key_file {path} must hold a key, got none: {HOW_TO_GET_ONE}")
    return keys


def _key_of(line: str, path: Path) -> TemplateKey:
    found = _LINE.fullmatch(line)
    key = None if found is None else TemplateKey(bytes.fromhex(found["secret"]))
    if found is None or key is None or key.fingerprint != found["fingerprint"]:
        raise UsageError(
            f"model.template_key_file {path} must hold lines of ATK1-<fingerprint>-<key>, got one that is none, or "
            f"whose key is damaged: take another copy of the file, or {HOW_TO_GET_ONE}"
        )
    return key


def key_named(keys: Sequence[TemplateKey], fingerprint: str, *, path: Path | None) -> TemplateKey | None:
    """The key with this fingerprint, None for the empty one; ModelError where ``keys``, those of ``path``, lack it."""
    if not fingerprint:
        return None
    found = next((key for key in keys if key.fingerprint == fingerprint), None)
    if found is None:
        held = ", ".join(key.fingerprint for key in keys)
        got = "no key file is configured" if path is None else f"{path} holds {held}"
        raise ModelError(
            f"the templates are protected with key {fingerprint}, {got}: name the file that holds {fingerprint} as "
            "model.template_key_file"
        )
    return found


def add_key(path: Path) -> TemplateKey:
    """Make a new key and put it behind those of the file, or into a new file (mode 0600); UsageError where it cannot.

    The file is replaced as a whole, so no key is ever lost halfway.
    """
    before = ""
    if path.exists():
        read_keys(path)
        before = path.read_text(encoding="ascii")
        before += "" if before.endswith("\n") else "\n"
    key = TemplateKey(secrets.token_bytes(KEY_BYTES))
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"{before}ATK1-{key.fingerprint}-{key.secret.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.absolute().parent)
    except OSError as error:
        raise UsageError(f"the key cannot be written to {path} ({error.strerror}): name another file") from error
    return key


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
