"""The gallery port: templates in, nearest people out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attendance.types import Candidate, Float32, GalleryEntry


class Gallery(ABC):
    """Holds the templates of one model. ``card_id`` is that model's, ``dimension`` its D.

    A person has several templates and scores by the best of them. Every method raises `GalleryError` on failure.
    """

    card_id: str
    dimension: int

    @abstractmethod
    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """Add templates; one whose template_id is present is replaced."""

    @abstractmethod
    def remove(self, template_ids: Sequence[str]) -> int:
        """Remove templates and return how many were really there."""

    @abstractmethod
    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """The k nearest people (not templates) for each query (N, D), best first; fewer when there are fewer people.

        Ties are ordered by identity_id, so the answer depends on the content alone.
        """

    @abstractmethod
    def entries(self) -> list[GalleryEntry]:
        """Everything held, ordered by template_id, vectors bit-exact."""

    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """(people, templates)."""
