"""IJB-B's and IJB-C's protocol: templates of several photos and videos, compared in pairs.

The official lists: ``<set>_face_tid_mid.txt`` (image, template, medium) and ``<set>_template_pair_label.txt``
(template, template, 1 for one person). A medium is a photo or a video; its faces are averaged first, so that a long
video counts as much as a photo (Whitelam et al. 2017), and a template is the direction of the sum of its media.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attendance.errors import UsageError
from attendance.types import Float32
from lab.data.source import Ints
from lab.evaluate.streamed import CHUNK, ScoreCounts


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """``images`` (N,) names with ``templates`` (N,) and ``media`` (N,); pairs ``one``, ``two``, ``same`` (M,)."""

    images: tuple[str, ...]
    templates: Ints
    media: Ints
    one: Ints
    two: Ints
    same: np.ndarray


def read_protocol(folder: Path, name: str) -> Protocol:
    """Read the official lists of a set, ``ijbb`` or ``ijbc``.

    Raises:
        UsageError: a list cannot be read, or a line of it has another form; file and line are named.
    """
    images, templates, media = read_media(folder, name)
    pairs = np.array([[int(v) for v in row] for row in _rows(folder / f"{name}_template_pair_label.txt")])
    unknown = np.setdiff1d(pairs[:, :2], templates)
    if len(unknown):
        raise UsageError(f"{folder}: a pair names template {unknown[0]}, which has no face; take both lists of one set")
    return Protocol(images, templates, media, pairs[:, 0], pairs[:, 1], pairs[:, 2] == 1)


def read_media(folder: Path, name: str) -> tuple[tuple[str, ...], Ints, Ints]:
    """The set's images, (N,) the template of each and (N,) its medium.

    Raises:
        UsageError: as `read_protocol`.
    """
    faces = list(_rows(folder / f"{name}_face_tid_mid.txt"))
    templates, media = (np.array([int(row[place]) for row in faces], dtype=np.int64) for place in (1, 2))
    return tuple(row[0] for row in faces), templates, media


def fuse(vectors: Float32, templates: Ints, media: Ints) -> tuple[Ints, Float32]:
    """Fuse faces (N, D), unit length or zero for unread, into templates: their numbers (T,) rising, and (T, D).

    A template without a read face is zero: its cosine is 0 with everything.
    """
    read = np.linalg.norm(vectors, axis=1) > 0.0
    names, place = np.unique(templates, return_inverse=True)
    pairs, medium, counts = np.unique(
        np.stack([place[read], media[read]], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    means = np.zeros((len(pairs), vectors.shape[1]))
    np.add.at(means, medium.reshape(-1), vectors[read])
    fused = np.zeros((len(names), vectors.shape[1]))
    np.add.at(fused, pairs[:, 0], means / counts[:, None])
    lengths = np.linalg.norm(fused, axis=1, keepdims=True)
    unit = np.divide(fused, lengths, out=np.zeros_like(fused), where=lengths > 0.0)
    return names.astype(np.int64), unit.astype(np.float32)


def people_of_templates(protocol: Protocol, names: Ints) -> Ints:
    """(T,) a number of each template's person, as far as same pairs tell."""
    parents = np.arange(len(names))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = int(parents[place])
        return place

    one, two = np.searchsorted(names, protocol.one), np.searchsorted(names, protocol.two)
    for first, second in zip(one[protocol.same].tolist(), two[protocol.same].tolist(), strict=True):
        parents[root(first)] = root(second)
    found = np.unique([root(place) for place in range(len(names))], return_inverse=True)[1]
    return found.astype(np.int64)


def count_pairs(protocol: Protocol, vectors: Float32, counts: ScoreCounts) -> None:
    """Score the protocol's pairs of faces (N, D), a chunk at a time."""
    names, fused = fuse(vectors, protocol.templates, protocol.media)
    people = people_of_templates(protocol, names)
    for start in range(0, len(protocol.one), CHUNK):
        one = np.searchsorted(names, protocol.one[start : start + CHUNK])
        two = np.searchsorted(names, protocol.two[start : start + CHUNK])
        scores = np.einsum("nd,nd->n", fused[one], fused[two])
        # A template of which nothing was read is accepted by no threshold.
        empty = ~fused[one].any(axis=1) | ~fused[two].any(axis=1)
        counts.add(np.where(empty, -1.0, scores), protocol.same[start : start + CHUNK], people[one], people[two])


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                parts = line.split()
                if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
                    raise UsageError(f"{path}: line {number}: expected three columns, got {line.strip()[:60]!r}")
                yield parts[0], parts[1], parts[2]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable list of the protocol, got: {error}") from error
