"""The registry in the ledger: cameras, sites and the kiosks' health, as small versioned documents.

It rests on the port's two primitives: insert if absent, and replace if the version is still the one read.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from attendance.errors import LedgerError
from attendance.ledger.instants import from_text, to_text

_MOMENT = "_at"
_ATTEMPTS = 100


class Register(StrEnum):
    """What is registered; also the name of the table or collection."""

    CAMERAS = "cameras"
    SITES = "sites"
    HEALTH = "health"


COPIED = (Register.CAMERAS, Register.SITES)
"""What a copy of a ledger carries: a kiosk's health is of the moment, and the kiosk writes it anew."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One document: ``version`` counts its writes, from 1.

    ``value`` holds JSON values, and aware UTC datetimes under keys that end in ``_at`` (cut to milliseconds).
    """

    key: str
    version: int
    value: dict[str, Any]


class Registry(ABC):
    """The part of the ledger's port that holds the registry. Failures are `LedgerError`, as everywhere in the port."""

    @abstractmethod
    def registered(self, register: Register) -> list[Registered]:
        """Every document of a register, by key."""

    @abstractmethod
    def put_registered(self, register: Register, document: Registered) -> bool:
        """Insert (version 1) or replace (stored version is ``document.version - 1``); whether it was done."""

    @abstractmethod
    def remove_registered(self, register: Register, key: str, *, version: int) -> bool:
        """Remove a document; whether that version was there."""

    @abstractmethod
    def import_registered(self, register: Register, documents: Sequence[Registered]) -> int:
        """Insert the documents whose keys are not there, whatever their version; how many were inserted."""

    def find_registered(self, register: Register, key: str) -> Registered | None:
        """One document, or None."""
        return next((each for each in self.registered(register) if each.key == key), None)

    def register(self, register: Register, key: str, value: dict[str, Any]) -> Registered:
        """Write a document whatever was there before; what is there now."""
        for _ in range(_ATTEMPTS):
            found = self.find_registered(register, key)
            document = Registered(key, 1, value) if found is None else replace(found, version=found.version + 1)
            document = replace(document, value=value)
            if self.put_registered(register, document):
                return document
        raise LedgerError(f"{register} {key} is being changed by others all the time: try again")

    def deregister(self, register: Register, key: str) -> bool:
        """Remove a document whatever its version; whether there was one."""
        for _ in range(_ATTEMPTS):
            found = self.find_registered(register, key)
            if found is None:
                return False
            if self.remove_registered(register, key, version=found.version):
                return True
        raise LedgerError(f"{register} {key} is being changed by others all the time: try again")


def to_json(value: dict[str, Any]) -> str:
    """A document's value as JSON text, moments as text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_moment_to_text)


def from_json(text: str) -> dict[str, Any]:
    """The value that `to_json` wrote."""
    found: dict[str, Any] = json.loads(text, object_hook=_with_moments)
    return found


def _moment_to_text(value: object) -> str:
    if isinstance(value, datetime):
        return to_text(value)
    raise ValueError(f"a registered value must be JSON or a moment, got {type(value).__name__}")


def _with_moments(found: dict[str, Any]) -> dict[str, Any]:
    return {
        key: from_text(value) if key.endswith(_MOMENT) and isinstance(value, str) else value
        for key, value in found.items()
    }
