"""Where the picture of a template comes from: the folder of photos, given again.

A photo is known by its SHA-256, so the folder may have been moved and sorted otherwise; a photo that was changed since
is another one, and is not taken.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from attendance.errors import ImageError
from attendance.images import PHOTO_EXTENSIONS, read_photo
from attendance.stills import sha256_of
from attendance.swap.rereading import Picture
from attendance.types import Template


class Photos:
    """The photos below a folder. ``max_pixels`` and ``max_side_px``: as enrolment reads them."""

    def __init__(self, root: Path, *, max_pixels: int, max_side_px: int) -> None:
        self._root = root
        self._limits = (max_pixels, max_side_px)

    def __call__(self, template: Template) -> Picture | None:
        """The photo that a template was made of, None where it is not here; ImageError where it cannot be read."""
        path = self._path_of(template)
        if path is None:
            return None
        pixels, side_px = self._limits
        return Picture(read_photo(path, max_pixels=pixels, max_side_px=side_px).image)

    def _path_of(self, template: Template) -> Path | None:
        named = self._root / template.path
        # Where it was when it was enrolled, before every other file is read.
        if not Path(template.path).is_absolute() and ".." not in Path(template.path).parts:
            try:
                if named.is_file() and sha256_of(named) == template.sha256:
                    return named
            except (ImageError, OSError, ValueError):
                pass
        return self._by_content.get(template.sha256)

    @cached_property
    def _by_content(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted(self._root.rglob("*")):
            if path.suffix.lower().lstrip(".") in PHOTO_EXTENSIONS and path.is_file():
                try:
                    found.setdefault(sha256_of(path), path)
                except ImageError:
                    continue
        return found
