"""Fakes that stand behind the real ports. Their world: a face is a filled square of one colour on a black picture.

The detector finds each connected patch of one colour, the embedder turns the chip's mean colour into a unit vector, so
pictures of the same colour are the same person and everything else of the path is the real thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from attendance.align import arcface_112
from attendance.detect.port import Detector
from attendance.embed.card import ColourOrder, InputSpec, ModelCard, WeightFormat
from attendance.embed.port import Embedder
from attendance.types import Consent, Face, Float32, Person, RGBImage, Template

MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 220, 30), (30, 30, 220), (200, 200, 20)


def picture(
    *patches: tuple[tuple[int, int, int], tuple[int, int, int]], size: tuple[int, int] = (240, 320)
) -> RGBImage:
    """A black picture (height, width) with square patches given as (colour, (x, y, side))."""
    image = np.zeros((*size, 3), np.uint8)
    for colour, (x, y, side) in patches:
        image[max(y, 0) : y + side, max(x, 0) : x + side] = colour
    return image


def face_at(x: float, y: float, side: float, score: float = 0.99) -> Face:
    """A frontal face that fills the square."""
    unit = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box, score, (unit * side + (x, y)).astype(np.float32))


class PatchDetector(Detector):
    """Finds patches of one colour, largest first."""

    name = "patches"

    def __init__(self) -> None:
        self.images_seen = 0

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        self.images_seen += len(images)
        return [self._patches(image) for image in images]

    def _patches(self, image: RGBImage) -> list[Face]:
        found = []
        # Each pixel as one number, because numbers sort a hundred times faster than rows.
        numbers = image.astype(np.int64) @ (1 << 16, 1 << 8, 1)
        for number in np.unique(numbers):
            if max(number >> 16, number >> 8 & 255, number & 255) < 100:
                continue
            mask = (numbers == number).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            found += [stats[i] for i in range(1, count) if stats[i][4] >= 100]
        found.sort(key=lambda s: (-int(s[4]), int(s[0]), int(s[1])))
        return [face_at(float(x), float(y), float(max(w, h))) for x, y, w, h, _ in found]


class ColourEmbedder(Embedder):
    """The mean colour of a chip, centred, as a unit vector of eight numbers."""

    def __init__(self, card: ModelCard | None = None) -> None:
        self.card = card if card is not None else colour_card()
        self.device = "cpu"
        self.chips_seen = 0

    def embed(self, chips: RGBImage) -> Float32:
        self.chips_seen += len(chips)
        vectors = np.zeros((len(chips), self.card.dimension), np.float64)
        middle = chips[:, 40:72, 40:72].astype(np.float64)
        vectors[:, :3] = middle.mean(axis=(1, 2)) - 90.0
        vectors[:, 3] = 1.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def colour_card(card_id: str = "colours") -> ModelCard:
    """A card that fits the colour embedder: 0.9 at any rate in use."""
    return ModelCard(
        id=card_id,
        sha256="0" * 64,
        format=WeightFormat.ONNX,
        network="",
        input=InputSpec(112, ColourOrder.RGB, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        alignment=arcface_112(),
        dimension=8,
        metric="cosine",
        license="none",
        source="tests",
        margin=0.02,
        thresholds={1e-1: 0.90, 1e-6: 0.95},
    )


def vector_of(colour: tuple[int, int, int]) -> Float32:
    """What the colour embedder makes of a patch of this colour."""
    chips = np.broadcast_to(np.array(colour, np.uint8), (1, 112, 112, 3))
    vector: Float32 = ColourEmbedder().embed(np.ascontiguousarray(chips))[0]
    return vector


def person(identity_id: str, *colours: tuple[int, int, int], version: int = 1, name: str = "") -> Person:
    """A person with one template per colour."""
    templates = tuple(
        Template(
            template_id=f"{identity_id}-{index}",
            vector=vector_of(colour),
            card_id="colours",
            source_label="",
            path=f"{identity_id}/{index}.png",
            sha256=f"{index:064d}",
            batch="batch",
            created_at=MORNING,
        )
        for index, colour in enumerate(colours)
    )
    return Person(
        identity_id=identity_id,
        subject_ref=f"ref-{identity_id}",
        version=version,
        created_at=MORNING,
        consent=Consent("attested", "", MORNING, "operator"),
        name=name,
        templates=templates,
    )


def at(seconds: float) -> datetime:
    """So many seconds into the morning, aware UTC."""
    return MORNING + timedelta(seconds=seconds)
