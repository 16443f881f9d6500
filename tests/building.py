"""`build_database.py` with fakes for its networks: everything else of it is the real thing."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from attendance.app import App
from attendance.cli.build import main
from attendance.detect.port import Detector
from attendance.embed.card import ModelCard
from attendance.embed.port import Embedder
from attendance.gallery import Differences, verify
from attendance.ledger.sqlite import SqliteLedger
from attendance.search.chroma import ChromaStore
from attendance.types import Face, Person, RGBImage
from tests.fakes import ColourEmbedder, colour_card, face_at, picture

Colour = tuple[int, int, int]


class BrightDetector(Detector):
    """Finds the bright spots of a dark picture: unlike exact colours, they outlive JPEG and shrinking."""

    name = "bright"

    def detect(self, images: Sequence[RGBImage]) -> list[list[Face]]:
        return [self._spots(image) for image in images]

    def _spots(self, image: RGBImage) -> list[Face]:
        mask = (image.max(axis=2) > 100).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        found = [face_at(float(x), float(y), float(max(w, h))) for x, y, w, h, area in stats[1:] if area >= 100]
        return sorted(found, key=lambda face: -face.area_px)


class FakeApp(App):
    """The app with networks that need no weights; counts how often they were loaded."""

    loads = 0
    judges_pictures = False
    """One colour is neither sharp nor evenly lit."""

    @cached_property
    def card(self) -> ModelCard:
        return colour_card()

    @cached_property
    def detector(self) -> Detector:
        return BrightDetector()

    @cached_property
    def embedder(self) -> Embedder:
        FakeApp.loads += 1
        return ColourEmbedder()


def colour_of(number: int) -> Colour:
    """One of many colours that are not too much alike."""
    hue = int(number * 67 % 180)
    rgb = cv2.cvtColor(np.array([[[hue, 255, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def photo(path: Path, *colours: Colour, side: int = 100) -> Path:
    """Write a photo with one face per colour; without one, a photo of nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = [(colour, (20 + 130 * place, 60, side)) for place, colour in enumerate(colours)]
    Image.fromarray(picture(*patches, size=(240, 320))).save(path)
    return path


class Site:
    """A folder of people and a store, and what a user does with them."""

    def __init__(self, folder: Path) -> None:
        self.people = folder / "people"
        self.store = folder / "store"
        self.json = folder / "result.json"
        self.people.mkdir()

    def photo(self, name: str, *colours: Colour) -> Path:
        """Write a photo into the folder of people."""
        return photo(self.people / name, *colours)

    def csv(self, text: str) -> None:
        """Write people.csv."""
        (self.people / "people.csv").write_text(text, encoding="utf-8")

    def run(self, *flags: str, app: Callable[..., App] = FakeApp) -> int:
        """Run the builder in this process; the exit code."""
        self.json.unlink(missing_ok=True)
        return main(self.arguments(*flags), make_app=app)

    def build(self, *flags: str) -> dict[str, Any]:
        """Run the builder, which must succeed; its result."""
        assert self.run(*flags) == 0
        return self.result()

    def arguments(self, *flags: str) -> list[str]:
        """The command line of a run."""
        return [str(self.people), "--store", str(self.store), "--json", str(self.json), "--quiet", *flags]

    def result(self) -> dict[str, Any]:
        """The result that the last run wrote."""
        loaded: dict[str, Any] = json.loads(self.json.read_text(encoding="utf-8"))
        return loaded

    def ledger(self) -> SqliteLedger:
        """The store's ledger."""
        return SqliteLedger(self.store / "ledger.sqlite", cooldown_s=300.0, time_zones={})

    def enrolled(self) -> dict[str, Person]:
        """Who is in the ledger."""
        with self.ledger() as ledger:
            return {person.identity_id: person for person in ledger.people()}

    def paths(self) -> list[str]:
        """The photos that the ledger has templates of."""
        return sorted(t.path for person in self.enrolled().values() for t in person.templates)

    def differences(self) -> Differences:
        """What `gallery verify` finds."""
        card = colour_card()
        with self.ledger() as ledger, ChromaStore(self.store / "chroma", card.id, card.dimension).open() as gallery:
            return verify(ledger, gallery)


def refused(result: dict[str, Any]) -> dict[str, str]:
    """File to reason, of a result."""
    return {entry["file"]: entry["reason"] for entry in result["refused"]}


class SlowApp(FakeApp):
    """Takes its time over each photo, so that there is a middle to be killed in."""

    @cached_property
    def detector(self) -> Detector:
        return _SlowDetector()


class _SlowDetector(BrightDetector):
    def _spots(self, image: RGBImage) -> list[Face]:
        time.sleep(0.002)
        return super()._spots(image)


def build_in_child(arguments: list[str], errors: Path, largest_file: int | None) -> None:
    """The builder as a process of its own: its stderr goes to a file, and no file may grow beyond a size in bytes."""
    # A shell that runs the tests in the background leaves SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.exit(main(arguments, make_app=SlowApp))
