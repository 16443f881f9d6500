"""Verification sets of every make that exists, and pickles that are something else."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attendance.errors import ImageError, SourceError
from lab.data.pairs_bin import read_pairs_bin
from tests.lab.made_people import made_photo, png

CROPS = [png(person, number) for person, number in [(0, 0), (0, 1), (1, 0), (2, 0)]]
SAME = [True, False]


def as_python_2_wrote(crops: list[bytes], same: list[bool]) -> bytes:
    """Protocol 2 of a Python whose text is bytes: SHORT_BINSTRING and BINSTRING."""

    def text(data: bytes) -> bytes:
        short = len(data) < 256
        return (b"U" + bytes([len(data)]) if short else b"T" + len(data).to_bytes(4, "little")) + data

    listed = b"](" + b"".join(text(crop) for crop in crops) + b"e"
    answers = b"](" + b"".join(b"\x88" if answer else b"\x89" for answer in same) + b"e"
    return b"\x80\x02" + listed + answers + b"\x86."


MAKES: dict[str, bytes] = {
    **{f"protocol {n}": pickle.dumps((CROPS, SAME), protocol=n) for n in range(6)},
    "Python 2": as_python_2_wrote(CROPS, SAME),
    "list": pickle.dumps([CROPS, SAME]),
    **{
        f"arrays {n}": pickle.dumps(([np.frombuffer(c, np.uint8) for c in CROPS], np.array(SAME)), protocol=n)
        for n in (2, 3, 4, 5)
    },
    "numpy booleans": pickle.dumps((CROPS, [np.bool_(s) for s in SAME])),
    "an older numpy": pickle.dumps(
        ([np.frombuffer(c, np.uint8) for c in CROPS], [np.bool_(s) for s in SAME]), protocol=3
    ).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"),
}


@pytest.mark.parametrize("make", MAKES)
def test_every_make_gives_the_same_pairs(make: str, tmp_path: Path) -> None:
    path = tmp_path / "lfw.bin"
    path.write_bytes(MAKES[make])
    pairs = read_pairs_bin(path)
    assert pairs.name == "lfw"
    assert pairs.images == tuple(CROPS)
    assert pairs.same.tolist() == SAME
    assert np.array_equal(pairs.crop(3, 32), made_photo(2, 0))


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        Calls(os.system, "touch ran"),
        Calls(subprocess.run, ["touch", "ran"]),
        Calls(eval, "open('ran', 'w')"),
        Calls(getattr, "", "join"),
        Calls(bytes, 10),
        (CROPS, Calls(print)),
        (CROPS, Path("ran")),
        (CROPS, np.array([object()])),
        (CROPS, np.array([1.0, 0.0])),
        (CROPS, [np.float32(1.0), np.float32(0.0)]),
        np.random.default_rng(0),
        {"crops": CROPS},
        (CROPS,),
        (CROPS, [True]),
        (CROPS[:3], SAME),
        ([], []),
        (["text", *CROPS[1:]], SAME),
        (CROPS, [True, 2]),
        (CROPS, "ab"),
        (CROPS, None),
    ],
    ids=(f"content-{number}" for number in itertools.count()),
)
def test_anything_else_is_refused_and_nothing_is_run(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 5):
        (tmp_path / "a.bin").write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(SourceError, match=r"a\.bin"):
            read_pairs_bin(tmp_path / "a.bin")
    assert not (tmp_path / "ran").exists()


def test_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    whole = MAKES["arrays 5"]
    random = np.random.default_rng(0)
    for case in range(200):
        data = bytearray(whole[: int(random.integers(0, len(whole)))] if case % 2 else whole)
        for place in random.integers(0, max(len(data), 1), 3 if data else 0):
            data[place] = int(random.integers(0, 256))
        path.write_bytes(bytes(data))
        try:
            pairs = read_pairs_bin(path)
        except SourceError:
            continue
        assert len(pairs.images) == 2 * len(pairs.same)  # what changed was inside a picture
    with pytest.raises(SourceError, match="cannot be read"):
        read_pairs_bin(tmp_path / "none.bin")


def test_a_picture_that_is_none_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps(([b"no picture", CROPS[0]], [True])))
    pairs = read_pairs_bin(path)
    with pytest.raises(ImageError, match="a: picture 0: expected a JPEG or PNG"):
        pairs.crop(0, 32)
    assert pairs.crop(1, 16).shape == (16, 16, 3)
