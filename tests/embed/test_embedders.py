"""What every embedder must do, whatever runs it: the tiny function recomputed by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from attendance.embed.card import ColourOrder, InputSpec
from attendance.embed.onnx import OnnxEmbedder
from attendance.errors import ModelError
from attendance.types import Float32, RGBImage
from tests.embed.conftest import SIDE, WEIGHTS, Make, card
from tests.embed.onnx_file import channel_means


def chips(count: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def by_hand(faces: RGBImage, spec: InputSpec) -> Float32:
    rows = []
    for chip in faces.astype(np.float64):
        ordered = chip[:, :, ::-1] if spec.colour_order is ColourOrder.BGR else chip
        pixels = (ordered - np.array(spec.mean)) * np.array(spec.scale)
        row = pixels.mean(axis=(0, 1)) @ WEIGHTS
        rows.append(row / np.sqrt((row**2).sum()))
    return np.array(rows, np.float32)


@pytest.mark.parametrize("order", list(ColourOrder))
@pytest.mark.parametrize("count", [1, 3, 70])
def test_normalises_as_the_card_says_and_gives_unit_vectors(make: Make, count: int, order: ColourOrder) -> None:
    spec = InputSpec(SIDE, order, (10.0, 20.0, 30.0), (0.5, 0.25, 0.125))
    faces = chips(count)
    vectors = make(card(input=spec), WEIGHTS).embed(faces)
    assert vectors.dtype == np.float32 and vectors.shape == (count, 4)
    np.testing.assert_allclose(vectors, by_hand(faces, spec), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_nothing_in_nothing_out(make: Make) -> None:
    vectors = make(card(), WEIGHTS).embed(chips(0))
    assert vectors.shape == (0, 4) and vectors.dtype == np.float32


def test_many_threads_get_what_one_gets(make: Make) -> None:
    embedder = make(card(), WEIGHTS)
    batches = [chips(5, seed) for seed in range(12)]
    alone = [embedder.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(embedder.embed, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 9, 9, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32)],
    ids=["shape", "size", "dtype"],
)
def test_other_chips_are_refused(make: Make, wrong: Any) -> None:
    with pytest.raises(ValueError, match="chips for tiny must be uint8"):
        make(card(), WEIGHTS).embed(wrong)


def test_another_dimension_than_the_cards_is_refused(make: Make) -> None:
    with pytest.raises(ModelError, match="vectors of 5 numbers"):
        make(card(dimension=5), WEIGHTS).embed(chips(1))


@pytest.mark.parametrize("weight", [np.nan, np.inf, 0.0])
def test_vectors_without_direction_are_refused(make: Make, weight: float) -> None:
    embedder = make(card(), np.full((3, 4), weight, np.float32))
    with pytest.raises(ModelError, match="finite vectors"):
        embedder.embed(chips(2))


def test_says_what_runs_where(make: Make) -> None:
    assert make(card(), WEIGHTS).describe() == "model tiny (4-D) on cpu"


@pytest.mark.parametrize(
    "model",
    [b"", b"no model", channel_means(WEIGHTS, side=SIDE)[:-40], channel_means(WEIGHTS, side=9)],
    ids=["empty", "text", "cut", "other-size"],
)
def test_an_onnx_file_that_does_not_fit_is_refused(model: bytes) -> None:
    with pytest.raises(ModelError, match="model tiny: expected"):
        OnnxEmbedder(card(), model, device="cpu", threads=1)


def test_onnx_without_cuda_says_so() -> None:
    with pytest.raises(ModelError, match="CUDAExecutionProvider"):
        OnnxEmbedder(card(), channel_means(WEIGHTS, side=SIDE), device="cuda", threads=1)
