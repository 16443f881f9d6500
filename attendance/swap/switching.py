"""Putting prepared templates into force.

The ledger's one write decides. The new gallery is built before it and takes the old one's place after it: who dies
before the write leaves the old state, who dies behind it the new one, whose gallery the next writer makes from the
ledger. Where the gallery is embedded all of it happens under its lock, so nobody enrols meanwhile.
"""

from __future__ import annotations

import logging

from attendance.errors import GalleryGoneError, UsageError
from attendance.gallery import entries_of, reconcile
from attendance.ledger.port import Ledger
from attendance.search.port import GalleryStore
from attendance.space import Space
from attendance.swap.preparing import Waiting, lacking

logger = logging.getLogger(__name__)

_BATCH = 2000


def switch(ledger: Ledger, store: GalleryStore, *, expected: str, drop: bool = False) -> list[Waiting]:
    """Put the templates of the space of ``store`` into force where ``expected`` is; who is recognised no more by it.

    UsageError, and nothing changes, where somebody would be recognised no more and ``drop`` does not say so, and where
    another space was put into force meanwhile. Whoever is dropped stays enrolled with what is shelved of them.
    """
    waiting: list[Waiting] = []
    alone = True
    try:
        with store.replacement() as gallery:
            alone = gallery.exclusive
            people = ledger.people()
            waiting = lacking(people, target=store.card_id)
            active = [each for each in waiting if not each.deactivated]
            if active and not drop:
                raise UsageError(
                    f"{len(active)} people have no templates of {_shown(store.card_id)}, the first is "
                    f"{active[0].identity_id}: give the folder of their photos, or leave them out with --drop"
                )
            if active and len(active) == sum(bool(p.templates) and p.deactivated_at is None for p in people):
                raise UsageError(f"nobody would be recognised with {_shown(store.card_id)}: give the folder of photos")
            absent = {each.identity_id for each in waiting}
            entries = [e for p in people if p.identity_id not in absent for e in entries_of(p, store.card_id)]
            for start in range(0, len(entries), _BATCH):
                gallery.upsert(entries[start : start + _BATCH])
            if not ledger.put_in_force(store.card_id, expected=expected):
                raise UsageError("somebody else changed which templates are in force meanwhile: run it again")
    except GalleryGoneError as error:
        if alone:
            raise
        logger.info("another gallery overtook this one: %s", error)
    if not alone:
        with store.open() as present:
            reconcile(ledger, present)
    return waiting


def _shown(space: str) -> str:
    found = Space.of(space)
    return f"{found.model} with key {found.key}" if found.key else found.model
