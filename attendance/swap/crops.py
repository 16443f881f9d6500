"""Where the picture of a template comes from when there are no photos: the store of crops."""

from __future__ import annotations

from attendance.crops import CropStore
from attendance.errors import ImageError
from attendance.swap.rereading import Picture
from attendance.types import Alignment, Template


class KeptCrops:
    """The kept crops, for a model that takes faces by ``alignment``."""

    def __init__(self, store: CropStore, alignment: Alignment) -> None:
        self._store = store
        self._alignment = alignment

    def __call__(self, template: Template) -> Picture | None:
        """The crop of a template, with its face; None where none is kept.

        ImageError where it is damaged, or holds less of the photo than the model looks at; UsageError for another key.
        """
        crop = self._store.get(template)
        if crop is None:
            return None
        if not crop.holds(self._alignment):
            raise ImageError("crop_too_narrow", "the model looks at more of the photo than was kept: give the photos")
        return Picture(crop.image, crop.face)
