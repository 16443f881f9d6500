"""The exact mirror: every person in memory, compared with every query; the live lookup.

Readers take a snapshot and work on it; a change makes the next snapshot and swaps it in, so a query sees all of a
change or nothing. What a snapshot shows is never written again: changed people get a new matrix, new templates are
written behind the last row, replaced and removed ones stay as dead rows until a quarter is dead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attendance.search.port import Gallery, check_queries, checked_entries, mean_direction
from attendance.types import Candidate, Float32, Float64, GalleryEntry

_FIRST_CAPACITY = 256
_GROWTH = 1.5
_DEAD_SHARE = 0.25
_SCORES_PER_BLOCK = 8_000_000
_DEAD = -1


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    """``means`` (P, D) float32 holds each person's mean direction in the order of ``people``; ``absent`` the places of
    people without templates left. ``matrix`` (n, D) float32 holds the templates, ``owner`` (n,) int32 the place of
    each one's person, or -1 for a dead row. ``templates`` is template id -> row.
    """

    means: Float32
    people: tuple[str, ...]
    absent: NDArray[np.intp]
    matrix: Float32
    owner: NDArray[np.int32]
    templates: dict[str, int]


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
        nothing = np.empty((0, dimension), np.float32)
        self._snapshot = _Snapshot(nothing, (), np.empty(0, np.intp), nothing, np.empty(0, np.int32), {})

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
            touched = {int(now.owner[row]) for row in died}
            owner = np.concatenate([now.owner, np.empty(len(added), np.int32)])
            owner[died] = _DEAD
            people = self._append(now, added, owner=owner, templates=templates)
            touched |= set(owner[len(now.owner) :].tolist())
            means = self._means(now.means, len(people), touched, owner=owner, templates=templates)
            self._snapshot = self._compacted(means, people, owner, templates)
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

    def _means(
        self,
        before: Float32,
        people: int,
        touched: Iterable[int],
        *,
        owner: NDArray[np.int32],
        templates: dict[str, int],
    ) -> Float32:
        """The mean directions with those of the touched people computed anew."""
        means = np.zeros((people, self.dimension), np.float32)
        means[: len(before)] = before
        rows: dict[int, list[int]] = {place: [] for place in touched}
        # In the order of their ids, so that the sum does not depend on the order in which templates came.
        for _, row in sorted(item for item in templates.items() if int(owner[item[1]]) in rows):
            rows[int(owner[row])].append(row)
        for place, mine in rows.items():
            means[place] = mean_direction(self._buffer[mine]) if mine else 0.0
        return means

    def _compacted(
        self, means: Float32, people: tuple[str, ...], owner: NDArray[np.int32], templates: dict[str, int]
    ) -> _Snapshot:
        """The snapshot of these rows, on a matrix written anew when too many rows are dead."""
        rows = len(owner)
        if np.count_nonzero(owner == _DEAD) > _DEAD_SHARE * rows:
            order = sorted(templates, key=templates.__getitem__)
            kept = np.array([templates[key] for key in order], np.intp)
            self._buffer = np.ascontiguousarray(self._buffer[kept])
            present, places = np.unique(owner[kept], return_inverse=True)
            people, means = tuple(people[place] for place in present), means[present]
            owner, templates, rows = places.astype(np.int32), {key: row for row, key in enumerate(order)}, len(order)
        absent = np.flatnonzero(np.bincount(owner[owner != _DEAD], minlength=len(people)) == 0)
        return _Snapshot(means, people, absent, self._buffer[:rows], owner, templates)

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port."""
        check_queries(self, queries, k=k)
        now = self._snapshot
        if not now.templates:
            return [[] for _ in queries]
        if len(queries) == 1:
            return [_best_people(now, queries[0], now.means @ queries[0], k=k)]
        found: list[list[Candidate]] = []
        block = max(1, _SCORES_PER_BLOCK // len(now.people))
        for start in range(0, len(queries), block):
            part = queries[start : start + block]
            found += [_best_people(now, q, s, k=k) for q, s in zip(part, part @ now.means.T, strict=True)]
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
        return len(now.people) - len(now.absent), len(now.templates)


def _best_people(now: _Snapshot, query: Float32, scores: Float32, *, k: int) -> list[Candidate]:
    """The k nearest people to ``query`` (D,), given its float32 ``scores`` (P,), which are overwritten."""
    scores[now.absent] = -np.inf
    present = len(scores) - len(now.absent)
    # A float32 dot product of unit vectors errs by less than D/2 units in the last place; twice that on both sides.
    slack = float(np.finfo(np.float32).eps) * 2 * len(query)
    limit = float(np.partition(scores, len(scores) - k)[len(scores) - k]) if k < present else -np.inf
    places = np.flatnonzero((scores >= limit - slack) & (scores > -np.inf))
    exact: Float64 = (now.means[places].astype(np.float64) * query).sum(axis=1)
    ranked = sorted((-score, now.people[place]) for place, score in zip(places.tolist(), exact.tolist(), strict=True))
    return [Candidate(identity_id, -negative) for negative, identity_id in ranked[:k]]
