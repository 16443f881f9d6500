"""Photos read by worker processes: the same readings in the same order, and no photo lost with a worker."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from attendance.enrol import PooledReader, WorkerPool
from attendance.errors import AttendanceError, ModelError
from attendance.pipeline import FaceReader
from attendance.stills import Reading, StillOptions, StillReader
from tests.building import BrightDetector, colour_of, photo
from tests.fakes import ColourEmbedder

OPTIONS = StillOptions(batch_size=3)


def networks() -> FaceReader:
    """What a worker loads here."""
    return FaceReader(BrightDetector(), ColourEmbedder())


def networks_of_one_who_is_killed(times: int, marks: Path) -> FaceReader:
    """So often the process is ended from outside instead."""
    if len(list(marks.iterdir())) < times:
        (marks / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return networks()


def no_networks() -> FaceReader:
    """Weights that are missing."""
    raise ModelError("expected weights, found none: install them")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Good ones, one of nobody, one that is none and one that is not there."""
    folder = tmp_path_factory.mktemp("photos")
    made = [photo(folder / f"{number}.png", colour_of(number)) for number in range(8)]
    (folder / "text.png").write_text("no photo")
    return [*made[:4], photo(folder / "nobody.png"), folder / "text.png", folder / "missing.png", *made[4:]]


def plain(reading: Reading) -> tuple[object, ...]:
    """All that a reading says, comparable."""
    vector = None if reading.vector is None else reading.vector.tobytes()
    face = None if reading.face is None else (reading.face.box.tobytes(), reading.face.points.tobytes())
    return (reading.path, reading.sha256, vector, face, reading.reason, reading.detail, reading.scale)


@pytest.fixture(scope="module")
def expected(photos: list[Path]) -> list[tuple[object, ...]]:
    return [plain(reading) for reading in StillReader(networks, OPTIONS).read(photos)]


def test_workers_give_the_same_readings_in_the_same_order_and_a_killed_one_costs_no_photo(
    photos: list[Path], expected: list[tuple[object, ...]], tmp_path: Path
) -> None:
    with WorkerPool(partial(networks_of_one_who_is_killed, 1, tmp_path), 2) as pool:
        reader = PooledReader(no_networks, OPTIONS, pool=lambda: pool)
        assert [plain(reading) for reading in reader.read(iter(photos))] == expected
        # A reader that is left in the middle keeps nobody from the pool.
        next(reader.read(photos))
        assert [plain(reading) for reading in reader.read(photos[:2])] == expected[:2]
    assert list(tmp_path.iterdir())


def test_workers_that_are_ended_again_and_again_end_the_run(photos: list[Path]) -> None:
    with WorkerPool(partial(os._exit, 9), 1) as pool:
        reader = PooledReader(no_networks, OPTIONS, pool=lambda: pool)
        with pytest.raises(AttendanceError, match=r"0\.png and the 2 photos after it.*set enrol\.workers lower"):
            list(reader.read(photos))


def test_a_worker_s_error_is_the_run_s(photos: list[Path]) -> None:
    with WorkerPool(no_networks, 1) as pool, pytest.raises(ModelError, match="install them"):
        list(PooledReader(networks, OPTIONS, pool=lambda: pool).read(photos))


def test_few_photos_start_no_worker(photos: list[Path], expected: list[tuple[object, ...]]) -> None:
    def no_pool() -> WorkerPool:
        raise AssertionError

    reader = PooledReader(networks, OPTIONS, pool=no_pool, from_photos=len(photos) + 1)
    assert [plain(reading) for reading in reader.read(photos)] == expected
    alone = PooledReader(networks, OPTIONS, pool=lambda: None, from_photos=2)
    assert [plain(reading) for reading in alone.read(photos)] == expected
