"""The keys of a kiosk, and which keys the ledger may hold for it."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from attendance.config.base import Real, Section, Whole

KIOSK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
EVERY_KIOSK = "*"

# What a program needs before it reaches the ledger, and what all programs on a ledger must agree on.
_ELSEWHERE = {
    "store": "it is the machine's own: set it in the kiosk's file or with --store",
    "ledger": "it is needed to reach the ledger: set it in the kiosk's file",
    "kiosk": "it is the kiosk's own: set it in the kiosk's file",
    "service": "it is not a kiosk's: set it in the service's file",
    "attendance": "every program on the ledger must count alike: set it in the file of each",
    "cameras": "cameras are registered: python -m attendance cameras set",
    "sites": "sites are registered: python -m attendance sites set",
}


class KioskSection(Section):
    """This machine as a kiosk among others on one ledger."""

    id: str = Field(
        default="",
        description="Name under which the ledger holds this kiosk's settings, cameras and health; "
        "empty: the host's name.",
    )
    health_s: Real = Field(
        default=10.0, ge=1.0, le=3600.0, description="Seconds between two notes of its health in the ledger."
    )
    most_waiting: Whole = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Results that may wait for a slow ledger or events file; a punch beyond is not recorded.",
    )
    end_s: Real = Field(
        default=10.0,
        ge=0.0,
        le=600.0,
        description="Seconds at the end in which the frame in work is finished and waiting results are stored.",
    )

    @field_validator("id")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value and KIOSK_ID.fullmatch(value) is None:
            raise ValueError("expected up to 64 letters, digits, dots, dashes or underlines, a letter or digit first")
        return value

    @property
    def name(self) -> str:
        """The configured id, or the host's name made valid."""
        return self.id if self.id else valid_name(socket.gethostname())


def valid_name(host: str) -> str:
    """A host's name as an id: other signs become dashes, 64 characters at most; ``kiosk`` where nothing is left."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", host).lstrip("._-")[:64]
    return name if name else "kiosk"


def fault_of(key: str, sections: Mapping[str, Any], secrets: tuple[str, ...]) -> str | None:
    """Why the ledger may not hold this dotted key for a kiosk, or None. ``sections`` maps names to models."""
    section, _, name = key.partition(".")
    if section in _ELSEWHERE:
        return f"the ledger holds no such key: {_ELSEWHERE[section]}"
    if section not in sections:
        return f"unknown section; known here: {', '.join(each for each in sections if each not in _ELSEWHERE)}"
    known = sections[section].annotation.model_fields
    if name not in known:
        return f"unknown key; known here: {', '.join(known)}"
    if key in secrets or name == "url" or name.endswith(("_file", "token", "password")):
        return "addresses, files and secrets are the machine's own: set it in the kiosk's file"
    return None
