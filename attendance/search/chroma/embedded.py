"""The gallery in a folder of this machine.

Embedded, Chroma has no lock of its own and its files do not survive a kill while they are rewritten: they come back
unreadable, with wrong vectors, or end the process that opens them. So a gallery is opened under our lock only, and a
mark stands beside it while it is open. A mark that is found says that somebody died in the middle: the files are then
not touched, the gallery counts as damaged and is rebuilt from the ledger.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attendance.errors import GalleryDamagedError, GalleryError, ModelMismatchError
from attendance.search import folder, lock
from attendance.search.chroma.collection import (
    COLLECTION,
    DEFAULT_GRAPH,
    ChromaGallery,
    GraphSettings,
    graph_of,
    translated,
)
from attendance.search.port import Gallery, GalleryStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChromaStore(GalleryStore):
    """An embedded gallery in the folder ``path``; its lock and its mark lie beside it."""

    path: Path
    card_id: str
    dimension: int
    settings: GraphSettings = DEFAULT_GRAPH
    lock_wait_s: float = 60.0

    @contextmanager
    def open(self) -> Iterator[Gallery]:
        """See the port. The mark stays when the gallery turns out to be damaged."""
        with self._locked():
            self._require_intact()
            folder.remove_folder(self._beside(".new"))
            folder.remove_folder(self._beside(".old"))
            damaged = False
            folder.write_mark(self._mark)
            try:
                self._set_query_breadth()
                with _client(self.path) as client:
                    yield self._existing(client)
                with folder.file_errors(self.path):
                    folder.sync(self.path)
            except GalleryDamagedError:
                damaged = True
                raise
            finally:
                if not damaged:
                    self._mark.unlink(missing_ok=True)

    @contextmanager
    def replacement(self) -> Iterator[Gallery]:
        """See the port. The old files stay until the new ones are complete and on disk."""
        draft, old = self._beside(".new"), self._beside(".old")
        with self._locked():
            try:
                folder.remove_folder(draft)
                with _client(draft) as client:
                    yield self._created(client)
                with folder.file_errors(self.path):
                    folder.sync(draft)
                    folder.remove_folder(old)
                    if self.path.exists():
                        self.path.rename(old)
                    draft.rename(self.path)
                    self._mark.unlink(missing_ok=True)
            finally:
                folder.remove_folder(draft)
                folder.remove_folder(old)

    def exists(self) -> bool:
        """See the port."""
        return self.path.exists()

    @property
    def _mark(self) -> Path:
        return self._beside(".open")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with folder.file_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with lock.hold(self._beside(".lock"), wait_s=self.lock_wait_s):
            yield

    def _require_intact(self) -> None:
        if not (self.path / "chroma.sqlite3").exists():
            raise GalleryDamagedError(f"expected a gallery at {self.path}, found none: rebuild it from the ledger")
        if self._mark.exists():
            raise GalleryDamagedError(
                f"the gallery at {self.path} was left open by a process that died: rebuild it from the ledger"
            )

    def _set_query_breadth(self) -> None:
        """Chroma heeds a changed ef_search from the next opening on, so this one is made before the real one."""
        with _client(self.path) as client, translated("open"):
            collection = client.get_collection(COLLECTION, embedding_function=None)
            if graph_of(collection).get("ef_search") != self.settings.ef_search:
                with warnings.catch_warnings():
                    # Chroma calls its own record of "no embedding function" deprecated here.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    collection.modify(configuration={"hnsw": {"ef_search": self.settings.ef_search}})

    def _existing(self, client: Any) -> ChromaGallery:
        with translated("open"):
            collection = client.get_collection(COLLECTION, embedding_function=None)
            fault = self.settings.fault_of(graph_of(collection))
            built_with = (collection.metadata["card_id"], collection.metadata["dimension"])
        if built_with != (self.card_id, self.dimension):
            raise ModelMismatchError(
                f"the gallery at {self.path} was built with model {built_with[0]} ({built_with[1]} numbers), asked for "
                f"is {self.card_id} ({self.dimension}): set model.id to {built_with[0]}, or enrol everybody into "
                "another --store"
            )
        if fault is not None:
            logger.warning("%s", fault)
        gallery = self._gallery(client, collection, fault=fault)
        gallery.probe()
        return gallery

    def _created(self, client: Any) -> ChromaGallery:
        with translated("create"):
            collection = client.create_collection(
                COLLECTION,
                metadata={"card_id": self.card_id, "dimension": self.dimension},
                embedding_function=None,
                configuration=self.settings.configuration(),
            )
        return self._gallery(client, collection, fault=None)

    def _gallery(self, client: Any, collection: Any, *, fault: str | None) -> ChromaGallery:
        with translated("open"):
            batch = client.get_max_batch_size()
        return ChromaGallery(collection, card_id=self.card_id, dimension=self.dimension, batch=batch, fault=fault)


@contextmanager
def open_chroma(
    path: Path,
    *,
    card_id: str,
    dimension: int,
    max_neighbors: int = DEFAULT_GRAPH.max_neighbors,
    ef_construction: int = DEFAULT_GRAPH.ef_construction,
    ef_search: int = DEFAULT_GRAPH.ef_search,
    sync_threshold: int = DEFAULT_GRAPH.sync_threshold,
    lock_wait_s: float = 60.0,
) -> Iterator[Gallery]:
    """The embedded gallery at ``path``, made where there is none; raises as `GalleryStore.open` does."""
    settings = GraphSettings(max_neighbors, ef_construction, ef_search, sync_threshold)
    store = ChromaStore(path, card_id, dimension, settings, lock_wait_s)
    if not path.exists():
        with store.replacement():
            logger.info("making a gallery at %s", path)
    with store.open() as gallery:
        yield gallery


@contextmanager
def _client(path: Path) -> Iterator[Any]:
    """A Chroma client on the folder ``path``, made where missing; afterwards no file of it is open any more."""
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    with folder.file_errors(path):
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
    try:
        with translated("open"):
            client: Any = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    except GalleryError:
        # A client that failed to start stays in Chroma's cache and would be handed out again for this path.
        SharedSystemClient._identifier_to_system.pop(str(path), None)
        folder.await_release(path)
        raise
    try:
        yield client
    finally:
        with translated("close"):
            client.close()
        folder.await_release(path)
        folder.make_private(path)
