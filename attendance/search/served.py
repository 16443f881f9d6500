"""The live lookup on a gallery server: its index proposes people, their templates decide, the exact mirror stands by.

The server is asked for more templates than are needed, and whoever owns them is scored exactly, from the templates
that the ledger has of them. So a person whom the index finds gets the very similarity that the mirror would give, and
the only thing that an approximate index can do wrong is to miss somebody. How often it does is measured while it works:
a share of the lookups is answered by the mirror too.

The mirror alone answers while the server is away, silent, made anew, or holds another number of templates than the
mirror. A lookup waits for the server once at most; whether it is back is found out by a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from attendance.errors import AttendanceError, GalleryError
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery, check_queries, mean_direction
from attendance.types import Candidate, Float32, GalleryEntry

logger = logging.getLogger(__name__)

_TEMPLATES_ASKED = 128
_TEMPLATES_PER_PERSON = 16
_JOIN_S = 10.0
_LONGEST_WAIT = 6.0


class Proposer(Protocol):
    """What the live lookup needs of a gallery on a server."""

    def propose(self, query: Float32, *, templates: int) -> list[str]:
        """The owners of about so many templates near the query (D,), nearest first; some may be missed."""

    def templates(self) -> int:
        """How many templates are held."""


class OnCheck(Protocol):
    """Told of cross-checks as they happen."""

    def __call__(self, *, asked: int, agreed: int) -> None:
        """So many lookups were answered twice, and so many of them alike."""


def _tell_nobody(*, asked: int, agreed: int) -> None:
    """Without telemetry the counts are kept here alone."""


@dataclass(frozen=True, slots=True)
class LookupCounts:
    """Lookups since the start: answered with the server, answered by the mirror instead, and the cross-checks.

    ``asked``: lookups by the server that the mirror answered too; ``agreed``: those in which both named the same people
    in the same order.
    """

    by_server: int = 0
    by_mirror: int = 0
    asked: int = 0
    agreed: int = 0

    @property
    def recall(self) -> float | None:
        """Share of the cross-checks in which the server's answer was the exact one; None before the first."""
        return self.agreed / self.asked if self.asked else None


class ServedGallery(Gallery):
    """The gallery port for live lookups on a server, between `start` and `stop`; lookups may come from any thread.

    It is read only. ``open_server``: opens the gallery on the server; raises as `GalleryStore.open` does.
    ``templates_of``: a person's templates as the ledger has them, none when they are not to be recognised.
    ``cross_check``: share of the lookups that the mirror answers too, 0..1, the first one always unless it is 0.
    ``look_s``: seconds between looks whether the server answers and holds as many templates as the mirror; up to six
    times as many while it does not answer.
    ``on_check`` is told of each cross-check.
    """

    def __init__(
        self,
        open_server: Callable[[], AbstractContextManager[Proposer]],
        mirror: ExactGallery,
        *,
        templates_of: Callable[[str], Sequence[GalleryEntry]],
        cross_check: float,
        look_s: float = 5.0,
        on_check: OnCheck = _tell_nobody,
    ) -> None:
        self.card_id = mirror.card_id
        self.dimension = mirror.dimension
        self._open_server = open_server
        self._mirror = mirror
        self._templates_of = templates_of
        self._cross_check = cross_check
        self._look_s = look_s
        self._on_check = on_check
        self._held = ExitStack()
        self._connected: Proposer | None = None
        self._ready: Proposer | None = None
        self._counting = threading.Lock()
        self._counts = LookupCounts()
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="gallery-server", daemon=True)

    @property
    def lookups(self) -> LookupCounts:
        """The counts up to now."""
        return self._counts

    @property
    def serving(self) -> bool:
        """Whether the next lookup goes to the server."""
        return self._ready is not None

    def start(self) -> None:
        """Connect to the server, in a thread; the mirror answers until then."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of the server; may be called twice, and before `start`."""
        self._ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port. Never raises for the server's sake."""
        check_queries(self, queries, k=k)
        server = self._ready
        if server is not None:
            try:
                found = [self._asked(server, query, k=k) for query in queries]
            except GalleryError as error:
                logger.warning("the mirror answers lookups, because: %s", error)
                self._ready = None
                self._wake.set()
            else:
                return self._checked(queries, found, k=k)
        self._count(by_mirror=len(queries))
        return self._mirror.nearest(queries, k=k)

    def _asked(self, server: Proposer, query: Float32, *, k: int) -> list[Candidate]:
        """The k best of whom the server proposes, by their templates; in the mirror's own numbers."""
        ranked = []
        for identity_id in server.propose(query, templates=max(_TEMPLATES_ASKED, _TEMPLATES_PER_PERSON * k)):
            mine = sorted(self._templates_of(identity_id), key=lambda entry: entry.template_id)
            if mine:
                mean = mean_direction(np.stack([entry.vector for entry in mine]))
                ranked.append((-float((mean.astype(np.float64) * query).sum()), identity_id))
        return [Candidate(identity_id, -negative) for negative, identity_id in sorted(ranked)[:k]]

    def _checked(self, queries: Float32, found: list[list[Candidate]], *, k: int) -> list[list[Candidate]]:
        """The answers, the mirror's own where both were asked; counts what was asked and whether they agreed."""
        due = [place for place in range(len(found)) if self._is_due()]
        if not due:
            return found
        for place, exact in zip(due, self._mirror.nearest(queries[due], k=k), strict=True):
            same = [c.identity_id for c in exact] == [c.identity_id for c in found[place]]
            self._count(asked=1, agreed=int(same))
            self._on_check(asked=1, agreed=int(same))
            found[place] = exact
        return found

    def _is_due(self) -> bool:
        """Count a lookup by the server, and say whether the mirror is asked too: evenly, and for the first one."""
        before = self._count(by_server=1).by_server - 1
        return int(before * self._cross_check) < int((before + 1) * self._cross_check) or (
            before == 0 and self._cross_check > 0.0
        )

    def _count(self, *, by_server: int = 0, by_mirror: int = 0, asked: int = 0, agreed: int = 0) -> LookupCounts:
        with self._counting:
            now = self._counts
            self._counts = LookupCounts(
                now.by_server + by_server, now.by_mirror + by_mirror, now.asked + asked, now.agreed + agreed
            )
            return self._counts

    def _run(self) -> None:
        failures = 0
        while not self._ending:
            self._wake.clear()
            try:
                self._look()
                failures = 0
            except AttendanceError as error:
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                logger.log(
                    level, "the gallery's server does not serve lookups (%d times in a row): %s", failures, error
                )
                self._let_go()
            except Exception:
                failures += 1
                logger.exception("the look at the gallery's server met something unforeseen and goes on")
                self._let_go()
            self._rest(self._look_s * min(2.0 ** min(failures, 10), _LONGEST_WAIT), failures)
        self._let_go()

    def _rest(self, wait_s: float, failures: int) -> None:
        """Wait for the next look; a failed lookup ends the wait unless the server is known to be away."""
        end = time.monotonic() + wait_s
        while not self._ending and (left := end - time.monotonic()) > 0.0:
            if self._wake.wait(left) and not failures:
                return
            self._wake.clear()

    def _look(self) -> None:
        if self._connected is None:
            self._connected = self._held.enter_context(self._open_server())
        there, here = self._connected.templates(), self._mirror.counts()[1]
        if there == here and self._ready is None:
            logger.info("the gallery's server answers lookups: %d templates", there)
        if there != here and self._ready is not None:
            logger.warning("the mirror answers lookups: it has %d templates, the gallery's server %d", here, there)
        self._ready = self._connected if there == here else None

    def _let_go(self) -> None:
        self._ready = self._connected = None
        try:
            self._held.close()
        except AttendanceError as error:
            logger.debug("the connection to the gallery's server was closed with: %s", error)

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """Refused: the gallery is changed by writers only."""
        raise GalleryError("live lookups do not change the gallery: open it for writing")

    def remove(self, template_ids: Sequence[str]) -> int:
        """Refused: the gallery is changed by writers only."""
        raise GalleryError("live lookups do not change the gallery: open it for writing")

    def entries(self) -> list[GalleryEntry]:
        """See the port: the mirror's."""
        return self._mirror.entries()

    def counts(self) -> tuple[int, int]:
        """See the port: the mirror's."""
        return self._mirror.counts()

    def state(self) -> object:
        """See the port: the mirror's."""
        return self._mirror.state()
