"""One Chroma collection as a gallery, embedded or on a server alike, and what chromadb raises as our errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from attendance.errors import GalleryDamagedError, GalleryError, GalleryGoneError, GalleryUnavailableError
from attendance.search.port import LENGTH_TOLERANCE, Gallery, check_queries, checked_entries, mean_direction
from attendance.types import Candidate, Float32, GalleryEntry

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


_BUSY = (429, 502, 503, 504)
_WAIT = "look whether it runs (search.url), nothing is lost meanwhile"


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


DEFAULT_GRAPH = GraphSettings()
"""The graph unless said otherwise."""


class ChromaGallery(Gallery):
    """The gallery port over one Chroma collection, whose index is approximate."""

    def __init__(
        self,
        collection: Any,
        *,
        card_id: str,
        dimension: int,
        batch: int,
        fault: str | None = None,
        exclusive: bool = True,
    ) -> None:
        """``batch``: the most rows to send at once. ``exclusive``: see the port."""
        self.card_id = card_id
        self.dimension = dimension
        self._collection = collection
        self._batch = batch
        self._fault = fault
        self._exclusive = exclusive

    @property
    def name(self) -> str:
        """The collection's."""
        return str(self._collection.name)

    @property
    def exclusive(self) -> bool:
        """See the port."""
        return self._exclusive

    @property
    def fault(self) -> str | None:
        """See the port: another graph than the configuration asks for."""
        return self._fault

    def propose(self, query: Float32, *, templates: int) -> list[str]:
        """The owners of about so many templates near the query (D,), nearest first; the index may miss some."""
        with translated("query"):
            answer = self._collection.query(query_embeddings=query[None], n_results=templates, include=["metadatas"])
            return list(dict.fromkeys(metadata["identity_id"] for metadata in answer["metadatas"][0]))

    def templates(self) -> int:
        """How many templates are held; cheaper than `counts`."""
        with translated("count"):
            return int(self._collection.count())

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """See the port."""
        for part in self._parts(list(checked_entries(self, entries).values())):
            with translated("write templates to"):
                self._collection.upsert(
                    ids=[entry.template_id for entry in part],
                    embeddings=np.stack([entry.vector for entry in part]),
                    metadatas=[{"identity_id": entry.identity_id} for entry in part],
                )

    def remove(self, template_ids: Sequence[str]) -> int:
        """See the port. Chroma itself also counts the missing ones."""
        removed = 0
        for part in self._parts(list(dict.fromkeys(template_ids))):
            with translated("remove templates from"):
                present = self._collection.get(ids=part, include=[])["ids"]
                if present:
                    self._collection.delete(ids=present)
            removed += len(present)
        return removed

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port. The index proposes people by their single templates; their mean directions decide."""
        check_queries(self, queries, k=k)
        with translated("query"):
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
        with translated("read"):
            for ids in self._parts(sorted(self._collection.get(include=[])["ids"])):
                rows = self._collection.get(ids=ids, include=["embeddings", "metadatas"])
                vectors = np.asarray(rows["embeddings"], np.float32).reshape(len(rows["ids"]), self.dimension)
                with np.errstate(over="ignore", invalid="ignore"):
                    lengths = np.linalg.norm(vectors, axis=1)
                lost = self._exclusive and len(rows["ids"]) != len(ids)
                if lost or not (np.abs(lengths - 1.0) <= LENGTH_TOLERANCE).all():
                    raise GalleryDamagedError("the gallery should hold unit vectors, got others: rebuild it")
                owners = [metadata["identity_id"] for metadata in rows["metadatas"]]
                entries += map(GalleryEntry, rows["ids"], owners, vectors)
        return sorted(entries, key=lambda entry: entry.template_id)

    def counts(self) -> tuple[int, int]:
        """See the port."""
        with translated("count"):
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


def graph_of(collection: Any) -> dict[str, Any]:
    graph = collection.configuration_json.get("hnsw")
    return graph if isinstance(graph, dict) else {}


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what chromadb raises into our errors.

    GalleryUnavailableError when a server does not answer, GalleryGoneError for a collection that is not there, and
    GalleryDamagedError for anything else, unless disk or rights are to blame.
    """
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, httpx.HTTPError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _error(action, error) from error
    except BaseException as error:
        # A panic of Chroma's compiled part is no Exception and its class cannot be imported; what a server (or a proxy
        # before it) says without a word that chromadb knows is a bare one.
        if type(error).__module__ != "pyo3_runtime" and type(error) is not Exception:
            raise
        raise _error(action, error) from error


def _error(action: str, error: BaseException) -> GalleryError:
    import httpx
    from chromadb.errors import NotFoundError, RateLimitError

    said = " ".join(str(error).split())[:300] or type(error).__name__
    status = error.__context__.response.status_code if isinstance(error.__context__, httpx.HTTPStatusError) else 0
    if isinstance(error, httpx.HTTPError | RateLimitError) or status in _BUSY:
        return GalleryUnavailableError(f"could not {action} the gallery, the server does not answer: {said}: {_WAIT}")
    if isinstance(error, NotFoundError):
        return GalleryGoneError(f"could not {action} the gallery: {said}: rebuild it from the ledger")
    if any(phrase in said.lower() for phrase in _NOT_DAMAGE):
        return GalleryError(f"could not {action} the gallery: {said}: check the disk and its rights")
    return GalleryDamagedError(f"could not {action} the gallery: {said}: rebuild it from the ledger")
