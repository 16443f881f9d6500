"""Several writers on one gallery server and one ledger: the gallery ends up saying what the ledger says."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import GalleryError, GalleryUnavailableError
from attendance.gallery import PersonChange, apply_changes, open_for_writing, rebuild, verify
from attendance.ledger.port import Ledger
from attendance.search.chroma import ServerStore
from attendance.search.port import Gallery
from tests.enrolled import open_ledger, person
from tests.search.server import ChromaServer
from tests.search.writing import change_at_random, enrol

WRITERS = 3


def assert_agrees(folder: Path, store: ServerStore) -> int:
    """Compare without bringing anything up; the number of people."""
    with open_ledger(folder) as ledger, store.open() as gallery:
        found = verify(ledger, gallery)
        assert found.clean, str(found)
        return len(ledger.people())


def in_threads(acts: list[Callable[[], object]]) -> None:
    """Run all at once; the first error of any is raised."""
    with ThreadPoolExecutor(len(acts)) as pool:
        for future in [pool.submit(act) for act in acts]:
            future.result()


def test_threads_that_change_the_same_people_while_the_gallery_is_made_anew(
    tmp_path: Path, server: ChromaServer, collection: str
) -> None:
    store = server.store(collection=collection)

    def make_anew() -> None:
        with open_ledger(tmp_path) as ledger:
            for _ in range(2):
                rebuild(ledger, store)

    open_ledger(tmp_path).close()
    writers = [lambda seed=seed: change_at_random(tmp_path, store, seed=seed, changes=12) for seed in range(WRITERS)]
    in_threads([*writers, make_anew])
    assert_agrees(tmp_path, store)


def test_processes_that_all_begin_on_a_server_without_a_gallery(
    tmp_path: Path, server: ChromaServer, collection: str
) -> None:
    store = server.store(collection=collection)
    open_ledger(tmp_path).close()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromadb", "tests.search.writing"])
    processes = [
        context.Process(target=enrol, args=(tmp_path, store.url, collection, 100 * turn, 10)) for turn in range(WRITERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    # Five of each one's ten are the same people, whom only one of them inserts.
    assert assert_agrees(tmp_path, store) == WRITERS * 5 + 5


def enrol_until_it_fails(ledger: Ledger, gallery: Gallery, *, then: Callable[[], None]) -> int:
    """Enrol person after person; ``then`` is started in a thread after the third. How many were enrolled for sure."""
    killer = threading.Thread(target=then)
    enrolled: list[int] = []

    def enrol_for_ever() -> None:
        for number in itertools.count():
            apply_changes(ledger, gallery, [PersonChange(None, person(number, templates=12))])
            enrolled.append(number)
            if len(enrolled) == 3:
                killer.start()

    with pytest.raises(GalleryUnavailableError):
        enrol_for_ever()
    killer.join()
    return len(enrolled)


def test_a_server_that_is_killed_in_the_middle_of_writes_and_one_that_lost_everything(
    tmp_path: Path, own_server: ChromaServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = own_server.store()
    with open_ledger(tmp_path) as ledger:
        with open_for_writing(ledger, store) as gallery:
            enrolled = enrol_until_it_fails(ledger, gallery, then=own_server.kill)
        assert ledger.template_revision().pending
        with pytest.raises(GalleryUnavailableError), open_for_writing(ledger, store):
            pytest.fail("opened")
        own_server.start()
        with open_for_writing(ledger, store) as gallery:
            assert verify(ledger, gallery).clean
            assert gallery.counts()[0] == len(ledger.people()) >= enrolled
        assert not ledger.template_revision().pending
        own_server.kill()
        own_server.empty()
        own_server.start()
        caplog.clear()
        with open_for_writing(ledger, store) as gallery:
            assert verify(ledger, gallery).clean
        assert "found none: rebuild it from the ledger" in caplog.text


def test_a_template_that_the_server_changed_is_put_right(tmp_path: Path, server: ChromaServer, collection: str) -> None:
    store = server.store(collection=collection)
    with open_ledger(tmp_path) as ledger:
        with open_for_writing(ledger, store) as gallery:
            apply_changes(ledger, gallery, [PersonChange(None, person(n)) for n in range(4)])
            turned = [replace(entry, vector=np.roll(entry.vector, 1)) for entry in gallery.entries()[:2]]
            gallery.upsert(turned)
            assert verify(ledger, gallery).different == tuple(entry.template_id for entry in turned)
        with open_for_writing(ledger, store) as gallery:
            assert verify(ledger, gallery).clean


def test_a_rebuild_that_fails_keeps_the_old_gallery(tmp_path: Path, server: ChromaServer, collection: str) -> None:
    store = server.store(collection=collection, owner="ledger-1")
    with open_ledger(tmp_path) as ledger:
        with open_for_writing(ledger, store) as gallery:
            apply_changes(ledger, gallery, [PersonChange(None, person(1))])
        with pytest.raises(GalleryError, match="another ledger"):
            rebuild(ledger, replace(store, owner="ledger-2"))
        assert rebuild(ledger, store) == 3
    assert assert_agrees(tmp_path, store) == 1
