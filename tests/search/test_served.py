"""Live lookups by a gallery server: exact for whom it proposes, measured, and the mirror's where it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest

from attendance.errors import GalleryError, GalleryUnavailableError, ModelMismatchError
from attendance.search.exact import ExactGallery
from attendance.search.served import LookupCounts, Proposer, ServedGallery
from attendance.types import GalleryEntry
from tests.enrolled import CARD, DIMENSION, vector
from tests.search.server import ChromaServer

PEOPLE = 60


def templates_of(identity_id: str) -> list[GalleryEntry]:
    """Three templates of each of person-000 to person-059, the last of them not to be recognised."""
    number = int(identity_id.removeprefix("person-"))
    if number == PEOPLE - 1:
        return []
    return [GalleryEntry(f"t-{number:03d}-{n}", identity_id, vector(10 * number + n)) for n in range(3)]


NAMES = [f"person-{number:03d}" for number in range(PEOPLE)]
EVERYTHING = [entry for name in NAMES for entry in templates_of(name)]


class Fake:
    """A server that proposes what it is told to, and counts as many templates as it is told."""

    def __init__(self) -> None:
        self.people: list[str] = NAMES
        self.held = len(EVERYTHING)
        self.trouble: GalleryError | ModelMismatchError | None = None
        self.opened = self.closed = 0

    @contextmanager
    def open(self) -> Iterator[Proposer]:
        self._fail()
        self.opened += 1
        yield self
        self.closed += 1

    def propose(self, query: object, *, templates: int) -> list[str]:
        self._fail()
        return self.people

    def templates(self) -> int:
        self._fail()
        return self.held

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def mirror() -> ExactGallery:
    gallery = ExactGallery(CARD, DIMENSION)
    gallery.upsert(EVERYTHING)
    return gallery


Start = Callable[..., ServedGallery]


@pytest.fixture
def start(mirror: ExactGallery) -> Iterator[Start]:
    """Starts a served gallery over an open server and waits until it serves, unless told otherwise."""
    started: list[ServedGallery] = []

    def begin(
        open_server: Callable[[], AbstractContextManager[Proposer]],
        *,
        cross_check: float = 0.0,
        ready: bool = True,
        **more: Any,
    ) -> ServedGallery:
        served = ServedGallery(
            open_server, mirror, templates_of=templates_of, cross_check=cross_check, look_s=0.02, **more
        )
        started.append(served)
        served.start()
        if ready:
            eventually(lambda: served.serving)
        return served

    yield begin
    for served in started:
        served.stop()
        served.stop()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def queries(count: int, first: int = 5000) -> np.ndarray:
    return np.stack([vector(first + n) for n in range(count)])


def test_whoever_is_proposed_scores_as_in_the_mirror_to_the_last_bit(start: Start, mirror: ExactGallery) -> None:
    fake = Fake()
    served = start(fake.open)
    asked = queries(40)
    assert served.nearest(asked, k=4) == mirror.nearest(asked, k=4)
    assert served.lookups == LookupCounts(by_server=40)
    assert served.lookups.recall is None
    fake.people = ["person-059", "person-007", "person-003"]
    found = served.nearest(vector(71)[None], k=5)[0]
    assert {candidate.identity_id for candidate in found} == {"person-007", "person-003"}
    assert found[0] == mirror.nearest(vector(71)[None], k=1)[0][0]
    fake.people = []
    assert served.nearest(vector(71)[None], k=2) == [[]]


@pytest.mark.parametrize(("share", "lookups", "asked"), [(1.0, 10, 10), (0.1, 40, 5), (0.05, 10, 1), (0.0, 10, 0)])
def test_a_share_of_the_lookups_is_cross_checked(start: Start, share: float, lookups: int, asked: int) -> None:
    served = start(Fake().open, cross_check=share)
    for number in range(lookups):
        served.nearest(vector(number)[None], k=2)
    assert served.lookups == LookupCounts(by_server=lookups, asked=asked, agreed=asked)
    assert served.lookups.recall == (1.0 if asked else None)


def test_a_miss_shows_in_the_recall_and_the_exact_answer_is_given(start: Start, mirror: ExactGallery) -> None:
    fake = Fake()
    told: list[tuple[int, int]] = []
    served = start(fake.open, cross_check=0.5, on_check=lambda *, asked, agreed: told.append((asked, agreed)))
    fake.people = [name for name in NAMES if name != "person-004"]
    asked = np.repeat(vector(40)[None], 4, axis=0)
    found = served.nearest(asked, k=1)
    missed = [answer[0].identity_id != "person-004" for answer in found]
    # The first, the second and the fourth were asked of the mirror too.
    assert missed == [False, False, True, False]
    assert (served.lookups.asked, served.lookups.agreed, served.lookups.recall) == (3, 0, 0.0)
    assert told == [(1, 0)] * 3


@pytest.mark.parametrize("trouble", [GalleryUnavailableError("away"), ModelMismatchError("other"), GalleryError("x")])
def test_the_mirror_answers_while_the_server_cannot(start: Start, mirror: ExactGallery, trouble: GalleryError) -> None:
    fake = Fake()
    fake.trouble = trouble
    served = start(fake.open, ready=False)
    asked = queries(5)
    assert served.nearest(asked, k=3) == mirror.nearest(asked, k=3)
    assert served.lookups == LookupCounts(by_mirror=5)
    fake.trouble = None
    eventually(lambda: served.serving)
    served.nearest(asked, k=3)
    assert served.lookups == LookupCounts(by_server=5, by_mirror=5)


def test_a_lookup_that_fails_is_answered_and_the_next_do_not_wait(start: Start, mirror: ExactGallery) -> None:
    fake = Fake()
    served = start(fake.open)
    fake.trouble = GalleryUnavailableError("killed")
    for _ in range(3):
        assert served.nearest(vector(8)[None], k=2) == mirror.nearest(vector(8)[None], k=2)
        assert not served.serving
    assert served.lookups == LookupCounts(by_mirror=3)
    eventually(lambda: fake.closed == 1)
    fake.trouble = None
    eventually(lambda: served.serving)
    assert fake.opened == 2


def test_the_mirror_answers_while_the_server_holds_more_or_less(start: Start) -> None:
    fake = Fake()
    served = start(fake.open)
    for held in (len(EVERYTHING) - 1, 0, len(EVERYTHING) + 3):
        fake.held = held
        eventually(lambda: not served.serving)
        served.nearest(vector(1)[None], k=1)
        fake.held = len(EVERYTHING)
        eventually(lambda: served.serving)
    assert served.lookups == LookupCounts(by_mirror=3)
    assert fake.opened == 1


def test_it_counts_what_the_mirror_has_and_changes_nothing(start: Start, mirror: ExactGallery) -> None:
    served = start(Fake().open)
    assert served.counts() == mirror.counts() == (PEOPLE - 1, len(EVERYTHING))
    assert [entry.template_id for entry in served.entries()] == [entry.template_id for entry in mirror.entries()]
    with pytest.raises(GalleryError, match="do not change"):
        served.upsert(EVERYTHING[:1])
    with pytest.raises(GalleryError, match="do not change"):
        served.remove(["t-000-0"])
    with pytest.raises(GalleryError):
        served.nearest(vector(1)[None], k=0)


def test_it_lets_go_of_the_server_and_may_be_stopped_before_it_started(mirror: ExactGallery) -> None:
    fake = Fake()
    served = ServedGallery(fake.open, mirror, templates_of=templates_of, cross_check=0.1, look_s=0.02)
    served.stop()
    served = ServedGallery(fake.open, mirror, templates_of=templates_of, cross_check=0.1, look_s=0.02)
    served.start()
    eventually(lambda: served.serving)
    served.stop()
    assert (fake.opened, fake.closed, served.serving) == (1, 1, False)


def test_lookups_of_several_threads_are_all_counted(start: Start) -> None:
    served = start(Fake().open, cross_check=0.25)

    def look_up(seeds: Sequence[int]) -> None:
        for seed in seeds:
            served.nearest(vector(seed)[None], k=2)

    threads = [threading.Thread(target=look_up, args=(range(10),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.lookups == LookupCounts(by_server=40, asked=11, agreed=11)


def test_a_real_server_killed_and_started_again(own_server: ChromaServer, start: Start, mirror: ExactGallery) -> None:
    store = own_server.store(timeout_s=5.0)
    with store.replacement() as gallery:
        gallery.upsert(EVERYTHING)
    served = start(store.open, cross_check=1.0)
    asked = queries(20)
    assert served.nearest(asked, k=2) == mirror.nearest(asked, k=2)
    assert served.lookups == LookupCounts(by_server=20, asked=20, agreed=20)
    own_server.kill()
    assert served.nearest(asked, k=2) == mirror.nearest(asked, k=2)
    assert served.lookups.by_mirror == 20
    own_server.start()
    eventually(lambda: served.serving)
    assert served.nearest(asked[:1], k=2) == mirror.nearest(asked[:1], k=2)
    assert served.lookups.by_server == 21
