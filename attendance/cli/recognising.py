"""What recognises in a running kiosk, and its changing over to other templates without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attendance.app import App
from attendance.errors import LedgerUnavailableError
from attendance.kept_mirror import MirrorKeeper
from attendance.mirror import MirrorFollower
from attendance.pipeline import CameraPath
from attendance.search.port import Gallery
from attendance.space import Space
from attendance.swap import Turner, TurningPath
from attendance.types import Person

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Recognising:
    """An app with its mirror, which follows the ledger, and the gallery that answers lookups."""

    app: App
    follower: MirrorFollower
    gallery: Gallery

    @property
    def space(self) -> str:
        """The space of the templates."""
        return self.app.space.text

    @property
    def in_force(self) -> str:
        """What the ledger had in force at the follower's last look."""
        return self.follower.space

    def stop(self) -> None:
        """Follow no more."""
        self.follower.stop()


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """Who is enrolled, as what recognises at present knows it."""

    turner: Turner[Recognising]

    @property
    def people(self) -> Mapping[str, Person]:
        """Identity id to person."""
        return self.turner.current.follower.people

    @property
    def revision(self) -> int:
        """The template revision this is the state of."""
        return self.turner.current.follower.revision


def recognising(app: App, *, keeper: MirrorKeeper | None) -> Recognising:
    """Load the mirror and follow; the mirror alone answers where the ledger cannot say whose a server's gallery is."""
    follower = app.follower(keeper=keeper)
    try:
        return Recognising(app, follower, app.live_gallery(follower))
    except LedgerUnavailableError as error:
        _log.warning("the mirror alone answers lookups until the next start, because: %s", error)
        return Recognising(app, follower, follower.mirror)


def turner_of(app: App, *, keeper: MirrorKeeper | None, tell: Callable[[str], None]) -> Turner[Recognising]:
    """What recognises with ``app``, and what takes its place; ``tell`` is told of changes and of what is missing."""

    def load(present: Recognising, space: str) -> Recognising:
        other = app.turned(Space.of(space))
        # The networks first: where they cannot be loaded, nothing else was begun.
        other.reader.detector  # noqa: B018
        made = recognising(other, keeper=keeper)
        present.app.keeps_mirror = False
        return made

    return Turner(recognising(app, keeper=keeper), load, tell=tell)


def path_of(turner: Turner[Recognising]) -> TurningPath[Recognising]:
    """The path of one camera."""
    tracker = turner.current.app.tracker()

    def make(present: Recognising) -> CameraPath:
        return present.app.live_path(present.gallery, people=lambda: present.follower.people, tracker=tracker)

    return TurningPath(turner, make)
