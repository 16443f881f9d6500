"""The exact mirror: every template in memory, compared with every query; the live lookup.

Readers take a snapshot and work on it; a change makes the next snapshot and swaps it in, so a query sees all of a
change or nothing. Rows of the matrix are never overwritten while a snapshot may show them: new templates are written
behind the last row, replaced and removed ones stay as dead rows until a quarter is dead and the matrix is written anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.search.port import Gallery, check_queries, checked_entries
from attendance.types import Candidate, Float32, Float64, GalleryEntry

_FIRST_CAPACITY = 256
_GROWTH = 1.5
_DEAD_SHARE = 0.25
_SCORES_PER_BLOCK = 8_000_000
_DEAD = -1


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    """n rows: ``matrix`` (n, D) float32, ``owner`` (n,) int32 index into ``people``, or -1 for a dead row.

    ``templates`` is template id -> row, ``dead`` the dead rows' indices, ``people_present`` counts those with a row.
    """

    matrix: Float32
    owner: NDArray[np.int32]
    dead: NDArray[np.intp]
    people: tuple[str, ...]
    templates: dict[str, int]
    people_present: int


class ExactGallery(Gallery):
    """The gallery port in memory. Changes and queries may come from any thread.

    Shortlists by a float32 product and decides by float64 dot products, so equal vectors tie exactly whatever row they
    stand in.
    """

    def __init__(self, card_id: str, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        self.card_id = card_id
        self.dimension = dimension
        self._changes = threading.Lock()
        self._buffer: Float32 = np.empty((0, dimension), np.float32)
        self._snapshot = _snapshot(self._buffer, np.empty(0, np.int32), (), {})

    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """See the port."""
        self.apply(upserts=entries, removals=())

    def remove(self, template_ids: Sequence[str]) -> int:
        """See the port."""
        return self.apply(upserts=(), removals=template_ids)

    def apply(self, *, upserts: Sequence[GalleryEntry], removals: Sequence[str]) -> int:
        """Remove and then add or replace as one change that readers see whole; how many removals were there."""
        added = checked_entries(self, upserts)
        with self._changes:
            now = self._snapshot
            removed = {template_id for template_id in removals if template_id in now.templates}
            if not added and not removed:
                return 0
            templates = {key: row for key, row in now.templates.items() if key not in removed}
            died = [now.templates[key] for key in removed] + [templates[key] for key in added if key in templates]
            owner = np.concatenate([now.owner, np.empty(len(added), np.int32)])
            owner[died] = _DEAD
            people = self._append(now, added, owner=owner, templates=templates)
            self._snapshot = self._compacted(owner, people, templates)
            return len(removed)

    def _append(
        self, now: _Snapshot, added: dict[str, GalleryEntry], *, owner: NDArray[np.int32], templates: dict[str, int]
    ) -> tuple[str, ...]:
        """Write the added rows behind the last one; fills their places in ``owner`` and ``templates``."""
        used = len(now.owner)
        self._reserve(used, used + len(added))
        index = {identity_id: place for place, identity_id in enumerate(now.people)}
        for row, entry in enumerate(added.values(), start=used):
            self._buffer[row] = entry.vector
            owner[row] = index.setdefault(entry.identity_id, len(index))
            templates[entry.template_id] = row
        return tuple(index) if len(index) > len(now.people) else now.people

    def _reserve(self, used: int, needed: int) -> None:
        if needed <= len(self._buffer):
            return
        capacity = max(needed, int(len(self._buffer) * _GROWTH), _FIRST_CAPACITY)
        grown = np.empty((capacity, self.dimension), np.float32)
        grown[:used] = self._buffer[:used]
        self._buffer = grown

    def _compacted(self, owner: NDArray[np.int32], people: tuple[str, ...], templates: dict[str, int]) -> _Snapshot:
        """The snapshot of these rows, on a matrix written anew when too many rows are dead."""
        rows = len(owner)
        if np.count_nonzero(owner == _DEAD) <= _DEAD_SHARE * rows:
            return _snapshot(self._buffer[:rows], owner, people, templates)
        order = sorted(templates, key=templates.__getitem__)
        kept = np.array([templates[key] for key in order], np.intp)
        self._buffer = np.ascontiguousarray(self._buffer[kept])
        present, places = np.unique(owner[kept], return_inverse=True)
        people = tuple(people[place] for place in present)
        return _snapshot(self._buffer, places.astype(np.int32), people, {key: row for row, key in enumerate(order)})

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port."""
        check_queries(self, queries, k=k)
        now = self._snapshot
        if not now.templates:
            return [[] for _ in queries]
        if len(queries) == 1:
            return [_best_people(now, queries[0], now.matrix @ queries[0], k=k)]
        found: list[list[Candidate]] = []
        block = max(1, _SCORES_PER_BLOCK // len(now.owner))
        for start in range(0, len(queries), block):
            part = queries[start : start + block]
            found += [_best_people(now, q, s, k=k) for q, s in zip(part, part @ now.matrix.T, strict=True)]
        return found

    def entries(self) -> list[GalleryEntry]:
        """See the port; the vectors are copies."""
        now = self._snapshot
        return [
            GalleryEntry(key, now.people[now.owner[row]], now.matrix[row].copy())
            for key, row in sorted(now.templates.items())
        ]

    def counts(self) -> tuple[int, int]:
        """See the port."""
        now = self._snapshot
        return now.people_present, len(now.templates)


def _snapshot(
    matrix: Float32, owner: NDArray[np.int32], people: tuple[str, ...], templates: dict[str, int]
) -> _Snapshot:
    present = int(np.count_nonzero(np.bincount(owner[owner != _DEAD], minlength=1)))
    return _Snapshot(matrix, owner, np.flatnonzero(owner == _DEAD), people, templates, present)


def _best_people(now: _Snapshot, query: Float32, scores: Float32, *, k: int) -> list[Candidate]:
    """The k nearest people to ``query`` (D,), given its float32 ``scores`` (n,), which are overwritten."""
    scores[now.dead] = -np.inf
    # A float32 dot product of unit vectors errs by less than D/2 units in the last place; twice that on both sides.
    slack = float(np.finfo(np.float32).eps) * 2 * len(query)
    rows = np.flatnonzero(scores >= _kth_person(now, scores, k=k) - slack)
    rows = rows[now.owner[rows] != _DEAD]
    exact: Float64 = (now.matrix[rows].astype(np.float64) * query).sum(axis=1)
    best: dict[int, float] = {}
    for place, similarity in zip(now.owner[rows].tolist(), exact.tolist(), strict=True):
        best[place] = max(similarity, best.get(place, -np.inf))
    ranked = sorted((-similarity, now.people[place]) for place, similarity in best.items())
    return [Candidate(identity_id, -negative) for negative, identity_id in ranked[:k]]


def _kth_person(now: _Snapshot, scores: Float32, *, k: int) -> float:
    """The float32 score of the k-th nearest person, or minus infinity when there are not that many."""
    rows = len(scores)
    take = max(64, 8 * k)
    while take < rows:
        top = np.argpartition(scores, rows - take)[rows - take :]
        top = top[np.argsort(-scores[top], kind="stable")]
        owners = now.owner[top]
        _, first = np.unique(owners[owners != _DEAD], return_index=True)
        if len(first) >= k:
            return float(scores[top[np.sort(first)[k - 1]]])
        take *= 4
    return -np.inf
