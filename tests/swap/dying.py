"""A rotation that is killed at a chosen write to the ledger; in a module that other processes can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from attendance.ledger.sqlite import SqliteLedger
from attendance.protect import TemplateKey
from attendance.space import Space
from attendance.swap import Rotator, finish, prepare, switch
from attendance.types import Person
from tests.enrolled import CARD, DIMENSION, chroma_store

KEY = TemplateKey(bytes(range(32)))
TARGET = Space(CARD, KEY.fingerprint).text


class DyingLedger(SqliteLedger):
    """Kills its process at one write: ``before`` it is done, or when it is done."""

    dies_at = ""
    before = True
    writes = 0

    def replace_person(self, person: Person) -> bool:
        self.writes += 1
        self._may_die(f"person {self.writes}", before=True)
        return super().replace_person(person)

    def put_in_force(self, space: str, *, expected: str) -> bool:
        self._may_die("switch", before=True)
        done = super().put_in_force(space, expected=expected)
        self._may_die("switch", before=False)
        return done

    def _may_die(self, what: str, *, before: bool) -> None:
        if self.dies_at == what and self.before == before:
            os.kill(os.getpid(), signal.SIGKILL)


def rotate(folder: Path, dies_at: str, before: bool, *, keep: bool = False) -> None:
    """Put a key on everybody of a store that has none, as the command does; ``keep`` leaves the way back open."""
    with DyingLedger(folder / "ledger.sqlite", cooldown_s=300.0, time_zones={}) as ledger:
        if not ledger.template_revision().space:
            assert ledger.put_in_force(CARD, expected="")
        ledger.dies_at, ledger.before = dies_at, before
        present = ledger.template_revision().space
        if present == CARD:
            prepare(ledger, Rotator(None, KEY, model=CARD, dimension=DIMENSION), target=TARGET)
            switch(ledger, chroma_store(folder, card_id=TARGET), expected=CARD)
        if not keep:
            finish(ledger)


def go_back(folder: Path, dies_at: str, before: bool) -> None:
    """Put the templates without a key into force again where those with one are, as the command does."""
    with DyingLedger(folder / "ledger.sqlite", cooldown_s=300.0, time_zones={}) as ledger:
        ledger.dies_at, ledger.before = dies_at, before
        if ledger.template_revision().space == TARGET:
            switch(ledger, chroma_store(folder, card_id=CARD), expected=TARGET)
