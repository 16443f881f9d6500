"""Templates made anew from their pictures by another model.

The gate of enrolment let the photo pass already, so it is not judged again. Where a photo shows several faces, the
model whose templates are in force says which of them was enrolled: the one that its vector is stored of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attendance.errors import ImageError
from attendance.pipeline import FaceReader
from attendance.types import Face, Float32, RefusalReason, RGBImage, Template

NO_SOURCE = "no_source"
SAME_FACE = 0.9
"""Cosine from which on a face is the one that a template was made of: the same picture, found once more."""

_TOGETHER = 16


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture (RGB uint8 (H, W, 3)) that a template was made of; ``face`` where it is known already."""

    image: RGBImage
    face: Face | None = None


Find = Callable[[Template], Picture | None]
_Answer = Float32 | tuple[str, str]


class Rereader:
    """Reads pictures with ``reader``, the other model's; ``present`` gives the reader of the model in force."""

    def __init__(self, sources: Sequence[Find], reader: FaceReader, present: Callable[[], FaceReader]) -> None:
        self._sources = sources
        self._reader = reader
        self._load_present = present

    @cached_property
    def _present(self) -> FaceReader:
        return self._load_present()

    def picture(self, template: Template) -> Picture | tuple[str, str]:
        """The picture with the face that was enrolled, or a reason code and a sentence."""
        return self._face_of(template)

    def __call__(self, templates: Sequence[Template]) -> Iterator[_Answer]:
        """See `Remake`."""
        for start in range(0, len(templates), _TOGETHER):
            yield from self._some(templates[start : start + _TOGETHER])

    def _some(self, templates: Sequence[Template]) -> list[_Answer]:
        found = [self._face_of(template) for template in templates]
        there = [each for each in found if isinstance(each, Picture)]
        faces = [[each.face] if each.face is not None else [] for each in there]
        vectors = iter(self._reader.embed([each.image for each in there], faces) if there else [])
        return [next(vectors)[0] if isinstance(each, Picture) else each for each in found]

    def _face_of(self, template: Template) -> Picture | tuple[str, str]:
        """The picture with the face that was enrolled, or why there is none."""
        picture = self._picture(template)
        if isinstance(picture, tuple):
            return picture
        if picture.face is not None:
            return picture
        faces = self._reader.detect([picture.image])[0]
        if len(faces) > 1:
            faces = self._enrolled(picture.image, faces, template)
        if not faces:
            return str(RefusalReason.NO_FACE), "the enrolled face is not found in the photo any more: enrol another"
        return Picture(picture.image, faces[0])

    def _picture(self, template: Template) -> Picture | tuple[str, str]:
        """The picture of the first source that has one, or why there is none."""
        answer = NO_SOURCE, "no photo with its SHA-256 is there, and no kept crop: give the folder that holds it"
        for find in self._sources:
            try:
                if (picture := find(template)) is not None:
                    return picture
            except ImageError as error:
                answer = error.reason, error.detail
        return answer

    def _enrolled(self, image: RGBImage, faces: list[Face], template: Template) -> list[Face]:
        vectors = self._present.embed([image], [faces])[0]
        cosines = vectors.astype(np.float64) @ template.vector
        best = int(cosines.argmax())
        return [faces[best]] if cosines[best] >= SAME_FACE else []
