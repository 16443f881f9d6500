"""Spaces of templates: vectors can only be compared where one model made them and one key turned them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WITH_KEY = re.compile(r"(?P<model>.+)@(?P<key>[0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Space:
    """A model's id, and the fingerprint of the key that its vectors are turned with; empty: they are not.

    ``text`` is what templates and galleries carry as their ``card_id``: the model's id alone without a key.
    """

    model: str
    key: str = ""

    @property
    def text(self) -> str:
        """``model`` or ``model@fingerprint``."""
        return f"{self.model}@{self.key}" if self.key else self.model

    @classmethod
    def of(cls, text: str) -> Space:
        """The space that ``text`` names."""
        found = _WITH_KEY.fullmatch(text)
        return cls(text) if found is None else cls(found["model"], found["key"])


def mismatch(found: str, wanted: str) -> str:
    """A sentence on templates of the space ``found`` where ``wanted`` was asked for, and what to do."""
    here, asked = Space.of(found), Space.of(wanted)
    if here.model != asked.model:
        return (
            f"the ledger holds templates of model {here.model}, asked for is {asked.model}: set model.id to "
            f"{here.model}, or enrol everybody into another --store"
        )
    if not here.key:
        return (
            f"the ledger holds templates that no key protects, asked for are those of key {asked.key}: protect them "
            "with `python -m attendance protect rotate`"
        )
    return (
        f"the ledger holds templates that are protected with key {here.key}, asked for are those of "
        f"{'key ' + asked.key if asked.key else 'no key'}: name the file with key {here.key} as model.template_key_file"
    )
