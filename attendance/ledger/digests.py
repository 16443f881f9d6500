"""Digests by which two ledgers are compared without carrying their records across: the same for every adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from attendance.ledger import rows
from attendance.types import Person

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Digest:
    """How many records, and the SHA-256 (hex) of all their fields in order."""

    count: int
    sha256: str


def digest_of(records: Iterable[Sequence[Any]]) -> Digest:
    """The digest of records given as tuples of text, whole numbers, float64 numbers, bytes and None.

    The values and their order are those of `rows`: moments as text in milliseconds, vectors as little-endian float32.
    """
    count = 0
    found = hashlib.sha256()
    rest = iter(records)
    while batch := [repr(tuple(record)) for record in islice(rest, _BATCH)]:
        count += len(batch)
        found.update(("\n".join(batch) + "\n").encode("utf-8", "surrogatepass"))
    return Digest(count, found.hexdigest())


def people_digest(people: Iterable[Person]) -> Digest:
    """The digest of people with all their templates, in the order given."""
    return digest_of(
        (
            *rows.person_row(person),
            *rows.template_rows(person),
            *(("rejected", *row) for row in rows.rejected_rows(person)),
        )
        for person in people
    )
