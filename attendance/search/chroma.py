"""The gallery in Chroma; chromadb is imported here alone, and only when a gallery is opened (it takes a second).

Embedded, Chroma has no lock of its own and its files do not survive a kill while they are rewritten: they come back
unreadable, with wrong vectors, or end the process that opens them. So a gallery is opened under our lock only, and a
mark stands beside it while it is open. A mark that is found says that somebody died in the middle: the files are then
not touched, the gallery counts as damaged and is rebuilt from the ledger.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from attendance.errors import GalleryDamagedError, GalleryError, ModelMismatchError
from attendance.search import folder, lock
from attendance.search.port import (
    LENGTH_TOLERANCE,
    Gallery,
    GalleryStore,
    check_queries,
    checked_entries,
    mean_direction,
)
from attendance.types import Candidate, Float32, GalleryEntry

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

COLLECTION = "templates"
_FIRST_RESULTS = 64
_TIE = 1e-6
_NOT_DAMAGE = (
    "readonly database",
    "read-only",
    "disk is full",
    "no space left",
    "permission denied",
    "too many open files",
)


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """Chroma's graph: degree and build breadth are fixed when a collection is made, the query breadth is not.

    ``sync_threshold``: after how many additions the graph files are rewritten.
    """

    max_neighbors: int = 32
    ef_construction: int = 200
    ef_search: int = 400
    sync_threshold: int = 1000

    def configuration(self) -> dict[str, dict[str, str | int]]:
        """Chroma's form of these settings; similarity is the cosine."""
        return {
            "hnsw": {
                "space": "cosine",
                "max_neighbors": self.max_neighbors,
                "ef_construction": self.ef_construction,
                "ef_search": self.ef_search,
                "sync_threshold": self.sync_threshold,
                "batch_size": min(100, self.sync_threshold),
            }
        }

    def fault_of(self, found: dict[str, Any]) -> str | None:
        """What is wrong with a collection's ``hnsw`` settings, unless they are these (ef_search aside)."""
        wanted = self.configuration()["hnsw"]
        wrong = [key for key in ("space", "max_neighbors", "ef_construction") if found.get(key) != wanted[key]]
        if not wrong:
            return None
        differ = ", ".join(f"{key} {found.get(key)} instead of {wanted[key]}" for key in wrong)
        return f"the gallery's graph was built with {differ}: run `python -m attendance gallery rebuild`"


_GRAPH = GraphSettings()


class ChromaGallery(Gallery):
    """The gallery port over one Chroma collection, whose index is approximate."""

    def __init__(self, collection: Any, *, card_id: str, dimension: int, batch: int, fault: str | None = None) -> None:
        self.card_id = card_id
        self.dimension = dimension
        self._collection = collection
        self._batch = batch
        self._fault = fault

    @property
    def fault(self) -> str | None:
        """See the port: another graph than the configuration asks for."""
        return self._fault

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """See the port."""
        for part in self._parts(list(checked_entries(self, entries).values())):
            with _translated("write templates to"):
                self._collection.upsert(
                    ids=[entry.template_id for entry in part],
                    embeddings=np.stack([entry.vector for entry in part]),
                    metadatas=[{"identity_id": entry.identity_id} for entry in part],
                )

    def remove(self, template_ids: Sequence[str]) -> int:
        """See the port. Chroma itself also counts the missing ones."""
        removed = 0
        for part in self._parts(list(dict.fromkeys(template_ids))):
            with _translated("remove templates from"):
                present = self._collection.get(ids=part, include=[])["ids"]
                if present:
                    self._collection.delete(ids=present)
            removed += len(present)
        return removed

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port. The index proposes people by their single templates; their mean directions decide."""
        check_queries(self, queries, k=k)
        with _translated("query"):
            total = self._collection.count()
            return [self._nearest(query, k=k, total=total) for query in queries] if total else [[] for _ in queries]

    def _nearest(self, query: Float32, *, k: int, total: int) -> list[Candidate]:
        wanted = min(max(_FIRST_RESULTS, 8 * k), total)
        while True:
            answer = self._collection.query(
                query_embeddings=query[None], n_results=wanted, include=["distances", "metadatas"]
            )
            distances: list[float] = answer["distances"][0]
            ranked = self._ranked(query, sorted({metadata["identity_id"] for metadata in answer["metadatas"][0]}))
            # Whoever was not proposed has no template nearer than the last one; a tie with it could still matter.
            sure = len(ranked) >= k and 1.0 - distances[-1] < ranked[k - 1].similarity - _TIE
            # A graph that returns less than was asked for has no more to give.
            if sure or wanted >= total or len(distances) < wanted:
                return ranked[:k]
            wanted = min(4 * wanted, total)

    def _ranked(self, query: Float32, people: list[str]) -> list[Candidate]:
        """These people by the similarity of their mean directions, best first."""
        rows = self._collection.get(where={"identity_id": {"$in": people}}, include=["embeddings", "metadatas"])
        vectors: dict[str, list[tuple[str, Float32]]] = {}
        for template_id, vector, metadata in zip(rows["ids"], rows["embeddings"], rows["metadatas"], strict=True):
            vectors.setdefault(metadata["identity_id"], []).append((template_id, np.asarray(vector, np.float32)))
        ranked = []
        for identity_id, mine in vectors.items():
            mean = mean_direction(np.stack([vector for _, vector in sorted(mine, key=lambda pair: pair[0])]))
            ranked.append((-float(mean.astype(np.float64) @ query), identity_id))
        if not np.isfinite([score for score, _ in ranked]).all():
            raise GalleryDamagedError("the gallery should hold finite vectors, got others: rebuild it")
        return [Candidate(identity_id, -negative) for negative, identity_id in sorted(ranked)]

    def entries(self) -> list[GalleryEntry]:
        """See the port. Raises GalleryDamagedError when Chroma gives back something else than unit vectors."""
        entries: list[GalleryEntry] = []
        with _translated("read"):
            for ids in self._parts(sorted(self._collection.get(include=[])["ids"])):
                rows = self._collection.get(ids=ids, include=["embeddings", "metadatas"])
                vectors = np.asarray(rows["embeddings"], np.float32).reshape(len(rows["ids"]), -1)
                with np.errstate(over="ignore", invalid="ignore"):
                    lengths = np.linalg.norm(vectors, axis=1)
                if len(rows["ids"]) != len(ids) or not (np.abs(lengths - 1.0) <= LENGTH_TOLERANCE).all():
                    raise GalleryDamagedError("the gallery should hold unit vectors, got others: rebuild it")
                owners = [metadata["identity_id"] for metadata in rows["metadatas"]]
                entries += map(GalleryEntry, rows["ids"], owners, vectors)
        return sorted(entries, key=lambda entry: entry.template_id)

    def counts(self) -> tuple[int, int]:
        """See the port."""
        with _translated("count"):
            owners = [metadata["identity_id"] for metadata in self._collection.get(include=["metadatas"])["metadatas"]]
        return len(set(owners)), len(owners)

    def probe(self) -> None:
        """Make Chroma load its graph, which is where a damaged collection shows."""
        query = np.zeros((1, self.dimension), np.float32)
        query[0, 0] = 1.0
        self.nearest(query, k=1)

    def _parts(self, items: list[_Item]) -> Iterator[list[_Item]]:
        for start in range(0, len(items), self._batch):
            yield items[start : start + self._batch]


@dataclass(frozen=True, slots=True)
class ChromaStore(GalleryStore):
    """An embedded gallery in the folder ``path``; its lock and its mark lie beside it."""

    path: Path
    card_id: str
    dimension: int
    settings: GraphSettings = _GRAPH
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
        with _client(self.path) as client, _translated("open"):
            collection = client.get_collection(COLLECTION, embedding_function=None)
            if _graph_of(collection).get("ef_search") != self.settings.ef_search:
                with warnings.catch_warnings():
                    # Chroma calls its own record of "no embedding function" deprecated here.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    collection.modify(configuration={"hnsw": {"ef_search": self.settings.ef_search}})

    def _existing(self, client: Any) -> ChromaGallery:
        with _translated("open"):
            collection = client.get_collection(COLLECTION, embedding_function=None)
            fault = self.settings.fault_of(_graph_of(collection))
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
        with _translated("create"):
            collection = client.create_collection(
                COLLECTION,
                metadata={"card_id": self.card_id, "dimension": self.dimension},
                embedding_function=None,
                configuration=self.settings.configuration(),
            )
        return self._gallery(client, collection, fault=None)

    def _gallery(self, client: Any, collection: Any, *, fault: str | None) -> ChromaGallery:
        with _translated("open"):
            batch = client.get_max_batch_size()
        return ChromaGallery(collection, card_id=self.card_id, dimension=self.dimension, batch=batch, fault=fault)


@contextmanager
def open_chroma(
    path: Path,
    *,
    card_id: str,
    dimension: int,
    max_neighbors: int = _GRAPH.max_neighbors,
    ef_construction: int = _GRAPH.ef_construction,
    ef_search: int = _GRAPH.ef_search,
    sync_threshold: int = _GRAPH.sync_threshold,
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


def _graph_of(collection: Any) -> dict[str, Any]:
    graph = collection.configuration_json.get("hnsw")
    return graph if isinstance(graph, dict) else {}


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
        with _translated("open"):
            client: Any = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    except GalleryError:
        # A client that failed to start stays in Chroma's cache and would be handed out again for this path.
        SharedSystemClient._identifier_to_system.pop(str(path), None)
        folder.await_release(path)
        raise
    try:
        yield client
    finally:
        with _translated("close"):
            client.close()
        folder.await_release(path)
        folder.make_private(path)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn what chromadb raises into our errors: GalleryDamagedError unless disk or rights are to blame."""
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _error(action, error) from error
    except BaseException as error:
        # A panic of Chroma's compiled part is no Exception and its class cannot be imported.
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise _error(action, error) from error


def _error(action: str, error: BaseException) -> GalleryError:
    said = " ".join(str(error).split())[:300]
    if any(phrase in said.lower() for phrase in _NOT_DAMAGE):
        return GalleryError(f"could not {action} the gallery: {said}: check the disk and its rights")
    return GalleryDamagedError(f"could not {action} the gallery: {said}: rebuild it from the ledger")
