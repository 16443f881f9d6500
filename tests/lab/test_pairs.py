"""Pair lists: what is read, whom the pairs show, and what is refused at which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.errors import UsageError
from lab.evaluate.pair_layouts import Pair
from lab.evaluate.pairs import people_of, read_pairs


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_list_with_folds_is_read_in_file_order(tmp_path: Path) -> None:
    path = write(tmp_path, "image_a,image_b,same,fold\na/1.jpg,a/2.jpg,1,x\n\na/1.jpg,b/1.jpg,0,y\n")
    assert read_pairs(path) == [Pair("a/1.jpg", "a/2.jpg", True, "x"), Pair("a/1.jpg", "b/1.jpg", False, "y")]


def test_a_byte_order_mark_and_quoted_commas_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbfimage_a,image_b,same\n"a,1.jpg",b.jpg,1\nc.jpg,d.jpg,0\n')
    assert [pair.image_a for pair in read_pairs(path)] == ["a,1.jpg", "c.jpg"]


@pytest.mark.parametrize("count", [2, 7, 10, 25, 101])
def test_without_folds_there_are_ten_contiguous_tenths(tmp_path: Path, count: int) -> None:
    rows = "".join(f"{i}.jpg,{i + 1}.jpg,{i % 2}\n" for i in range(count))
    folds = [int(pair.fold) for pair in read_pairs(write(tmp_path, f"image_a,image_b,same\n{rows}"))]
    assert folds == sorted(folds)
    sizes = [folds.count(fold) for fold in set(folds)]
    assert len(sizes) == min(count, 10)
    assert max(sizes) - min(sizes) <= 1


HEADER = "image_a,image_b,same\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns"),
        ("a,b,same\n", "line 1: expected the columns image_a,image_b,same"),
        ("image_a,image_b,same,fold,more\n", "line 1: expected the columns"),
        (f"{HEADER}a.jpg,b.jpg,1\na.jpg,b.jpg,yes\n", "line 3: same: expected 1 or 0, got 'yes'"),
        (f"{HEADER}a.jpg,b.jpg\n", "line 2: expected 3 values, got 2"),
        (f"{HEADER}a.jpg,b.jpg,1,4\n", "line 2: expected 3 values, got 4"),
        (f"{HEADER}a.jpg, ,1\n", "line 2: image_b: expected a value, got none"),
        ("image_a,image_b,same,fold\na.jpg,b.jpg,1,\n", "line 2: fold: expected a value"),
        (HEADER, "expected same and different pairs, got no same one"),
        (f"{HEADER}a.jpg,b.jpg,1\n", "got no different one"),
        (f"{HEADER}a.jpg,b.jpg,0\n", "got no same one"),
        ("image_a,image_b,same,fold\na.jpg,b.jpg,1,0\na.jpg,c.jpg,0,0\n", "expected two folds or more"),
        (f'{HEADER}a.jpg,b.jpg,1\n"a.jpg,b.jpg,0\n', "line 3: expected CSV"),
        (b"\xff\xfe\x00", "expected UTF-8 text"),
    ],
)
def test_a_faulty_list_is_refused_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_pairs(write(tmp_path, text))
    assert message in str(caught.value)
    assert "pairs.csv" in str(caught.value)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_pairs(tmp_path / "none.csv")


def test_people_are_the_folders() -> None:
    pairs = [Pair("a/1", "a/2", True, "0"), Pair("a/3", "b/1", False, "0"), Pair("c/1", "b/2", False, "1")]
    assert people_of(pairs) == ([0, 0, 1], [0, 2, 2], 3)


def test_in_one_flat_folder_people_are_what_same_pairs_join() -> None:
    pairs = [Pair("1", "2", True, "0"), Pair("2", "3", True, "0"), Pair("3", "4", False, "1")]
    assert people_of(pairs) == ([0, 0, 0], [0, 0, 1], 2)


def test_folders_that_hold_different_people_are_no_people() -> None:
    pairs = [Pair("all/1", "all/2", True, "0"), Pair("all/1", "all/3", False, "1")]
    assert people_of(pairs) == ([0, 0], [0, 1], 2)
