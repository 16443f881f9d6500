"""Which of several detected faces a photo stands for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from attendance.types import Face

SEVERAL_FACES_SHARE = 0.6
"""A second face with this share of the largest one's area makes the photo ambiguous (the contract's 60 %)."""


class FaceRule(StrEnum):
    """How the face is chosen: the contract's ``--face``."""

    LARGEST = "largest"
    CENTRE = "centre"


@dataclass(frozen=True, slots=True, eq=False)
class FaceChoice:
    """The chosen face, or None where there is no face to choose from.

    ``several`` says that the photo does not tell whom it shows: by rule ``largest`` the second face has at least
    60 % of the chosen one's area. Who enrols refuses such a photo (``several_faces``), who only reads it goes on.
    ``second_share`` is the second largest face's area over the largest one's, 0 with fewer than two faces.
    """

    face: Face | None
    several: bool
    second_share: float


def choose_face(faces: Sequence[Face], size: tuple[int, int], rule: FaceRule | str) -> FaceChoice:
    """Choose the face that a photo stands for.

    Args:
        faces: what the detector found, boxes in pixels of the image; may be empty.
        size: (height, width) of that image in pixels, as in ``image.shape[:2]``.
        rule: ``largest``: the largest box. ``centre``: the box that holds the image's centre, else the nearest to it,
            both by the distance of box centre to image centre; never ``several``. Equal faces are ordered by area,
            then score, then place, so the answer does not depend on the order of ``faces``.

    Raises:
        ValueError: for an unknown rule; the message lists the known ones.
    """
    rule = _known_rule(rule)
    if not faces:
        return FaceChoice(face=None, several=False, second_share=0.0)
    by_size = sorted(faces, key=_size_order)
    share = _second_share(by_size)
    if rule is FaceRule.LARGEST:
        return FaceChoice(face=by_size[0], several=share >= SEVERAL_FACES_SHARE, second_share=share)
    centre = (size[1] / 2.0, size[0] / 2.0)
    holding = [face for face in by_size if _holds(face, centre)]
    nearest = min(holding if holding else by_size, key=lambda face: _squared_distance(face, centre))
    return FaceChoice(face=nearest, several=False, second_share=share)


def _known_rule(rule: FaceRule | str) -> FaceRule:
    try:
        return FaceRule(rule)
    except ValueError as error:
        known = ", ".join(FaceRule)
        raise ValueError(f"unknown face rule {rule!r}: use one of {known}") from error


def _size_order(face: Face) -> tuple[float, ...]:
    return (-face.area_px, -face.score, *(float(edge) for edge in face.box))


def _second_share(by_size: Sequence[Face]) -> float:
    if len(by_size) < 2:
        return 0.0
    # Boxes without area cannot be told apart by it: they count as equal.
    return by_size[1].area_px / by_size[0].area_px if by_size[0].area_px > 0.0 else 1.0


def _holds(face: Face, point: tuple[float, float]) -> bool:
    left, top, right, bottom = (float(edge) for edge in face.box)
    return left <= point[0] <= right and top <= point[1] <= bottom


def _squared_distance(face: Face, point: tuple[float, float]) -> float:
    left, top, right, bottom = (float(edge) for edge in face.box)
    return ((left + right) / 2.0 - point[0]) ** 2 + ((top + bottom) / 2.0 - point[1]) ** 2
