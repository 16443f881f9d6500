"""The gallery on a Chroma server, where several writers and many readers share it.

There is no lock. What keeps the gallery right is the order of a change (ledger first, then gallery, then a look whether
the ledger moved meanwhile: attendance/gallery.py) and that a gallery made anew is a collection of its own:

- Collections are named ``<collection>-<number>-<random>``. One counts from the moment when its metadata say
  ``complete``, which the server changes as one; of several complete ones the last by number and name is the gallery.
- Whoever completes one removes all that come before it. A writer that still holds one of those is told by the server
  that it is gone, looks up the present one and repeats its write there.

Chroma's client waits for ever unless told otherwise, so every connection begins with a question of our own that has a
time limit, and all that follows has one too.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from attendance.errors import GalleryDamagedError, GalleryError, GalleryGoneError, ModelMismatchError
from attendance.search.chroma.collection import (
    COLLECTION,
    DEFAULT_GRAPH,
    ChromaGallery,
    GraphSettings,
    graph_of,
    translated,
)
from attendance.search.port import Gallery, GalleryStore
from attendance.types import Candidate, Float32, GalleryEntry

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_CONNECT_S = 5.0
_PAGE = 500
_BATCH = 1000
# A collection that others remove, or remove from, while it is read does not always say so but breaks in other ways for
# a moment: "Error finding id", "Nothing found on disk". So damage is believed when it is met this often.
_TRIES = 5
_PAUSE_S = 0.05
_ABANDONED_S = 24 * 3600.0


class _Found(NamedTuple):
    """A collection of ours; the present gallery is the greatest of the complete ones."""

    generation: int
    name: str
    complete: bool
    made_at: float
    collection: Any

    @property
    def rank(self) -> tuple[int, str]:
        """The order in which galleries follow each other."""
        return self.generation, self.name


class ServerGallery(Gallery):
    """The present gallery of a server; made anew by somebody else meanwhile, it is the new one from then on."""

    def __init__(self, resolve: Callable[[], ChromaGallery]) -> None:
        """``resolve`` finds the present gallery, and raises as `GalleryStore.open` does."""
        self._resolve = resolve
        self._present = resolve()
        self.card_id = self._present.card_id
        self.dimension = self._present.dimension

    @property
    def exclusive(self) -> bool:
        """See the port."""
        return False

    @property
    def fault(self) -> str | None:
        """See the port."""
        return self._present.fault

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """See the port."""
        self._on_present(lambda gallery: gallery.upsert(entries))

    def remove(self, template_ids: Sequence[str]) -> int:
        """See the port."""
        return self._on_present(lambda gallery: gallery.remove(template_ids))

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port."""
        return self._on_present(lambda gallery: gallery.nearest(queries, k=k))

    def propose(self, query: Float32, *, templates: int) -> list[str]:
        """See `ChromaGallery.propose`."""
        return self._on_present(lambda gallery: gallery.propose(query, templates=templates))

    def templates(self) -> int:
        """See `ChromaGallery.templates`."""
        return self._on_present(lambda gallery: gallery.templates())

    def entries(self) -> list[GalleryEntry]:
        """See the port. What others remove while it is read is left out."""
        return self._on_present(lambda gallery: gallery.entries())

    def counts(self) -> tuple[int, int]:
        """See the port."""
        return self._on_present(lambda gallery: gallery.counts())

    def _on_present(self, act: Callable[[ChromaGallery], _Answer]) -> _Answer:
        for _ in range(_TRIES - 1):
            try:
                return act(self._present)
            except GalleryDamagedError as error:
                logger.info("looking the gallery up again, because: %s", error)
            time.sleep(_PAUSE_S)
            self._present = self._resolve()
        return act(self._present)


@dataclass(frozen=True, slots=True)
class ServerStore(GalleryStore):
    """A gallery on the Chroma server at ``url`` (http or https, host and port).

    ``collection`` begins the names of its collections. ``owner`` is the id of the ledger that it is made from; a
    gallery of another owner is refused, because both would clear it of each other's people. Empty: not looked at.
    ``timeout_s`` bounds every wait for the server. ``now`` gives seconds since 1970.
    """

    url: str
    card_id: str
    dimension: int
    collection: str = COLLECTION
    owner: str = ""
    settings: GraphSettings = DEFAULT_GRAPH
    timeout_s: float = 30.0
    now: Callable[[], float] = time.time

    @contextmanager
    def open(self) -> Iterator[ServerGallery]:
        """See the port. Several may have it open at once."""
        with _connected(self.url, self.timeout_s) as client:
            gallery = ServerGallery(lambda: self._existing(client))
            self._tidy(client)
            yield gallery

    @contextmanager
    def replacement(self) -> Iterator[Gallery]:
        """See the port. The old one serves until the new one is complete."""
        with _connected(self.url, self.timeout_s) as client:
            self._refuse_foreign(_last(self._ours(client)))
            draft = self._draft(client)
            try:
                yield self._gallery(client, draft, fault=None)
                with translated("complete"):
                    draft.modify(metadata={**draft.metadata, "complete": True})
            except GalleryDamagedError as error:
                if any(each.name == draft.name for each in self._ours(client)):
                    raise
                raise GalleryGoneError(f"another writer made the gallery anew meanwhile: {error}") from error
            except BaseException:
                with suppress(GalleryError):
                    _delete(client, draft.name)
                raise
            self._tidy(client)

    def exists(self) -> bool:
        """See the port."""
        with _connected(self.url, self.timeout_s) as client:
            return _last(self._ours(client)) is not None

    def _ours(self, client: Any) -> list[_Found]:
        """Every collection of this gallery, in the order of their ranks."""
        pattern = re.compile(rf"{re.escape(self.collection)}-(\d{{8}})-[0-9a-f]{{8}}")
        listed: list[Any] = []
        with translated("list"):
            while page := client.list_collections(limit=_PAGE, offset=len(listed)):
                listed += page
            found = [
                _Found(int(match[1]), each.name, each.metadata["complete"], each.metadata["made_at"], each)
                for each in listed
                if (match := pattern.fullmatch(each.name)) is not None
            ]
        return sorted(found, key=lambda each: each.rank)

    def _tidy(self, client: Any) -> None:
        """Remove what was replaced, and drafts that were begun before it or a day ago and never completed."""
        ours = self._ours(client)
        present = _last(ours)
        for each in ours:
            replaced = present is not None and each.rank < present.rank
            if replaced or (not each.complete and each.made_at < self.now() - _ABANDONED_S):
                _delete(client, each.name)

    def _draft(self, client: Any) -> Any:
        ours = self._ours(client)
        generation = 1 + max((each.generation for each in ours), default=0)
        with translated("create"):
            return client.create_collection(
                f"{self.collection}-{generation:08d}-{uuid.uuid4().hex[:8]}",
                metadata={
                    "card_id": self.card_id,
                    "dimension": self.dimension,
                    "owner": self.owner,
                    "made_at": self.now(),
                    "complete": False,
                },
                embedding_function=None,
                configuration=self.settings.configuration(),
            )

    def _existing(self, client: Any) -> ChromaGallery:
        """The present gallery; looked up again when others change it, or take its place, while it is opened."""
        for _ in range(_TRIES - 1):
            present = _last(self._ours(client))
            if present is None:
                break
            with suppress(GalleryDamagedError):
                return self._opened(client, present)
            time.sleep(_PAUSE_S)
        present = _last(self._ours(client))
        if present is None:
            raise GalleryGoneError(
                f"expected the gallery {self.collection} on {self.url}, found none: rebuild it from the ledger"
            )
        return self._opened(client, present)

    def _opened(self, client: Any, present: _Found) -> ChromaGallery:
        self._refuse_foreign(present)
        collection = present.collection
        with translated("open"):
            graph = graph_of(collection)
            built_with = (collection.metadata["card_id"], collection.metadata["dimension"])
            self._set_query_breadth(collection, graph)
        if built_with != (self.card_id, self.dimension):
            raise ModelMismatchError(
                f"the gallery {self.collection} on {self.url} was built with model {built_with[0]} ({built_with[1]} "
                f"numbers), asked for is {self.card_id} ({self.dimension}): set model.id to {built_with[0]}, or enrol "
                "everybody into another --store with another search.collection"
            )
        fault = self.settings.fault_of(graph)
        if fault is not None:
            logger.warning("%s", fault)
        gallery = self._gallery(client, collection, fault=fault)
        gallery.probe()
        return gallery

    def _refuse_foreign(self, found: _Found | None) -> None:
        if found is None or not self.owner:
            return
        with translated("open"):
            owner = found.collection.metadata["owner"]
        if owner and owner != self.owner:
            raise GalleryError(
                f"the gallery {self.collection} on {self.url} was made from another ledger: give this one a name of "
                "its own (search.collection)"
            )

    def _set_query_breadth(self, collection: Any, graph: dict[str, Any]) -> None:
        """Chroma heeds a changed ef_search when it loads the graph the next time, at the latest when it restarts."""
        if graph.get("ef_search") != self.settings.ef_search:
            with warnings.catch_warnings():
                # Chroma calls its own record of "no embedding function" deprecated here.
                warnings.simplefilter("ignore", DeprecationWarning)
                collection.modify(configuration={"hnsw": {"ef_search": self.settings.ef_search}})

    def _gallery(self, client: Any, collection: Any, *, fault: str | None) -> ChromaGallery:
        with translated("open"):
            batch = min(_BATCH, client.get_max_batch_size())
        return ChromaGallery(
            collection, card_id=self.card_id, dimension=self.dimension, batch=batch, fault=fault, exclusive=False
        )


def _last(ours: Sequence[_Found]) -> _Found | None:
    return max((each for each in ours if each.complete), key=lambda each: each.rank, default=None)


def _delete(client: Any, name: str) -> None:
    with suppress(GalleryGoneError), translated("clear"):
        client.delete_collection(name)


@contextmanager
def _connected(url: str, timeout_s: float) -> Iterator[Any]:
    """A client of the server; afterwards no connection of it is open any more."""
    import chromadb
    import httpx
    from chromadb.config import Settings

    limits = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
    # Where nothing is encrypted, reading the certificates three times over only takes time.
    encrypted = url.startswith("https:")
    settings = Settings(anonymized_telemetry=False, chroma_server_ssl_verify=encrypted)
    with translated(f"connect to {url} for"):
        _require_chroma(url, httpx.get(f"{url}/api/v2/heartbeat", timeout=limits, verify=encrypted))
        client: Any = chromadb.HttpClient(host=url, settings=settings)
    client._server._session.timeout = limits
    try:
        yield client
    finally:
        _close(client)


def _require_chroma(url: str, answer: Any) -> None:
    """Raise unless the answer to a heartbeat is Chroma's."""
    if answer.status_code >= 500:
        answer.raise_for_status()
    if answer.status_code != 200 or "nanosecond heartbeat" not in answer.text:
        raise GalleryError(
            f"search.url expects a Chroma server, {url} answers a heartbeat with {answer.status_code}: "
            "look at host and port"
        )


def _close(client: Any) -> None:
    """Close the client, and the second one that it makes to look for its tenant and then forgets."""
    from chromadb.api import ServerAPI
    from chromadb.api.shared_system_client import SharedSystemClient

    for system in (client._system, client._admin_client._system):
        system.instance(ServerAPI)._session.close()
        for key in [key for key, held in SharedSystemClient._identifier_to_system.items() if held is system]:
            SharedSystemClient._release_system(key)
