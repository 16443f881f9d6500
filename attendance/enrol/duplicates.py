"""Who looks like somebody enrolled: the gallery as an enrolment sees it while it goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attendance.duplicates import Standing
from attendance.enrol.values import SuspectedDuplicate
from attendance.search.exact import ExactGallery
from attendance.search.port import Gallery, mean_direction
from attendance.types import Candidate, Float32, GalleryEntry

LEAD_WEIGHT, LEAD_CAP = 0.4, 0.04
CLEARLY_LIKER = 0.04
"""What a lead over the next person adds to a photo's likeness to somebody, and how much more of it says that of two
photos under one name this one is somebody else's: docs/enrolling.md."""


@dataclass(frozen=True, slots=True)
class DuplicatePolicy:
    """From which cosine on a photo is taken to show somebody else, and how far who is less near must stand out.

    None leaves a check out.
    """

    threshold: float | None
    standing: Standing | None = None


class Crowd:
    """Everybody enrolled, those of the present group included, and whom a newcomer looks like among them."""

    def __init__(self, gallery: Gallery, policy: DuplicatePolicy) -> None:
        self._policy = policy
        self._everybody = ExactGallery(gallery.card_id, gallery.dimension)
        self._group = ExactGallery(gallery.card_id, gallery.dimension)
        self._vectors: dict[str, dict[str, Float32]] = {}
        self._directions: dict[str, Float32] = {}
        self._sum = np.zeros(gallery.dimension, np.float64)

    def survey(self, gallery: Gallery, *, without: Collection[str]) -> None:
        """Take what the gallery holds, but for these template ids."""
        entries = [entry for entry in gallery.entries() if entry.template_id not in without]
        self._everybody.upsert(entries)
        self._note(entries)

    def add(self, entries: Sequence[GalleryEntry]) -> None:
        """Take who was accepted in this group."""
        self._group.upsert(entries)
        self._note(entries)

    def end_group(self) -> None:
        """Put the group with the others: a change of many people at once is quicker than many changes."""
        self._everybody.upsert(self._group.entries())
        self._group = ExactGallery(self._everybody.card_id, self._everybody.dimension)

    def templates_of(self, identity_id: str) -> Mapping[str, Float32]:
        """Template id to vector of one person, as enrolled so far."""
        return self._vectors.get(identity_id, {})

    def alike(self, identity_id: str, vectors: Sequence[Float32]) -> list[SuspectedDuplicate]:
        """Whom a person's new photos look like, the most alike first."""
        if self._policy.threshold is None or not vectors:
            return []
        found = [self._nearest(vector, without=identity_id) for vector in vectors]
        best: dict[str, float] = {}
        for candidates in found:
            for other in candidates[:2]:
                if other.similarity >= self._policy.threshold:
                    best[other.identity_id] = max(other.similarity, best.get(other.identity_id, -1.0))
        standing = None if best else self.standing_of(identity_id, vectors)
        if standing is not None and self._policy.standing is not None and standing[1] >= self._policy.standing.least:
            best[standing[0].identity_id] = standing[0].similarity
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        return [SuspectedDuplicate(identity_id, *pair) for pair in ranked]

    def nearest_to(self, vector: Float32, *, without: str) -> Candidate | None:
        """Who else is nearest to a photo."""
        return next(iter(self._nearest(vector, without=without)), None)

    def likeness(self, vector: Float32, *, without: str) -> float:
        """How much a photo looks like whoever is nearest to it: their cosine, and more where nobody else is near.

        -1 where nobody else is enrolled.
        """
        ranked = self._nearest(vector, without=without)
        if not ranked:
            return -1.0
        lead = ranked[0].similarity - ranked[1].similarity if len(ranked) > 1 else 0.0
        return ranked[0].similarity + LEAD_WEIGHT * min(lead, LEAD_CAP)

    def standing_of(self, identity_id: str, vectors: Sequence[Float32]) -> tuple[Candidate, float] | None:
        """The person whom a newcomer's photos together are nearest to, with the highest cosine, and how they stand out.

        None where the rule asks for a larger gallery, or where there is none.
        """
        rule = self._policy.standing
        others = len(self._vectors.keys() - {identity_id})
        if rule is None or others < max(rule.from_people, 2):
            return None
        nearest = self._nearest(mean_direction(np.stack(vectors)), without=identity_id)[0].identity_id
        direction = self._directions[nearest]
        crowd = self._nearest(direction, without=nearest, nor=identity_id)[0].similarity
        similarities = [float(vector @ direction) for vector in vectors]
        scores = []
        for vector, similarity in zip(vectors, similarities, strict=True):
            next_best = self._nearest(vector, without=identity_id, nor=nearest)[0].similarity
            everybody = self._to_everybody(vector, without=(identity_id, nearest))
            scores.append(rule.score(similarity, lead=similarity - next_best, crowd=crowd, everybody=everybody))
        return Candidate(nearest, max(similarities)), float(np.mean(scores))

    def _nearest(self, vector: Float32, *, without: str, nor: str = "") -> list[Candidate]:
        """The nearest people but for those named, best first; two at least where there are so many."""
        best: dict[str, float] = {}
        for gallery in (self._everybody, self._group):
            for candidate in gallery.nearest(vector[None, :], k=4)[0]:
                best[candidate.identity_id] = max(candidate.similarity, best.get(candidate.identity_id, -1.0))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Candidate(*pair) for pair in ranked if pair[0] not in (without, nor)]

    def _to_everybody(self, vector: Float32, *, without: tuple[str, str]) -> float:
        """Mean cosine to all people but those named."""
        left_out = [self._directions[who] for who in without if who in self._directions]
        total = self._sum - np.sum(left_out, axis=0, dtype=np.float64)
        return float(vector @ total) / max(len(self._directions) - len(left_out), 1)

    def _note(self, entries: Sequence[GalleryEntry]) -> None:
        for entry in entries:
            self._vectors.setdefault(entry.identity_id, {})[entry.template_id] = entry.vector
        for who in sorted({entry.identity_id for entry in entries}):
            if who in self._directions:
                self._sum -= self._directions[who]
            self._directions[who] = mean_direction(np.stack(list(self._vectors[who].values())))
            self._sum += self._directions[who]
