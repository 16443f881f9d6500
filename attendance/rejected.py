"""Faces that are not somebody's: "this is not Ana", remembered with Ana and looked at before she is recognised.

What is kept is the face of somebody else, whoever that is. It is never searched for and names nobody: it only tells
that a query nearer to it than to Ana is not Ana.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from attendance.types import Candidate, Float32, Person

RejectedOf = Callable[[str], Float32]
"""Identity id -> the faces that are not theirs, float32 (n, D) of unit length; n may be 0."""


def nobody_rejected(identity_id: str) -> Float32:
    """Where no such faces are kept."""
    return np.empty((0, 0), np.float32)


def rejected_of(people: Callable[[], Mapping[str, Person]], card_id: str) -> RejectedOf:
    """What is kept with the people of a mirror, as they are when it is asked.

    Args:
        people: identity id to person.
        card_id: the space of the queries: faces of another one cannot be compared, and are left out.
    """

    def faces_of(identity_id: str) -> Float32:
        person = people().get(identity_id)
        faces = () if person is None else person.rejected
        vectors = [face.vector for face in faces if face.card_id == card_id]
        return np.stack(vectors) if vectors else nobody_rejected(identity_id)

    return faces_of


def beside_rejected(candidates: Sequence[Candidate], query: Float32, faces_of: RejectedOf) -> list[Candidate]:
    """The candidates, each with the cosine of the query (D,) to the nearest face that is not theirs."""
    return [_beside(candidate, query, faces_of(candidate.identity_id)) for candidate in candidates]


def _beside(candidate: Candidate, query: Float32, faces: Float32) -> Candidate:
    if len(faces) == 0:
        return candidate
    return replace(candidate, rejected=float((faces.astype(np.float64) @ query).max()))
