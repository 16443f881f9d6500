"""Crops that are aligned already go to the model whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attendance.stills import StillOptions
from lab.read import CropReader, scaled
from tests.fakes import BLUE, GREEN, RED, ColourEmbedder, vector_of


def crop(folder: Path, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (112, 112)) -> Path:
    path = folder / name
    Image.new("RGB", size, colour).save(path)
    return path


def test_crops_are_embedded_whole_in_order_whatever_their_size(tmp_path: Path) -> None:
    paths = [
        crop(tmp_path, "red.png", RED),
        crop(tmp_path, "small.png", GREEN, (56, 56)),
        crop(tmp_path, "wide.png", RED, (112, 96)),
        crop(tmp_path, "large.png", BLUE, (300, 300)),
    ]
    (tmp_path / "empty.png").write_bytes(b"")
    paths.insert(1, tmp_path / "empty.png")
    readings = list(CropReader(ColourEmbedder(), StillOptions(batch_size=2)).read(paths))
    assert [reading.path for reading in readings] == paths
    assert [reading.reason for reading in readings] == [None, "empty_file", None, "low_quality", None]
    for reading, colour in zip((readings[0], readings[2], readings[4]), (RED, GREEN, BLUE), strict=True):
        assert reading.vector == pytest.approx(vector_of(colour), abs=1e-5)
    assert "112x96" in readings[3].detail


def test_nothing_to_read_is_nothing_read() -> None:
    assert list(CropReader(ColourEmbedder(), StillOptions()).read([])) == []


def test_scaling_averages_where_it_shrinks() -> None:
    board = np.indices((200, 200)).sum(axis=0) % 2 * 255
    grey = scaled(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8), 100)
    assert grey.shape == (100, 100, 3)
    assert np.abs(grey.astype(int) - 127).max() <= 1
    assert scaled(grey, 100) is grey
