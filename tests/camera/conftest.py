"""Videos and images written on the spot, and patience for threads."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from attendance.types import RGBImage

START = datetime(2024, 2, 29, 6, 30, tzinfo=UTC)


def level(index: int) -> int:
    """The grey level that marks frame ``index`` in a written video, so that a decoded frame tells its number."""
    return 8 + index * 8


@pytest.fixture
def start() -> datetime:
    return START


@pytest.fixture
def index_of() -> Callable[[RGBImage], int]:
    """Tells which frame a decoded one is, by its grey level."""
    return lambda image: round((float(image.mean()) - 8) / 8)


@pytest.fixture
def write_video() -> Callable[..., Path]:
    def write(path: Path, *, codec: str, fps: float = 12.5, frames: int = 25, size: tuple[int, int] = (64, 48)) -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        assert writer.isOpened()
        for index in range(frames):
            writer.write(np.full((size[1], size[0], 3), level(index % 30), np.uint8))
        writer.release()
        return path

    return write


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition that another thread brings about; fails when it does not come at all."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "what the test waits for did not come"
            time.sleep(0.01)

    return wait
