"""The gallery port: templates in, nearest people out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from attendance.errors import GalleryError, ModelMismatchError
from attendance.types import Candidate, Float32, GalleryEntry

# A unit vector rounded to float32 stays within this of length 1; anything farther was never normalised.
LENGTH_TOLERANCE = 1e-3


class Gallery(ABC):
    """Holds the templates of one model. ``card_id`` is that model's, ``dimension`` its D.

    A person has several templates and scores by their mean direction (`mean_direction`), which loses fewer people at
    the same rate of accepted strangers than the best single template. Every method raises `GalleryError` on failure and
    `ModelMismatchError` for vectors of another dimension.
    """

    card_id: str
    dimension: int

    @abstractmethod
    def upsert(self, entries: Sequence[GalleryEntry]) -> None:
        """Add templates; one whose template_id is present is replaced. The last of several with one id counts."""

    @abstractmethod
    def remove(self, template_ids: Sequence[str]) -> int:
        """Remove templates and return how many were really there."""

    @abstractmethod
    def nearest(self, queries: Float32, *, k: int) -> list[list[Candidate]]:
        """The k nearest people (not templates) for each query (N, D), best first; fewer when there are fewer people.

        Queries are float32 of unit length. Ties are ordered by identity_id, so the answer depends on the content alone.
        """

    @abstractmethod
    def entries(self) -> list[GalleryEntry]:
        """Everything held, ordered by template_id; each number within 1e-6 of what was put in.

        (The exact mirror returns the very bits; Chroma normalises what it stores once more.)
        """

    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """(people, templates)."""

    def state(self) -> object:
        """Equal for as long as nothing was changed; by default the counts, which a replacement leaves as they are."""
        return self.counts()

    @property
    def exclusive(self) -> bool:
        """Whether nobody else changes the gallery while it is open here."""
        return True

    @property
    def fault(self) -> str | None:
        """A sentence on what a rebuild would put right although the content is whole, or None."""
        return None


class GalleryStore(ABC):
    """Where a gallery is kept between runs: opens it, or replaces it as a whole.

    ``card_id`` is the space of its templates: the model's id, and the key's fingerprint where one protects them.
    """

    card_id: str

    @abstractmethod
    def open(self) -> AbstractContextManager[Gallery]:
        """The gallery, held until the context ends.

        Raises GalleryDamagedError when it cannot be opened or does not exist, ModelMismatchError when it was built
        with another model, LockHeldError when somebody else holds it, GalleryUnavailableError when its server is away.
        """

    @abstractmethod
    def replacement(self) -> AbstractContextManager[Gallery]:
        """A new and empty gallery that takes the old one's place when the context ends without an error, else never.

        Raises GalleryGoneError when another new one, begun later, took the place meanwhile.
        """

    @abstractmethod
    def exists(self) -> bool:
        """Whether a gallery was ever made here, whatever state it is in."""


def mean_direction(vectors: Float32) -> Float32:
    """The unit vector along the mean of unit vectors (n, D), n >= 1: float32 (D,); zero where they cancel out."""
    total = vectors.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length > 0.0 else total, dtype=np.float32)


def checked_entries(gallery: Gallery, entries: Sequence[GalleryEntry]) -> dict[str, GalleryEntry]:
    """The entries by template id, the last of several with one id; raises unless all are unit vectors that fit."""
    for entry in entries:
        if entry.vector.shape[0] != gallery.dimension:
            raise ModelMismatchError(_dimension_sentence(gallery, entry.vector.shape[0]))
        length = float(np.linalg.norm(entry.vector))
        if not abs(length - 1.0) <= LENGTH_TOLERANCE:
            raise GalleryError(f"template {entry.template_id} must be a unit vector, got length {length}: normalise it")
    return {entry.template_id: entry for entry in entries}


def check_queries(gallery: Gallery, queries: Float32, *, k: int) -> None:
    """Raise unless queries are finite float32 (N, D) of the gallery's dimension and k is at least 1."""
    if k < 1:
        raise GalleryError(f"the number of people asked for must be at least 1, got {k}")
    if queries.ndim != 2 or queries.dtype != np.float32:
        raise GalleryError(f"queries must be float32 of shape (N, D), got {queries.dtype} of shape {queries.shape}")
    if queries.shape[1] != gallery.dimension:
        raise ModelMismatchError(_dimension_sentence(gallery, queries.shape[1]))
    if not np.isfinite(queries).all():
        raise GalleryError("queries must be finite numbers, got NaN or infinity: the embedder's output is broken")


def _dimension_sentence(gallery: Gallery, got: int) -> str:
    return (
        f"the gallery of model {gallery.card_id} holds vectors of {gallery.dimension} numbers, got {got}: "
        "use the model that the gallery was built with (model.id)"
    )
