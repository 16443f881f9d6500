"""A store with three people and a second model in it, and the commands on it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance.align import align
from attendance.app import App
from attendance.cli.main import main
from attendance.embed.card import ModelCard
from attendance.embed.card_file import card_text
from attendance.embed.catalogue import find_card
from attendance.embed.port import Embedder
from attendance.embed.registry import load_embedder
from attendance.images import read_photo
from attendance.types import Float32
from tests.building import BrightDetector, FakeApp, Site, colour_of
from tests.cli.conftest import Ran, exit_code_of
from tests.embed.onnx_file import channel_means
from tests.fakes import ColourEmbedder, colour_card

TINY = "tiny"
WEIGHTS: Float32 = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)


class SwapApp(FakeApp):
    """The colours' model, and every other by its card and weights in the store."""

    @cached_property
    def card(self) -> ModelCard:
        is_first = self.noted is None or self.noted.model == colour_card().id
        return colour_card() if is_first or self.noted is None else find_card(self.noted.model, self.models_dir)

    @cached_property
    def embedder(self) -> Embedder:
        return ColourEmbedder() if self.card.id == colour_card().id else load_embedder(
            self.card, device="cpu", models_dir=self.models_dir
        )  # fmt: skip


def install(store: Path) -> None:
    """Put a model of six numbers into the store: the channels' means, mixed."""
    data = channel_means(WEIGHTS, side=112)
    folder = store / "models" / TINY
    folder.mkdir(parents=True)
    card = replace(colour_card(TINY), sha256=hashlib.sha256(data).hexdigest(), dimension=6,
                   input=replace(colour_card().input, mean=(90.0, 90.0, 90.0)))  # fmt: skip
    (folder / "weights.onnx").write_bytes(data)
    (folder / "card.yaml").write_text(card_text(card), encoding="utf-8")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with two photos each, enrolled; the other model in the store."""
    folder = tmp_path_factory.mktemp("built")
    site = Site(folder)
    for number, who in enumerate(("ann-1", "bob-2", "cem-3")):
        for place in range(2):
            red, green, blue = colour_of(number)
            site.photo(f"{who}/{place}.png", (max(red - 9 * place, 0), green, blue))
    site.build()
    install(site.store)
    return folder


@pytest.fixture
def site(built: Path, tmp_path: Path) -> Site:
    """A copy of what was built, to be changed."""
    site = Site(tmp_path)
    for name in ("people", "store"):
        shutil.copytree(built / name, tmp_path / name, dirs_exist_ok=True)
    return site


Run = Callable[..., Ran]


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``python -m attendance WORDS... --store STORE``."""

    def call(*words: object, make_app: Callable[..., App] = SwapApp, store: Path = site.store) -> Ran:
        capsys.readouterr()
        flags = [*map(str, words), "--store", str(store)]
        code = exit_code_of(lambda: main(flags, make_app=make_app))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return call


def by_tiny(site: Site, path: Path, *, place: int) -> Float32:
    """What the other model makes of a face of a photo, the largest first."""
    card = find_card(TINY, site.store / "models")
    image = read_photo(path, max_pixels=10**6).image
    faces = BrightDetector().detect([image])[0]
    chips = align(image, [faces[place]], card.alignment)
    vector: Float32 = load_embedder(card, device="cpu", models_dir=site.store / "models").embed(chips)[0]
    return vector


def named(run: Run, picture: Path) -> Any:
    return run("identify", picture, "--json", "-").json["identity_id"]


def in_force(site: Site) -> dict[str, list[str]]:
    """Identity id to the spaces of the templates in force, and of those that are shelved."""
    return {who: [*(t.card_id for t in p.templates), "|", *(t.card_id for t in p.shelved)]
            for who, p in site.enrolled().items()}  # fmt: skip


def key_file(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file, named by the configuration from now on."""
    path = site.store.parent / "template.key"
    assert run("protect", "new-key", path).code == 0
    monkeypatch.setenv("ATTENDANCE_MODEL__TEMPLATE_KEY_FILE", str(path))
    return path


def vectors_of(site: Site) -> Float32:
    return np.stack([t.vector for p in site.enrolled().values() for t in p.templates])
