"""Folders of people: photos, of which the product cuts the face, or crops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from attendance.align import align
from attendance.detect.port import Detector
from attendance.errors import ImageError, SourceError
from attendance.faces import FaceRule, choose_face
from attendance.images import list_people_folder, read_photo
from attendance.types import Alignment, AlignmentKind, Float32, RefusalReason, RGBImage
from lab.data.source import Source, fitted

MAX_PIXELS = 120_000_000
MAX_SIDE_PX = 1600


class FolderSource(Source):
    """The faces of ``root/<person>/<photo>``.

    Without ``cut`` the photos are square crops already; with it, each photo's face is found and aligned.
    """

    def __init__(self, root: Path, *, cut: FaceCutter | None = None) -> None:
        listed = list_people_folder(root)
        if not listed.photos:
            raise SourceError(f"{root}: expected DIR/<person>/photos, got no photo: name the folder of the people")
        self.root, self._cut = root, cut
        self.people = tuple(listed.photos)
        self.paths = [path for paths in listed.photos.values() for path in paths]
        counts = [len(paths) for paths in listed.photos.values()]
        self.labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        self.fingerprint = self._fingerprint()

    def read(self, index: int, size_px: int) -> RGBImage:
        """See `Source`."""
        image = read_photo(self.paths[index], max_pixels=MAX_PIXELS, max_side_px=MAX_SIDE_PX).image
        if self._cut is not None:
            return self._cut(image, size_px)
        height, width = image.shape[:2]
        if height != width:
            raise ImageError(RefusalReason.LOW_QUALITY, f"an aligned crop is square, this one has {width}x{height}")
        return fitted(image, size_px)

    def place(self, index: int) -> str:
        """See `Source`."""
        return self.paths[index].relative_to(self.root).as_posix()

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(b"crops" if self._cut is None else self._cut.fingerprint.encode())
        for path in self.paths:
            try:
                status = path.stat()
            except OSError:
                digest.update(f"{path.relative_to(self.root)} gone\n".encode())
            else:
                digest.update(f"{path.relative_to(self.root)} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


class FaceCutter:
    """Finds the face that holds a photo's centre, else the nearest to it, and aligns it with the product's align.py."""

    def __init__(self, alignment: Alignment, load: Callable[[], Detector]) -> None:
        self.alignment = alignment
        self._load = load
        template = b"" if alignment.template is None else alignment.template.tobytes()
        text = f"{alignment.kind} {alignment.size_px} {alignment.margin_px} "
        self.fingerprint = hashlib.sha256(text.encode() + template).hexdigest()

    @cached_property
    def _detector(self) -> Detector:
        return self._load()

    def __call__(self, image: RGBImage, size_px: int) -> RGBImage:
        """The aligned face (size_px, size_px, 3) of a photo, both RGB uint8.

        Raises:
            ImageError: no face, or one that cannot be aligned.
        """
        height, width = image.shape[:2]
        face = choose_face(self._detector.detect([image])[0], (height, width), FaceRule.CENTRE).face
        if face is None:
            raise ImageError(RefusalReason.NO_FACE, f"no face was found in the {width}x{height} picture")
        return np.asarray(align(image, [face], at_size(self.alignment, size_px))[0])


def at_size(alignment: Alignment, size_px: int) -> Alignment:
    """The same cut at another size: what shrinking the crop would give, but cut from the photo itself."""
    if alignment.template is None or alignment.size_px == size_px:
        return Alignment(alignment.kind, size_px, margin_px=alignment.margin_px, template=alignment.template)
    scale = size_px / alignment.size_px
    # Pixels are counted by their centres: half a pixel lies before the first one at either size.
    template: Float32 = ((alignment.template + 0.5) * scale - 0.5).astype(np.float32)
    return Alignment(AlignmentKind.SIMILARITY, size_px, template=template)
