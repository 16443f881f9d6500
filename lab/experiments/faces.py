"""What is trained on: the tune half's crops; and views of them that a teacher was shown, with what it made of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from attendance.align import align, arcface_112
from attendance.embed.port import Embedder
from attendance.types import Alignment, AlignmentKind, Face, Float32, RGBImage
from lab.data.cache import ABOUT, CROPS, LABELS, TARGETS
from lab.data.source import Ints
from lab.data.split import split_people
from lab.experiments.photos import PIECE, Found, Photos, crops, require_time, save_array

TUNE, VIEWS = "tune", "views"
"""Names of the folders that recipes take their faces from."""

HELD_OUT, SPLIT_SEED = 0.2, 0
"""The validation part of the tune half, by people: recipes name the same (`data.strangers`, `data.split_seed`)."""

CANVAS_PX, CANVAS_SCALE = 224, 1.4
PLAIN_VIEWS, MIXED_VIEWS = 4, 4
VIEW_SEED = 8
STRETCH, TURN, LIGHT = 0.08, 8.0, 0.3
"""Largest stretch, turn in degrees and change of light of a view."""

_MIDDLE_OF_CROP = 56.0


def make_crops(photos: Photos, found: Found) -> Path:
    """The crops of the tune half by ArcFace's template, 112 pixels, as a folder that `data.kind: crops` reads."""
    folder = photos.work / TUNE
    if not (folder / ABOUT).exists():
        chosen = np.flatnonzero(found.read)
        save_array(folder / CROPS, crops(photos, found, chosen.tolist(), arcface_112()))
        _finish(folder, found, chosen, np.arange(len(chosen)))
    return folder


@dataclass(frozen=True, slots=True, eq=False)
class _Canvases:
    """``pictures`` RGB uint8 (N, 224, 224, 3) with the faces' points at ``points`` (5, 2); ``labels`` (N,) people."""

    pictures: RGBImage
    points: Float32
    labels: Ints
    partners: list[Ints]
    """For each face those of other people on its side of the split."""


def make_views(photos: Photos, found: Found, teacher: Embedder, *, stop_at: float | None = None) -> Path:
    """Views of each face of the tune half at 112 pixels, and the teacher's embeddings of the same pictures.

    The first is the face as it is, the next are mirrored or not, stretched, turned, darker or lighter. The mixed ones
    are two people's faces laid over each other: people who do not exist, of whom a teacher has an opinion all the
    same. Nobody is mixed across the border of the validation part.

    Raises:
        UnfinishedError: ``stop_at`` came first; the pieces that are done are kept.
    """
    folder = photos.work / VIEWS
    if (folder / ABOUT).exists():
        return folder
    chosen = np.flatnonzero(found.read)
    canvases = _canvases(photos, found, chosen)
    pieces = [_piece(folder / "pieces", at, canvases, teacher, stop_at=stop_at) for at in range(0, len(chosen), PIECE)]
    save_array(folder / CROPS, np.concatenate([np.load(piece / CROPS) for piece in pieces]))
    save_array(folder / TARGETS, np.concatenate([np.load(piece / TARGETS) for piece in pieces]))
    _finish(folder, found, chosen, np.repeat(np.arange(len(chosen)), PLAIN_VIEWS + MIXED_VIEWS))
    return folder


def _piece(root: Path, at: int, canvases: _Canvases, teacher: Embedder, *, stop_at: float | None) -> Path:
    folder = root / f"{at:06d}"
    if (folder / TARGETS).exists():
        return folder
    require_time(stop_at)
    small, large = [], []
    for index in range(at, min(at + PIECE, len(canvases.pictures))):
        for view in range(PLAIN_VIEWS + MIXED_VIEWS):
            picture, points = _view(canvases, index, view)
            face = Face(np.array([0, 0, CANVAS_PX, CANVAS_PX], np.float32), 1.0, points)
            small.append(align(picture, [face], arcface_112())[0])
            large.append(align(picture, [face], teacher.card.alignment)[0])
    save_array(folder / CROPS, np.stack(small))
    vectors = [teacher.embed(np.stack(large[start : start + 32])) for start in range(0, len(large), 32)]
    save_array(folder / TARGETS, np.concatenate(vectors))
    return folder


def _view(canvases: _Canvases, index: int, view: int) -> tuple[RGBImage, Float32]:
    random = np.random.default_rng((VIEW_SEED, index, view))
    picture, points = canvases.pictures[index], canvases.points
    if view == 0:
        return picture, points
    if view >= PLAIN_VIEWS:
        other = canvases.pictures[int(random.choice(canvases.partners[index]))]
        if random.random() < 0.5:
            other = np.ascontiguousarray(other[:, ::-1])
        share = random.uniform(0.35, 0.65)
        picture = np.asarray(cv2.addWeighted(picture, share, other, 1.0 - share, 0.0), dtype=np.uint8)
    return _varied(picture, points, random)


def _varied(picture: RGBImage, points: Float32, random: np.random.Generator) -> tuple[RGBImage, Float32]:
    if random.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
        points = points[[1, 0, 2, 4, 3]] * np.array([-1, 1], np.float32) + np.array([CANVAS_PX - 1, 0], np.float32)
    middle = CANVAS_PX / 2.0
    matrix = cv2.getRotationMatrix2D((middle, middle), random.uniform(-TURN, TURN), 1.0)
    stretch = 1.0 + random.uniform(-STRETCH, STRETCH)
    matrix[0] = stretch * matrix[0] + np.array([0.0, 0.0, (1.0 - stretch) * middle])
    turned = cv2.warpAffine(picture, matrix, (CANVAS_PX, CANVAS_PX), borderMode=cv2.BORDER_REPLICATE)
    light = 1.0 + random.uniform(-LIGHT, LIGHT)
    lit = np.clip(turned.astype(np.float32) * light, 0.0, 255.0).astype(np.uint8)
    moved: Float32 = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return lit, moved


def _canvases(photos: Photos, found: Found, chosen: Ints) -> _Canvases:
    template = arcface_112().template
    assert template is not None
    points: Float32 = ((template - _MIDDLE_OF_CROP) * CANVAS_SCALE + CANVAS_PX / 2.0).astype(np.float32)
    # Mirroring is about the canvas' middle; the template is nearly, not quite, symmetric, which the points follow.
    wide = Alignment(AlignmentKind.SIMILARITY, CANVAS_PX, template=points)
    people, labels = _people(found, chosen)
    held = split_people(people, labels, seed=SPLIT_SEED, strangers=HELD_OUT).classes < 0
    sides = [np.flatnonzero(held[labels] == side) for side in (False, True)]
    partners = [sides[int(held[label])] for label in labels]
    return _Canvases(crops(photos, found, chosen.tolist(), wide), points, labels, partners)


def _people(found: Found, chosen: Ints) -> tuple[list[str], Ints]:
    people, labels = np.unique(np.array(found.people())[chosen], return_inverse=True)
    return people.tolist(), labels.astype(np.int64)


def _finish(folder: Path, found: Found, chosen: Ints, order: Ints) -> None:
    """Write whom the crops show; what stands last makes the folder count."""
    people, labels = _people(found, chosen)
    save_array(folder / LABELS, labels[order])
    digest = hashlib.sha256((folder / CROPS).read_bytes()).hexdigest()
    places = [found.names[int(chosen[index])] for index in order]
    unread = [[found.names[index], "no_face", "no face was found"] for index in np.flatnonzero(~found.read)]
    about = {"key": digest, "people": people, "places": places, "unread": unread}
    beside = folder / f".{ABOUT}"
    beside.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    beside.replace(folder / ABOUT)
