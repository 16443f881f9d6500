"""The judgement, against the photos' plain pixels as an embedder; what rows say together, against counting."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attendance.align import arcface_112
from attendance.types import Float32, RGBImage
from lab.data.folder import at_size
from lab.experiments.faces import make_crops, make_views
from lab.experiments.figures import PairPeople, Value, accuracy, difference
from lab.experiments.judge import judge, unpacked
from lab.experiments.photos import CONDITIONS, Photos, UnfinishedError, crops, kept_crops
from tests.fakes import ColourEmbedder
from tests.lab.experiments.made_lfw import PEOPLE, PHOTOS, WholePicture, made_lfw


def pixels(chips: RGBImage) -> Float32:
    """A poor embedder that these people are no challenge for."""
    flat = chips.reshape(len(chips), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    unit: Float32 = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = tmp_path_factory.mktemp("judge")
    return Photos(made_lfw(folder / "data"), folder / "work", WholePicture())


def test_clean_probes_are_found_and_dark_ones_less(photos: Photos) -> None:
    judged = judge(photos, pixels, at_size(arcface_112(), 32), cross=True, resamples=20)
    figures = judged.figures
    right = unpacked(figures["right"], 48)
    assert figures["pairs"]["accuracy"] == pytest.approx(np.mean([right[f::2].mean() for f in (0, 1)]), abs=0.1)
    assert figures["gallery"]["top1"] == 1.0 and figures["gallery"]["probes"] == PEOPLE // 2 * (PHOTOS - 1)
    assert set(figures["cross"]) == {condition.name for condition in CONDITIONS[1:]}
    assert judged.people == PEOPLE // 2


def test_conditions_do_what_their_names_say() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    changed = {condition.name: condition(photo) for condition in CONDITIONS}
    assert np.array_equal(changed["as it is"], photo)
    assert all(picture.shape == photo.shape and picture.dtype == np.uint8 for picture in changed.values())
    assert changed["a sixth of the size"].std() < changed["a quarter of the size"].std() < photo.std()
    dark = changed["a fifth of the light, noise of 3 grey levels"].astype(float)
    assert (dark - photo / 5).mean() == pytest.approx(0.0, abs=0.3)
    assert (dark - photo / 5)[photo > 60].std() == pytest.approx(3.0, abs=0.3)
    assert np.array_equal(CONDITIONS[-1](photo), changed[CONDITIONS[-1].name])


def test_crops_are_kept_for_each_size_and_condition(photos: Photos) -> None:
    found, template = photos.found("report"), at_size(arcface_112(), 32)
    for change in (None, CONDITIONS[1]):
        kept = kept_crops(photos, found, [2, 0], template, change=change)
        assert np.array_equal(kept, crops(photos, found, [2, 0], template, change=change))
    empty = dataclasses.replace(photos, root=photos.root / "gone")
    assert np.array_equal(kept_crops(empty, found, [2, 0], template, change=CONDITIONS[1]), kept)


def test_views_stand_beside_what_the_teacher_makes_of_them(photos: Photos) -> None:
    found = photos.found("tune")
    with pytest.raises(UnfinishedError):
        make_views(photos, found, ColourEmbedder(), stop_at=0.0)
    plain, views = make_crops(photos, found), make_views(photos, found, ColourEmbedder())
    pictures, targets = np.load(views / "crops.npy"), np.load(views / "targets.npy")
    assert pictures.shape == (PEOPLE // 2 * PHOTOS * 8, 112, 112, 3) and targets.shape == (len(pictures), 8)
    assert np.allclose(np.linalg.norm(targets, axis=1), 1.0, atol=1e-5)
    apart = np.abs(pictures[::8].astype(int) - np.load(plain / "crops.npy")).mean(axis=(1, 2, 3))
    assert apart.max() < 12.0 < np.abs(pictures[4::8].astype(int) - pictures[::8]).mean()
    assert np.array_equal(np.load(views / "labels.npy")[::8], np.load(plain / "labels.npy"))


def test_seeds_are_averaged_and_compared_pair_by_pair() -> None:
    first = np.arange(40) % 8
    people = PairPeople({"people": 8, "first": first.tolist(), "second": first.tolist()}, resamples=200)
    always, never = ({"right": np.packbits(np.full(40, it)).tobytes().hex()} for it in (True, False))
    half = {"right": np.packbits(np.arange(40) % 2 == 0).tobytes().hex()}
    rows = [
        {**row, "pairs": {"accuracy": a, "intervals": {"accuracy": [a, a]}}}
        for row, a in ((always, 1.0), (half, 0.5), (never, 0.0))
    ]
    together = accuracy(rows[:2], people)
    assert together is not None and together.mean == 0.75 and together.low is not None and together.low <= 0.75
    apart = difference(rows[:1], rows[2:], people)
    assert apart is not None and (apart.mean, apart.low, apart.high) == (1.0, 1.0, 1.0) and apart.excludes_zero()
    assert accuracy([{"diverged": True}], people) is None
    alone = accuracy(rows[1:2], people)
    assert alone is not None and (alone.mean, alone.low, alone.high) == (0.5, 0.5, 0.5)
    degraded = [
        {**row, "cross": {"dark": {"accuracy": 0.25, "interval": [0.2, 0.3], "right": row["right"]}}} for row in rows
    ]
    assert accuracy(degraded[:1], people, "dark") == Value(0.25, 0.2, 0.3)
    worse = difference(degraded[2:], degraded[:1], people, "dark")
    assert worse is not None and worse.text() == "-100.00 [-100.00, -100.00]"
