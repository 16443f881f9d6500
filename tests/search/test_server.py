"""The gallery on a Chroma server: shared by writers, replaced as one, and never waited for without an end."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from attendance.errors import GalleryError, GalleryGoneError, GalleryUnavailableError, ModelMismatchError
from attendance.search.chroma import GraphSettings, ServerStore
from attendance.types import GalleryEntry
from tests.enrolled import CARD, DIMENSION, vector
from tests.search.server import ChromaServer


def entry(number: int) -> GalleryEntry:
    return GalleryEntry(f"t-{number:03d}", f"person-{number:03d}", vector(number))


@pytest.fixture
def store(server: ChromaServer, collection: str) -> ServerStore:
    """A gallery of 50 people."""
    made = server.store(collection=collection, owner="ledger-1")
    with made.replacement() as gallery:
        gallery.upsert([entry(number) for number in range(50)])
    return made


def collections_of(store: ServerStore) -> list[dict[str, Any]]:
    """What anybody sees who asks the server, in the order of their names."""
    address = f"{store.url}/api/v2/tenants/default_tenant/databases/default_database/collections"
    listed = httpx.get(address, params={"limit": 1000}).json()
    return sorted((each for each in listed if each["name"].startswith(store.collection)), key=lambda each: each["name"])


def test_what_was_written_is_there_after_reopening(store: ServerStore) -> None:
    with store.open() as gallery:
        assert not gallery.exclusive
        gallery.remove(["t-007"])
        gallery.upsert([entry(100)])
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)
        assert gallery.templates() == 50
        held = {each.template_id: each for each in gallery.entries()}
        assert "t-007" not in held
        np.testing.assert_allclose(held["t-100"].vector, vector(100), atol=1e-6)
        assert gallery.nearest(vector(100)[None], k=1)[0][0].identity_id == "person-100"
        assert gallery.propose(vector(100), templates=5)[0] == "person-100"


def test_cosine_no_embedding_function_and_the_settings_are_on_record(store: ServerStore) -> None:
    (found,) = collections_of(store)
    assert found["name"].startswith(f"{store.collection}-00000001-")
    configuration = found["configuration_json"]
    assert configuration["embedding_function"] in (None, {"type": "legacy"})
    expected = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 400}
    assert configuration["hnsw"] | expected == configuration["hnsw"]
    known = {"card_id": CARD, "dimension": DIMENSION, "complete": True, "owner": "ledger-1"}
    assert found["metadata"] | known == found["metadata"]


def test_another_breadth_of_the_search_is_taken_over_and_another_graph_is_told(store: ServerStore) -> None:
    changed = replace(store, settings=GraphSettings(max_neighbors=16, ef_search=123))
    with changed.open() as gallery:
        assert gallery.fault is not None and "max_neighbors 32 instead of 16" in gallery.fault
        assert "gallery rebuild" in gallery.fault
    (found,) = collections_of(store)
    assert found["configuration_json"]["hnsw"]["ef_search"] == 123


def test_another_model_is_refused_with_what_to_do(store: ServerStore) -> None:
    for other in (replace(store, card_id="card-b"), replace(store, dimension=8)):
        with (
            pytest.raises(ModelMismatchError, match=r"built with model card-a .*set model\.id to card-a"),
            other.open(),
        ):
            pytest.fail("opened")


def test_another_ledgers_gallery_is_neither_opened_nor_replaced(store: ServerStore) -> None:
    other = replace(store, owner="ledger-2")
    with pytest.raises(GalleryError, match=r"another ledger.*search\.collection"), other.open():
        pytest.fail("opened")
    with pytest.raises(GalleryError, match=r"another ledger.*search\.collection"), other.replacement():
        pytest.fail("replaced")
    assert len(collections_of(store)) == 1


def test_two_galleries_on_one_server_do_not_see_each_other(store: ServerStore) -> None:
    # The longer name begins with the shorter one.
    other = replace(store, collection=f"{store.collection}-00000001", owner="ledger-2")
    assert not other.exists()
    with other.replacement() as gallery:
        gallery.upsert([entry(1)])
    with other.open() as mine, store.open() as first:
        assert (mine.counts(), first.counts()) == ((1, 1), (50, 50))


def test_where_there_is_none_it_must_be_made(server: ChromaServer, collection: str) -> None:
    store = server.store(collection=collection)
    assert not store.exists()
    with pytest.raises(GalleryGoneError, match="found none: rebuild it from the ledger"), store.open():
        pytest.fail("opened")
    with store.replacement():
        pass
    assert store.exists()


def test_the_old_one_serves_until_the_new_one_is_complete(store: ServerStore) -> None:
    with store.replacement() as new:
        new.upsert([entry(1)])
        with store.open() as old:
            assert old.counts() == (50, 50)
        assert len(collections_of(store)) == 2
    with store.open() as gallery:
        assert gallery.counts() == (1, 1)
    assert len(collections_of(store)) == 1


def test_a_replacement_that_fails_leaves_the_old_one_alone(store: ServerStore) -> None:
    def fail() -> None:
        with store.replacement() as new:
            new.upsert([entry(1)])
            raise RuntimeError("the builder failed")

    with pytest.raises(RuntimeError, match="the builder failed"):
        fail()
    assert len(collections_of(store)) == 1
    with store.open() as gallery:
        assert gallery.counts() == (50, 50)


def test_whoever_holds_the_old_one_goes_on_with_the_new_one(store: ServerStore) -> None:
    with store.open() as held:
        with store.replacement() as new:
            new.upsert([entry(1)])
        held.upsert([entry(2)])
        assert held.remove(["t-001", "t-049"]) == 1
        assert [each.template_id for each in held.entries()] == ["t-002"]
    with store.open() as gallery:
        assert gallery.counts() == (1, 1)


def test_of_two_replacements_at_once_the_one_begun_later_stays(store: ServerStore) -> None:
    def overtaken() -> None:
        with store.replacement() as early:
            early.upsert([entry(1)])
            with store.replacement() as late:
                late.upsert([entry(2), entry(3)])
            early.upsert([entry(4)])

    with pytest.raises(GalleryGoneError):
        overtaken()
    with store.open() as gallery:
        assert [each.template_id for each in gallery.entries()] == ["t-002", "t-003"]
    with ExitStack() as late:
        with store.replacement() as early:
            late.enter_context(store.replacement()).upsert([entry(5)])
            early.upsert([entry(6)])
        with store.open() as gallery:
            assert [each.template_id for each in gallery.entries()] == ["t-006"]
    with store.open() as gallery:
        assert [each.template_id for each in gallery.entries()] == ["t-005"]
    assert len(collections_of(store)) == 1


def test_a_draft_that_was_abandoned_goes_after_a_day_and_a_fresh_one_stays(store: ServerStore) -> None:
    draft = store.replacement()
    draft.__enter__()
    with replace(store, now=lambda: store.now() + 3600.0).open():
        assert len(collections_of(store)) == 2
    with replace(store, now=lambda: store.now() + 25 * 3600.0).open():
        assert len(collections_of(store)) == 1
    with pytest.raises(GalleryGoneError):
        draft.__exit__(None, None, None)


def test_a_server_that_is_not_there(collection: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        store = ServerStore(f"http://127.0.0.1:{taken.getsockname()[1]}", CARD, DIMENSION, collection)
        for act in (store.open, store.replacement):
            with (
                pytest.raises(GalleryUnavailableError, match=r"connect to http://127.*does not answer.*search\.url"),
                act(),
            ):
                pytest.fail("opened")
        with pytest.raises(GalleryUnavailableError):
            store.exists()


def test_a_server_that_accepts_and_says_nothing(collection: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        store = ServerStore(f"http://127.0.0.1:{silent.getsockname()[1]}", CARD, DIMENSION, collection, timeout_s=0.2)
        with pytest.raises(GalleryUnavailableError, match="timed out"), store.open():
            pytest.fail("opened")


class _Otherwise(http.server.BaseHTTPRequestHandler):
    """Answers as something that is no Chroma server: by the port's owner, or for a proxy whose server is away."""

    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


class _Busy(_Otherwise):
    status = 503


@pytest.fixture(params=[_Otherwise, _Busy])
def stranger(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", request.param.status
        listening.shutdown()
        thread.join()


def test_something_else_at_the_address_is_told(stranger: tuple[str, int]) -> None:
    url, status = stranger
    store = ServerStore(url, CARD, DIMENSION)
    expected = GalleryUnavailableError if status == 503 else GalleryError
    with pytest.raises(expected, match=str(status)) as raised, store.open():
        pytest.fail("opened")
    assert type(raised.value) is expected


def test_paused_and_killed_while_it_is_open(own_server: ChromaServer) -> None:
    store = own_server.store(timeout_s=0.5)
    with store.replacement() as gallery:
        gallery.upsert([entry(number) for number in range(50)])
    patient = replace(store, timeout_s=20.0)
    with store.open() as gallery, patient.open() as survivor:
        own_server.pause()
        for act in (gallery.counts, gallery.entries):
            with pytest.raises(GalleryUnavailableError, match="timed out"):
                act()
        own_server.go_on()
        assert survivor.counts() == (50, 50)
        own_server.kill()
        with pytest.raises(GalleryUnavailableError, match="does not answer"):
            survivor.upsert([entry(60)])
        own_server.start()
        survivor.upsert([entry(61)])
        assert survivor.counts() == (51, 51)


def test_a_gallery_that_is_lost_while_it_is_open(store: ServerStore) -> None:
    with store.open() as gallery:
        (found,) = collections_of(store)
        httpx.delete(
            f"{store.url}/api/v2/tenants/default_tenant/databases/default_database/collections/{found['name']}"
        )
        with pytest.raises(GalleryGoneError, match="found none: rebuild it"):
            gallery.upsert([entry(62)])
