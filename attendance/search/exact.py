"""The exact mirror: every person in memory, compared with every query; the live lookup.

People stand in chunks of a fixed number of places. A chunk is never written again: a change makes those chunks anew
that it touches, codes and all, and swaps them in at once: a query takes no lock, sees all of a change or nothing, and
enrolling one person among a million copies one chunk. Templates are kept beside, in chunks of rows that are used again.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attendance.search import kernels, shortlist
from attendance.search.port import Gallery, check_queries, checked_entries, mean_direction
from attendance.types import Candidate, Float32, Float64, GalleryEntry

CHUNK_PLACES = 8192
_ROWS_AT_ONCE = 1024
_QUERIES_AT_ONCE = 48
_SCORES_AT_ONCE = 2**24
_CODED_FROM = 2 * CHUNK_PLACES
"""Fewer people than these are compared in float32 at once; the eight-bit codes pay where memory is the limit."""

_SHARED_FROM = 2
"""Codes times queries, in multiples of ``coded_from``, from which on a second thread looks through half of them."""

_FEW = 64
"""Up to so many nearest people are kept sorted while others are looked at."""


class _Chunk:
    """Places of people: ``people`` their ids, None for a free place; ``means`` (n, D) float32 their mean directions."""

    def __init__(self, people: tuple[str | None, ...], means: Float32) -> None:
        self.people = people
        self.means = means
        self.absent: NDArray[np.bool_] = np.array([who is None for who in people], np.bool_)
        self.taken = len(people) - int(self.absent.sum())

    @cached_property
    def codes(self) -> shortlist.Codes:
        """The mean directions in eight bits, made at the first query that needs them."""
        return shortlist.encode(self.means, self.absent)


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    """What a query sees: the chunks, how many people and templates there are, and from many people on their codes."""

    chunks: tuple[_Chunk, ...] = ()
    people: int = 0
    templates: int = 0
    coded: shortlist.Coded | None = None


class _Rows:
    """The templates: one row each, in chunks that come as they are needed and are never copied; freed rows are used
    again."""

    def __init__(self, dimension: int) -> None:
        self.of: dict[str, int] = {}
        self._dimension = dimension
        self._chunks: list[Float32] = []
        self._free: list[int] = []

    def put(self, template_id: str, vector: Float32) -> None:
        """Write a template, over the one of that id if there is one."""
        if template_id not in self.of:
            if not self._free:
                self._grow()
            self.of[template_id] = self._free.pop()
        self.row(self.of[template_id])[:] = vector

    def row(self, number: int) -> Float32:
        """The row itself."""
        row: Float32 = self._chunks[number // _ROWS_AT_ONCE][number % _ROWS_AT_ONCE]
        return row

    def drop(self, template_id: str) -> None:
        """Free the row of a template."""
        self._free.append(self.of.pop(template_id))

    def _grow(self) -> None:
        used = len(self._chunks) * _ROWS_AT_ONCE
        self._chunks.append(np.empty((_ROWS_AT_ONCE, self._dimension), np.float32))
        self._free.extend(range(used + _ROWS_AT_ONCE - 1, used - 1, -1))


class ExactGallery(Gallery):
    """The gallery port in memory. Changes and queries may come from any thread.

    Shortlists by bounds on the cosines and decides by float64 dot products, so equal vectors tie exactly whatever place
    they stand in.
    """

    def __init__(
        self, card_id: str, dimension: int, *, chunk_places: int = CHUNK_PLACES, coded_from: int = _CODED_FROM
    ) -> None:
        """``chunk_places``: people of a chunk. ``coded_from``: people from which on codes are looked through."""
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        self.card_id = card_id
        self.dimension = dimension
        self._chunk_places = chunk_places
        self._coded_from = coded_from
        self._changes = threading.Lock()
        self._rows = _Rows(dimension)
        self._owner: dict[str, str] = {}
        self._held: dict[str, set[str]] = {}
        self._places: dict[str, int] = {}
        self._free_places: list[int] = []
        self._snapshot = _Snapshot()

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
            removed = {template_id for template_id in removals if template_id in self._owner}
            if not added and not removed:
                return 0
            touched = {self._owner[template_id] for template_id in removed}
            for template_id in removed:
                self._release(template_id)
                self._rows.drop(template_id)
            for template_id, entry in added.items():
                if template_id in self._owner:
                    touched.add(self._owner[template_id])
                    self._release(template_id)
                self._rows.put(template_id, entry.vector)
                self._owner[template_id] = entry.identity_id
                self._held.setdefault(entry.identity_id, set()).add(template_id)
                touched.add(entry.identity_id)
            chunks = self._changed_chunks(touched)
            # The codes are made here: no query shall wait for them.
            many = len(self._held) >= self._coded_from
            coded = shortlist.Coded.of([chunk.codes for chunk in chunks], places=self._chunk_places) if many else None
            self._snapshot = _Snapshot(chunks, len(self._held), len(self._owner), coded)
            return len(removed)

    def _release(self, template_id: str) -> None:
        """Take a template from its owner, who is forgotten with the last one."""
        owner = self._owner.pop(template_id)
        self._held[owner].discard(template_id)
        if not self._held[owner]:
            del self._held[owner]

    def _changed_chunks(self, touched: Iterable[str]) -> tuple[_Chunk, ...]:
        """The snapshot's chunks with the touched people's mean directions computed anew, in places of their own."""
        by_chunk: dict[int, list[tuple[int, str | None, Float32 | None]]] = {}
        # Who goes leaves the place to who comes; in the order of ids, so that the same changes give the same places.
        for identity_id in sorted(touched, key=lambda who: (who in self._held, who)):
            place, who, mean = self._settle(identity_id)
            if place is not None:
                by_chunk.setdefault(place // self._chunk_places, []).append((place % self._chunk_places, who, mean))
        chunks = list(self._snapshot.chunks)
        for index in sorted(by_chunk):
            before = chunks[index] if index < len(chunks) else None
            chunks[index : index + 1] = [self._changed(before, by_chunk[index])]
        return tuple(chunks)

    def _settle(self, identity_id: str) -> tuple[int | None, str | None, Float32 | None]:
        """The place of a touched person, with what shall stand there; no place for one who came and went at once."""
        held = self._held.get(identity_id)
        if held is None:
            place = self._places.pop(identity_id, None)
            if place is not None:
                self._free_places.append(place)
            return place, None, None
        if identity_id not in self._places:
            taken = len(self._places) + len(self._free_places)
            self._places[identity_id] = self._free_places.pop() if self._free_places else taken
        # In the order of their ids, so that the sum does not depend on the order in which templates came.
        rows = [self._rows.of[template_id] for template_id in sorted(held)]
        return self._places[identity_id], identity_id, mean_direction(np.stack([self._rows.row(row) for row in rows]))

    def _changed(self, before: _Chunk | None, changes: list[tuple[int, str | None, Float32 | None]]) -> _Chunk:
        people = [] if before is None else list(before.people)
        count = max(len(people), 1 + max(place for place, _, _ in changes))
        means = np.zeros((count, self.dimension), np.float32)
        if before is not None:
            means[: len(people)] = before.means
        people += [None] * (count - len(people))
        for place, who, mean in changes:
            people[place] = who
            means[place] = 0.0 if mean is None else mean
        after = _Chunk(tuple(people), means)
        if before is not None and "codes" in before.__dict__:
            places = [place for place, _, _ in changes]
            after.codes = shortlist.changed(before.codes, places, means, after.absent)
        return after

    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """See the port."""
        check_queries(self, queries, k=k)
        now = self._snapshot
        if now.people == 0:
            return [[] for _ in queries]
        k = min(k, now.people)
        by_codes = now.coded is not None and k <= _FEW
        at_once = _QUERIES_AT_ONCE if by_codes else max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // now.people))
        found: list[list[Candidate]] = []
        for start in range(0, len(queries), at_once):
            part = queries[start : start + at_once]
            near = self._by_codes(now, part, k) if by_codes else _by_products(now, part, k)
            found += [_ranked(query, each, k) for query, each in zip(part, near, strict=True)]
        return found

    def _by_codes(self, now: _Snapshot, queries: Float32, k: int) -> list[_Near]:
        """Everybody whose upper bound reaches the k-th largest lower bound, by the eight-bit codes."""
        assert now.coded is not None
        codes, count = shortlist.encode_queries(queries), len(now.chunks)
        if len(queries) * now.people < _SHARED_FROM * self._coded_from:
            parts = [shortlist.look(now.coded, slice(count), queries, codes, k=k)]
        else:
            # Memory gives two cores more than one; a third adds nothing on machines of today.
            half = (count + 1) // 2
            other = self._helper.submit(shortlist.look, now.coded, slice(half, count), queries, codes, k=k)
            parts = [shortlist.look(now.coded, slice(half), queries, codes, k=k), other.result()]
        return [_by_chunk(now, places, self._chunk_places) for places in shortlist.nearest_places(parts)]

    @cached_property
    def _helper(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="search")

    def entries(self) -> list[GalleryEntry]:
        """See the port; the vectors are copies."""
        with self._changes:
            rows = self._rows
            return [GalleryEntry(key, self._owner[key], rows.row(row).copy()) for key, row in sorted(rows.of.items())]

    def counts(self) -> tuple[int, int]:
        """See the port."""
        now = self._snapshot
        return now.people, now.templates

    def state(self) -> object:
        """See the port."""
        return self._snapshot


_Near = list[tuple[_Chunk, NDArray[np.int64]]]
"""Chunks with the places in them that may be among the nearest."""


def _by_chunk(now: _Snapshot, places: NDArray[np.int64], chunk_places: int) -> _Near:
    """Places in their order, by the chunks they lie in."""
    of, begins = np.unique(places // chunk_places, return_index=True)
    parts = np.split(places, begins[1:])
    return [(now.chunks[index], part % chunk_places) for index, part in zip(of.tolist(), parts, strict=True)]


def _by_products(now: _Snapshot, queries: Float32, k: int) -> list[_Near]:
    """Everybody whose float32 cosine reaches the k-th largest, less what rounding can do to both."""
    # A float32 dot product of unit vectors errs by less than D/2 units in the last place; twice that on both sides.
    slack = float(np.finfo(np.float32).eps) * 2 * queries.shape[1]
    scores = [_scores(chunk, queries) for chunk in now.chunks]
    found: list[_Near] = []
    for index in range(len(queries)):
        limit = _kth_largest([part[index] for part in scores], k) - slack
        found.append([(c, kernels.at_least(part[index], limit)) for c, part in zip(now.chunks, scores, strict=True)])
    return found


def _kth_largest(parts: Sequence[Float32], k: int) -> float:
    """The k-th largest of all numbers but NaN."""
    if k > _FEW:
        numbers = np.concatenate(parts)
        numbers = numbers[~np.isnan(numbers)]
        return float(np.partition(numbers, len(numbers) - k)[len(numbers) - k])
    best = np.full(k, -np.inf, np.float32)
    for part in parts:
        kernels.keep_largest(part, best)
    return float(best[-1])


def _scores(chunk: _Chunk, queries: Float32) -> Float32:
    """(queries, places) float32 cosines, NaN for free places."""
    single = len(queries) == 1
    scores: Float32 = (chunk.means @ queries[0])[None] if single else queries @ chunk.means.T
    if chunk.taken < len(chunk.people):
        scores[:, chunk.absent] = np.nan
    return scores


def _ranked(query: Float32, near: _Near, k: int) -> list[Candidate]:
    """The k nearest by float64 cosines, ties by identity id."""
    ranked = heapq.nsmallest(k, _exact(query, near))
    return [Candidate(identity_id, -negative) for negative, identity_id in ranked]


def _exact(query: Float32, near: _Near) -> Iterator[tuple[float, str]]:
    for chunk, places in near:
        if len(places) == 0:
            continue
        cosines: Float64 = (chunk.means[places].astype(np.float64) * query).sum(axis=1)
        for place, cosine in zip(places.tolist(), cosines.tolist(), strict=True):
            who = chunk.people[place]
            assert who is not None
            yield -cosine, who
