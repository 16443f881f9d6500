"""Photos as files: names of every kind, and files that are no files."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from attendance.errors import ImageError
from attendance.images import read_photo
from attendance.types import RefusalReason

MAX_PIXELS = 1_000_000


def encode(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = encode(Image.new("RGB", (8, 6), (9, 9, 9)))


def reason_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_photo(path, max_pixels=MAX_PIXELS)
    assert path.name[:20] in caught.value.detail
    return caught.value.reason


def test_unicode_and_very_long_names(tmp_path: Path) -> None:
    for name in ("Фото ñ 写真 🙂.png", "é" * 125 + ".png", "with space\tand tab.png"):
        path = tmp_path / name
        path.write_bytes(PHOTO)
        assert read_photo(path, max_pixels=MAX_PIXELS).image.shape == (6, 8, 3)


def test_a_name_longer_than_any_file_system_takes(tmp_path: Path) -> None:
    assert reason_of(tmp_path / ("x" * 300 + ".jpg")) == RefusalReason.UNREADABLE


def test_permission_denied(open_folder: Path, as_nobody: Callable[[], AbstractContextManager[None]]) -> None:
    path = open_folder / "private.jpg"
    path.write_bytes(PHOTO)
    path.chmod(0)
    with as_nobody():
        assert reason_of(path) == RefusalReason.UNREADABLE


def test_missing_folder_pipe_and_links(tmp_path: Path) -> None:
    folder, pipe, loop, broken = (tmp_path / f"{kind}.jpg" for kind in ("folder", "pipe", "loop", "broken"))
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    broken.symlink_to(tmp_path / "nowhere.jpg")
    assert reason_of(tmp_path / "missing.jpg") == RefusalReason.UNREADABLE
    assert reason_of(folder) == RefusalReason.UNREADABLE
    assert reason_of(pipe) == RefusalReason.UNREADABLE
    assert reason_of(loop) == RefusalReason.LINK_LOOP
    assert reason_of(broken) == RefusalReason.UNREADABLE


def test_a_link_to_a_photo_is_the_photo(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(PHOTO)
    (tmp_path / "link.png").symlink_to("real.png")
    assert read_photo(tmp_path / "link.png", max_pixels=MAX_PIXELS).image.shape == (6, 8, 3)
